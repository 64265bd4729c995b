package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A database is the PostgreSQL that is measured with.
type database struct {
	url     string // with a schema of its own
	version string
	schema  string
	db      *pgx.Conn
}

// meet makes room in the database, and asks who it is.
func meet(ctx context.Context, address string) (_ *database, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("database is no address, such as postgres://user@host/name") // the cause may quote a password
	}
	d := &database{schema: "wagent_bench_" + strings.ToLower(rand.Text()[:8])}
	query := u.Query()
	query.Set("search_path", d.schema)
	u.RawQuery = query.Encode()
	d.url = u.String()
	if d.db, err = pgx.Connect(ctx, d.url); err != nil {
		return nil, fmt.Errorf("the database can not be used: %w", err) // its errors hide the password
	}
	_, err = d.db.Exec(ctx, `CREATE SCHEMA `+d.schema)
	if err == nil {
		err = d.db.QueryRow(ctx, `SELECT current_setting('server_version')`).Scan(&d.version)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a schema for the bench: %w", err), d.leave(context.WithoutCancel(ctx)))
	}
	return d, nil
}

// leave removes what the bench made and hangs up.
func (d *database) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if d.db.IsClosed() { // a query was cut short
		db, err := pgx.Connect(ctx, d.url)
		if err != nil {
			return fmt.Errorf("the schema %s is left: %w", d.schema, err)
		}
		d.db = db
	}
	_, err := d.db.Exec(ctx, `DROP SCHEMA IF EXISTS `+d.schema+` CASCADE`)
	return errors.Join(err, d.db.Close(ctx))
}

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
		if _, err := d.db.Exec(ctx, stmt, run, n); err != nil {
			return err
		}
	}
	_, err = d.db.Exec(ctx, `ANALYZE`)
	return err
}

type columns struct{ names, values string }

// columns are all that a copy of a row of t has, some of them changed. What the
// database numbers by itself is not among them.
func (d *database) columns(ctx context.Context, table string, changed map[string]string) (columns, error) {
	rows, err := d.db.Query(ctx, `SELECT column_name FROM information_schema.columns
		WHERE table_schema = $1 AND table_name = $2 AND is_identity = 'NO' ORDER BY ordinal_position`, d.schema, table)
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
	rows, err := d.db.Query(ctx, `SELECT 'agt_' || replace(agent, '-', ''), id FROM runs ORDER BY md5(id) LIMIT 5000`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (ids [2]string, err error) {
		return ids, r.Scan(&ids[0], &ids[1])
	})
}
