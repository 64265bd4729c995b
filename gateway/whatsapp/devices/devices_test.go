package devices_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"wagent/gateway/whatsapp/devices"
)

func TestSQLiteIsPrivateAndOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ?#%.db")
	h := &holder{}
	s := open(t, config{Path: path}, h)
	for _, file := range []string{path, path + "-wal"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	db := devices.View(s, h.fence("acc_1"))
	defer func() { _ = db.Close() }()
	var synchronous, foreignKeys int
	var journal string
	err := db.QueryRowContext(t.Context(), `SELECT * FROM pragma_synchronous, pragma_foreign_keys, pragma_journal_mode`).Scan(&synchronous, &foreignKeys, &journal)
	if err != nil || synchronous != 2 || foreignKeys != 1 || journal != "wal" {
		t.Errorf("synchronous=%d foreign_keys=%d journal_mode=%s, %v", synchronous, foreignKeys, journal, err)
	}
}

func TestReplicasOpenAtOnce(t *testing.T) {
	cfg := postgres(t)
	run(t, cfg.URL, `CREATE TABLE public.whatsmeow_version (version INTEGER)`) // of another program
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			s, err := devices.Open(t.Context(), cfg)
			if err != nil {
				return err
			}
			return s.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	h := &holder{}
	paired(t, account(t, open(t, cfg, h), h.fence("acc_1")), "491510000001")
	run(t, cfg.URL, `SELECT 1 / count(*) FROM whatsmeow.whatsmeow_device`)
}

func TestPostgresForgetsFrozenTransactions(t *testing.T) {
	h := &holder{}
	db := devices.View(open(t, postgres(t), h), h.fence("acc_1"))
	defer func() { _ = db.Close() }()
	var limit, schema string
	err := db.QueryRowContext(t.Context(), `SELECT current_setting('idle_in_transaction_session_timeout'), current_schema()`).Scan(&limit, &schema)
	if err != nil || limit != "10s" || schema != "whatsmeow" {
		t.Errorf("the limit is %q in schema %q, %v", limit, schema, err)
	}
}

func TestPostgresNeedsAGuard(t *testing.T) {
	if _, err := devices.Open(t.Context(), config{URL: "postgres://nowhere.invalid/x"}); err == nil {
		t.Error("it was opened without one")
	}
}
