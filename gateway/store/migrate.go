package store

import (
	"context"
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"

	"wagent/gateway"
)

// migrations are named NNNN_what.sql, from 0001 without a gap. One that was
// released is never changed: there is only forward.
//
//go:embed migrations/*.sql
var migrations embed.FS

// latest asks migrate for every version there is.
const latest = -1

// migrate brings the tables to a version, and returns which they had and have.
// It is one transaction. Of two replicas that start at once one waits, and
// then finds it done.
func migrate(ctx context.Context, q queries, inTx func(context.Context, func(queries) error) error, version int64) (from, to int64, err error) {
	steps, err := readMigrations(q.serial)
	if err != nil {
		return 0, 0, err
	}
	if version == latest {
		version = int64(len(steps))
	}
	err = inTx(ctx, func(q queries) error {
		from, err = schemaVersion(ctx, q)
		if err != nil {
			return err
		}
		if from > int64(len(steps)) {
			return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf(
				"the database has version %d, and this wagent knows versions up to %d: run the newer wagent that wrote it", from, len(steps))}
		}
		for to = from; to < version; to++ {
			if _, err := q.exec(ctx, steps[to]); err != nil {
				return fmt.Errorf("migration %d: %w", to+1, err)
			}
			if _, err := q.exec(ctx, `INSERT INTO schema_version (version, applied_at) VALUES ($1, $2)`, to+1, now()); err != nil {
				return err
			}
		}
		return nil
	})
	return from, to, err
}

func schemaVersion(ctx context.Context, q queries) (int64, error) {
	if err := q.hold(ctx, "schema"); err != nil {
		return 0, err
	}
	if _, err := q.exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)`); err != nil {
		return 0, err
	}
	return one(ctx, q, scanInt, `SELECT MAX(version) FROM schema_version`)
}

// readMigrations returns the statements of each version, in order.
func readMigrations(serial string) ([]string, error) {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	var out []string
	for i, e := range entries { // by name
		number, _, _ := strings.Cut(e.Name(), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s does not have number %d", e.Name(), i+1)
		}
		b, err := migrations.ReadFile(path.Join("migrations", e.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, strings.NewReplacer(" SERIAL_KEY,", " "+serial+",", " NOW_MS;", " "+strconv.FormatInt(now().UnixMilli(), 10)+";").Replace(string(b)))
	}
	return out, nil
}
