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
	"log/slog"
	"path/filepath"
	"testing"

	"wagent/gateway/store"
)

// Key is the secret_key of the stores that Open and Each make.
var Key = [32]byte{0: 1, 31: 1}

// Open returns an empty store on SQLite. It is closed when the test ends.
func Open(tb testing.TB) *store.Store {
	tb.Helper()
	return At(tb, store.Config{Path: filepath.Join(tb.TempDir(), "wagent.db"), Key: Key})
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

// EachConfig runs a test against an empty database of each kind, which the
// test opens itself: several times, as replicas do.
func EachConfig(t *testing.T, test func(t *testing.T, cfg store.Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: Key})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, store.Config{URL: Postgres(t), Key: Key})
	})
}

// Postgres returns the URL of an empty database, which is dropped when the
// test ends. Where no PostgreSQL is installed the test is skipped, or fails if
// the environment sets WAGENT_TEST_STRICT.
func Postgres(tb testing.TB) string {
	tb.Helper()
	c, err := cluster()
	if err != nil {
		if strict() {
			tb.Fatalf("start PostgreSQL: %v", err)
		}
		tb.Skipf("no PostgreSQL to test with: %v", err)
	}
	name, err := c.create(tb.Context())
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
