package store

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"wagent/gateway"
)

// explainer asks SQLite how it will find the rows of each statement, before it
// runs it.
type explainer struct {
	*sql.DB
	t *testing.T
}

// tooMuch matches plans whose work grows with all that was ever sent, said or
// run: a table from end to end, or everything of one origin or conversation.
var tooMuch = regexp.MustCompile(`^SCAN (sends|messages|runs|r|m|o)\b( USING INDEX messages_run|$)|` +
	`\(origin=\?\)|USING (COVERING )?INDEX (sends_conversation|messages_conversation|messages_run) ?(\(conversation=\?\))?$`)

func (e explainer) look(ctx context.Context, query string, args []any) {
	e.t.Helper()
	rows, err := e.DB.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			e.t.Fatal(err)
		}
		if tooMuch.MatchString(step) {
			e.t.Errorf("%s\n\tin %s", step, query)
		}
	}
	if err := rows.Err(); err != nil {
		e.t.Fatal(err)
	}
}

func (e explainer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	e.look(ctx, query, args)
	return e.DB.ExecContext(ctx, query, args...)
}

func (e explainer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	e.look(ctx, query, args)
	return e.DB.QueryContext(ctx, query, args...)
}

func (e explainer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	e.look(ctx, query, args)
	return e.DB.QueryRowContext(ctx, query, args...)
}

func TestWhatRunsAllTheTimeReadsNoHistory(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: [32]byte{1}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	q := queries{db: explainer{s.db, t}, dialect: s.q.dialect}
	s.q = q
	at, ctx := time.Now(), t.Context()
	for what, do := range map[string]func() error{
		"lose claims":    func() error { _, err := loseClaims(ctx, q, at); return err },
		"end quarantine": func() error { return endQuarantine(ctx, q, true, at) },
		"stop sends":     func() error { _, err := stopSends(ctx, q, at); return err },
		"free sends":     func() error { _, err := freeHeads(ctx, q, 64, at); return err },
		"paced sends":    func() error { _, err := pacedHeads(ctx, q, "holder", 64, at); return err },
		"claim sends": func() error {
			_, err := s.claimSends(ctx, q, "holder", []head{{"msg", "cnv", "acc"}}, at)
			return err
		},
		"name a send":    func() error { return nameFirst(ctx, q, &gateway.Send{ID: "msg", Conversation: "cnv"}, at) },
		"next send":      func() error { _, err := nextSend(ctx, q, "holder", at); return err },
		"claim links":    func() error { _, err := s.ClaimLinks(ctx, "holder", time.Minute, 9); return err },
		"open pairings":  func() error { _, err := s.OpenPairings(ctx, "holder"); return err },
		"poll options":   func() error { _, err := s.PollOptions(ctx, "acc", "ABC"); return err },
		"waiting":        func() error { _, err := s.Waiting(ctx, "acc", 0, 9); return err },
		"batch of a run": func() error { _, _, err := s.Batch(ctx, "run"); return err },
		"stranded runs":  func() error { _, err := s.StrandedRuns(ctx); return err },
		"stranded":       func() error { _, err := s.Stranded(ctx, at, 0, 9); return err },
		"due actions":    func() error { _, _, err := s.DueActions(ctx, 9); return err },
		"on record": func() error {
			_, _, err := onRecord(ctx, q, &gateway.Message{ExternalID: "wamid.1"})
			return err
		},
		"status": func() error {
			return applyStatus(ctx, q, &gateway.StatusUpdate{ExternalID: "wamid.1", Status: gateway.StatusRead})
		},
		"merge contact": func() error { _, err := mergeContact(ctx, q, "acc", "ctc_1", "ctc_2"); return err },
	} {
		if err := do(); err != nil && gateway.KindOf(err) != gateway.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range s.metrics.all {
		if _, err := one(ctx, q, scanInt, s.metrics.all[i].query); err != nil {
			t.Error(err)
		}
	}
}
