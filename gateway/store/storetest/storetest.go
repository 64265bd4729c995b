// Package storetest gives tests an empty store of either kind, and holds the
// conformance suite that both databases pass.
//
// The PostgreSQL is a private one: a cluster in a temporary directory that
// only this test process uses, over a Unix socket. It is started when the
// first test asks and ends with the process, even if that is killed; its
// directory goes with it.
package storetest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"wagent/gateway/store"
)

// Key is the secret_key of the stores that Open and Each make.
var Key = [32]byte{0: 1, 31: 1}

// Open returns an empty store on SQLite. It is closed when the test ends.
func Open(tb testing.TB) *store.Store {
	tb.Helper()
	return At(tb, store.Config{Path: file(tb), Key: Key})
}

// At opens a store and closes it when the test ends.
func At(tb testing.TB, cfg store.Config) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		tb.Fatalf("open store: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close store: %v", err)
		}
	})
	return s
}

// Each runs a test against an empty store of each kind.
func Each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	EachConfig(t, func(t *testing.T, cfg store.Config) {
		t.Helper()
		test(t, At(t, cfg))
	})
}

// EachConfig runs a test against a database of each kind, which has its tables
// and no rows, and which the test opens itself: several times, as replicas do.
func EachConfig(t *testing.T, test func(t *testing.T, cfg store.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, store.Config{Path: file(t), Key: Key})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, store.Config{URL: Postgres(t), Key: Key})
	})
}

// EachBare is EachConfig with databases that have no tables yet.
func EachBare(t *testing.T, test func(t *testing.T, cfg store.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: Key})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, store.Config{URL: BarePostgres(t), Key: Key})
	})
}

// made is a SQLite database with its tables, which were made once for all tests.
var made = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "wagent-sqlite-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "wagent.db")
	err = migrated(store.Config{Path: path, Key: Key})
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path) //nolint:gosec // our own
	}
	return b, errors.Join(err, os.RemoveAll(dir))
})

// migrated gives a database its tables.
func migrated(cfg store.Config) error {
	s, err := store.Open(context.Background(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	return s.Close()
}

// file returns the path of a SQLite database that has its tables and no rows.
func file(tb testing.TB) string {
	tb.Helper()
	b, err := made()
	path := filepath.Join(tb.TempDir(), "wagent.db")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		tb.Fatalf("make database: %v", err)
	}
	return path
}

// Postgres returns the URL of a database that has its tables and no rows, and is
// dropped when the test ends. Where no PostgreSQL is installed the test is skipped,
// or fails if the environment sets WAGENT_TEST_STRICT.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return database(tb, template)
}

// BarePostgres is Postgres with a database that has no tables yet.
func BarePostgres(tb testing.TB) string {
	tb.Helper()
	return database(tb, "template1")
}

// database returns the URL of a copy of another database.
func database(tb testing.TB, of string) string {
	tb.Helper()
	c, err := cluster()
	if err != nil {
		if strict() {
			tb.Fatalf("start PostgreSQL: %v", err)
		}
		tb.Skipf("no PostgreSQL to test with: %v", err)
	}
	name, err := c.create(tb.Context(), of)
	if err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.drop(context.WithoutCancel(tb.Context()), name); err != nil {
			tb.Errorf("drop database %s: %v", name, err)
		}
	})
	return c.url(name)
}
