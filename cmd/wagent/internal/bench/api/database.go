package api

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"wagent/cmd/wagent/internal/bench/schema"
)

// A database is the PostgreSQL that is measured with.
type database struct{ *schema.Schema }

// multiply adds runs that are a run but for their ids, their times and their
// agents, of whom each gets as many, and its actions.
func (d *database) multiply(ctx context.Context, run string, n int) error {
	runs, err := d.columns(ctx, "runs", map[string]string{
		"id": `'run_bench' || g`, "agent": `a.ids[1 + g % cardinality(a.ids)]`, "created_at": `t.created_at + g`, "completed_at": `t.completed_at + g`,
	})
	if err != nil {
		return err
	}
	actions, err := d.columns(ctx, "actions", map[string]string{"run": `'run_bench' || g`})
	if err != nil {
		return err
	}
	for _, stmt := range []string{
		`INSERT INTO runs (` + runs.names + `) SELECT ` + runs.values + ` FROM runs t, generate_series(1, $2) g,
			(SELECT array_agg(id ORDER BY seq) AS ids FROM agents) a WHERE t.id = $1 ORDER BY g`,
		`INSERT INTO actions (` + actions.names + `) SELECT ` + actions.values + ` FROM actions t, generate_series(1, $2) g WHERE t.run = $1`,
	} {
		if _, err := d.DB.Exec(ctx, stmt, run, n); err != nil {
			return err
		}
	}
	_, err = d.DB.Exec(ctx, `ANALYZE`)
	return err
}

type columns struct{ names, values string }

// columns are all that a copy of a row of t has, some of them changed. What the
// database numbers by itself is not among them.
func (d *database) columns(ctx context.Context, table string, changed map[string]string) (columns, error) {
	rows, err := d.DB.Query(ctx, `SELECT column_name FROM information_schema.columns
		WHERE table_schema = $1 AND table_name = $2 AND is_identity = 'NO' ORDER BY ordinal_position`, d.Name, table)
	if err != nil {
		return columns{}, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = "t." + name
		if x, ok := changed[name]; ok {
			values[i] = x
		}
	}
	return columns{strings.Join(names, ", "), strings.Join(values, ", ")}, err
}

// someRuns returns ids of agents, as the API shows them, and of runs of theirs.
func (d *database) someRuns(ctx context.Context) ([][2]string, error) {
	rows, err := d.DB.Query(ctx, `SELECT 'agt_' || replace(agent, '-', ''), id FROM runs ORDER BY md5(id) LIMIT 5000`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (ids [2]string, err error) {
		return ids, r.Scan(&ids[0], &ids[1])
	})
}
