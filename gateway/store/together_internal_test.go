package store

import (
	"log/slog"
	"path/filepath"
	"testing"
)

func TestJoined(t *testing.T) {
	all := []statement{
		{`UPDATE a SET x = $2 WHERE id = $1`, []any{1, 2}},
		{`INSERT INTO b VALUES ($1, $2, $10)`, make([]any, 10)},
		{`DELETE FROM c WHERE id = $1`, []any{1}},
	}
	want := `WITH beside0 AS (INSERT INTO b VALUES ($3, $4, $12)), beside1 AS (DELETE FROM c WHERE id = $13) UPDATE a SET x = $2 WHERE id = $1`
	for range 2 { // the second time it is remembered
		if got := joined(all); got != want {
			t.Errorf("joined = %s, want %s", got, want)
		}
	}
	all[1].query = `INSERT INTO d VALUES ($1)`
	if got := joined(all); got == want {
		t.Error("another statement has the same text")
	}
}

// TestTogetherIsNothingWithoutItsHead: where there are no statements beside
// others, those that follow from one that changes nothing are not run.
func TestTogetherIsNothingWithoutItsHead(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: [32]byte{1}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	row := statement{`INSERT INTO audit_test VALUES (1)`, nil}
	if _, err := s.q.exec(t.Context(), `CREATE TABLE audit_test (n INTEGER)`); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		head string
		n    int64
		rows int64
	}{
		{`UPDATE audit_test SET n = 2 WHERE n = 7`, 0, 0},
		{`INSERT INTO audit_test VALUES (7)`, 1, 2},
		{`UPDATE audit_test SET n = 2 WHERE n = 7`, 1, 3},
	} {
		n, err := s.q.together(t.Context(), statement{tt.head, nil}, row)
		if err != nil || n != tt.n {
			t.Errorf("%s: %d, %v, want %d", tt.head, n, err, tt.n)
		}
		if rows, err := one(t.Context(), s.q, scanInt, `SELECT COUNT(*) FROM audit_test`); err != nil || rows != tt.rows {
			t.Errorf("%s: %d rows, %v, want %d", tt.head, rows, err, tt.rows)
		}
	}
}
