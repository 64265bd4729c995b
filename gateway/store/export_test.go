package store

import (
	"context"
	"database/sql"
)

// Latest is the version that this binary writes.
func Latest() (int64, error) {
	steps, err := readMigrations("")
	return int64(len(steps)), err
}

// MigrateTo makes a database of an earlier version, or of a later one.
func MigrateTo(ctx context.Context, cfg Config, version int64) error {
	return bare(cfg, func(s *Store) error {
		known, err := Latest()
		if err != nil {
			return err
		}
		if _, _, err := migrate(ctx, s.q, s.inTx, min(version, known)); err != nil || version <= known {
			return err
		}
		_, err = s.q.exec(ctx, `INSERT INTO schema_version (version, applied_at) VALUES ($1, 0)`, version)
		return err
	})
}

// Exec runs statements on a database as it is.
func Exec(ctx context.Context, cfg Config, statements string) error {
	return bare(cfg, func(s *Store) error {
		_, err := s.q.exec(ctx, statements)
		return err
	})
}

func bare(cfg Config, do func(*Store) error) error {
	d, db, err := open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(&Store{db: db, q: queries{db: db, dialect: d}})
}

// DB is the database of a store.
func DB(s *Store) *sql.DB { return s.db }
