// Package schema makes room for a bench in somebody's PostgreSQL: a schema of its
// own, which is removed at the end. Of a process that is killed it stays: its name
// begins with "wagent_bench_".
package schema

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

// A Schema is the room. Its connection is not for several goroutines at once.
type Schema struct {
	URL     string // of the database, with the schema
	Version string // of the server
	Name    string
	DB      *pgx.Conn
}

// Make makes room in a database, and asks who it is. Errors hide its password.
func Make(ctx context.Context, address string) (_ *Schema, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("database is no address, such as postgres://user@host/name") // the cause may quote a password
	}
	s := &Schema{Name: "wagent_bench_" + strings.ToLower(rand.Text()[:8])}
	query := u.Query()
	query.Set("search_path", s.Name)
	u.RawQuery = query.Encode()
	s.URL = u.String()
	if s.DB, err = pgx.Connect(ctx, s.URL); err != nil {
		return nil, fmt.Errorf("the database can not be used: %w", err) // its errors hide the password
	}
	_, err = s.DB.Exec(ctx, `CREATE SCHEMA `+s.Name)
	if err == nil {
		err = s.DB.QueryRow(ctx, `SELECT current_setting('server_version')`).Scan(&s.Version)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a schema for the bench: %w", err), s.Remove(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Remove removes what the bench made and hangs up.
func (s *Schema) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if s.DB.IsClosed() { // a query was cut short
		db, err := pgx.Connect(ctx, s.URL)
		if err != nil {
			return fmt.Errorf("the schema %s is left: %w", s.Name, err)
		}
		s.DB = db
	}
	_, err := s.DB.Exec(ctx, `DROP SCHEMA IF EXISTS `+s.Name+` CASCADE`)
	return errors.Join(err, s.DB.Close(ctx))
}
