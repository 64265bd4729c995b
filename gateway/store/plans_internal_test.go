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
	t     *testing.T
	never *regexp.Regexp
}

// tooMuch matches plans whose work grows with all that was ever sent, said or
// run: a table from end to end, everything of one origin or conversation, or all
// conversations, were it of one account.
var tooMuch = regexp.MustCompile(`^SCAN (deliveries|sends|messages|media|pauses|pairings|runs|r|m|o|p)\b( USING INDEX messages_run|$)|` +
	`^SCAN (conversations|v)\b|^SEARCH (conversations|v)\b.*\(account=\?\)$|^SCAN (pauses|p) USING INDEX pauses_active$|` +
	`INDEX runs_agent\b|\(origin=\?\)|INDEX sends_conversation\b|USING (COVERING )?INDEX (messages_conversation|messages_run) ?(\(conversation=\?\))?$`)

// everyMessage also matches plans that read whatever somebody, or an account,
// ever wrote.
var everyMessage = regexp.MustCompile(tooMuch.String() + `|INDEX messages_(account|contact|external|status|received|target) ?\(\w+=\?\)`)

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
		if e.never.MatchString(step) {
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
	q := queries{db: explainer{s.db, t, tooMuch}, dialect: s.q.dialect}
	s.q = q
	at, ctx := time.Now(), t.Context()
	for what, do := range map[string]func() error{
		"settle by rule": func() error { _, err := settleByRule(ctx, q, &outlook{lost: true}, true, at); return err },
		"lose claims":    func() error { _, err := loseClaims(ctx, q, at); return err },
		"end quarantine": func() error { return endQuarantine(ctx, q, true, at) },
		"stop sends":     func() error { _, err := stopSends(ctx, q, at); return err },
		"free sends":     func() error { _, err := freeHeads(ctx, q, 64, at); return err },
		"paced sends":    func() error { _, err := pacedHeads(ctx, q, "holder", 64, at); return err },
		"claim sends": func() error {
			_, err := s.claimSends(ctx, q, "holder", []head{{id: "msg", account: "acc"}, {id: "msg2", account: "acc2", linked: true}}, at)
			return err
		},
		"claim sends that are free": func() error { _, err := claimFree(ctx, q, []any{"msg", "msg2"}, at); return err },
		"claim a send":              func() error { _, err := claimPaced(ctx, q, &head{id: "msg", linked: true}, at); return err },
		"take turns": func() error {
			return takeTurn(ctx, q, &gateway.Account{ID: "acc"}, &gateway.Send{ID: "msg", Conversation: "cnv"}, at)
		},
		"look at sends":  func() error { _, err := look(ctx, q, "holder", at); return err },
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
		"usage":   func() error { _, err := s.Usage(ctx, at, at); return err },
		"traffic": func() error { _, err := s.Traffic(ctx, at); return err },
		"tell of a status": func() error {
			told := &teller{store: s, hooks: []gateway.Webhook{{ID: 1, Active: true}}}
			return told.updated(ctx, q, &gateway.StatusUpdate{Message: "msg", Account: "acc", ExternalID: "wamid.1", Status: gateway.StatusRead})
		},
		"merge contact": func() error { _, err := mergeContact(ctx, q, "acc", "ctc_1", "ctc_2"); return err },
		"claim media":   func() error { _, err := s.claimMedia(ctx, q, "me", 9, at, time.Minute); return err },
		"expire media":  func() error { _, err := expireMedia(ctx, q, at); return err },
		"asked for":     func() error { _, err := s.MediaAskedFor(ctx, "acc", "3A1"); return err },
		"windowing":     func() error { _, err := windowing(ctx, q, "cnv"); return err },
		"newer waits":   func() error { _, err := newerWaits(ctx, q, "acc", "cnv"); return err },
		"may supersede": func() error { _, err := maySupersede(ctx, q, "acc", "cnv"); return err },
		"supersede":     func() error { return supersede(ctx, q, &gateway.Run{ID: "run"}) },
		"append newer":  func() error { return appendNewer(ctx, q, &gateway.Conversation{ID: "cnv"}, "run") },
		"take waiting":  func() error { _, err := takeWaiting(ctx, q, "cnv", "run"); return err },
		"standing":      func() error { _, _, _, err := standing(ctx, q, "cnv", &gateway.Conversation{}); return err },
		"may answer": func() error {
			_, err := one(ctx, q, scanInt, `SELECT EXISTS (`+pauseOf+`) + EXISTS (`+waitingOf+`) + EXISTS (`+forgottenOf+`)`, "cnv", at)
			return err
		},
		"set aside":         func() error { return setAside(ctx, q, "cnv") },
		"overrides":         func() error { _, _, err := s.WindowOverrides(ctx, "acc", 0); return err },
		"forget deliveries": func() error { _, err := s.ForgetDeliveries(ctx, at); return err },
		"end pauses": func() error {
			if _, err := s.EndPauses(ctx); err != nil {
				return err
			}
			return s.endPauses(ctx, q, "cnv")
		},
		"active pauses": func() error { _, _, err := s.Pauses(ctx, "acc", false, 0); return err },
		"spent tokens":  func() error { _, _, err := s.SpentTokens(ctx, "agt", at, at); return err },
		"recent runs":   func() error { _, err := s.RecentRuns(ctx, "agt", "cnv", at); return err },
		"waiting in":    func() error { _, err := s.WaitingIn(ctx, "cnv"); return err },
		"memory":        func() error { _, err := s.MemoryIn(ctx, "agent", "cnv"); return err },
		"peer messages": func() error { _, _, err := s.PeerMessages(ctx, "acc", "", 0); return err },
		"peer message":  func() error { _, err := s.PeerMessage(ctx, "acc", "msg"); return err },
		"complete":      func() error { return complete(ctx, q, "con", "acc") },
		"summary":       func() error { _, err := s.Summary(ctx, "agent", "cnv"); return err },
		"forget context": func() error {
			_, err := forgetConversation(ctx, q, "cnv", "")
			return err
		},
		"last run of": func() error {
			_, err := s.LastRunOf(ctx, "cnv", []gateway.AgentID{"agt_1", "agt_2"}, at)
			return err
		},
		"route run": func() error {
			err := s.RouteRun(ctx, &gateway.Run{ID: "run"})
			if gateway.KindOf(err) == gateway.Conflict {
				err = nil
			}
			return err
		},
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

func TestWhatComesInReadsNoHistory(t *testing.T) {
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: [32]byte{1}}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	a := gateway.Account{ID: "acc", Kind: gateway.CloudAPI, AllowFrom: []string{"+15550000001"}, Takeover: time.Hour}
	if err := s.PutAccount(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	in := &intake{
		q: queries{db: explainer{s.db, t, everyMessage}, dialect: s.q.dialect}, store: s, teller: &teller{store: s, hooks: []gateway.Webhook{{ID: 1, Active: true}}}, at: now(),
		accounts: map[gateway.AccountID]gateway.Account{"acc": a}, windowed: map[gateway.ConversationID]gateway.Windowing{},
	}
	s.TellOfMessages(func([]gateway.Webhook, *gateway.MessageEvent, time.Time) []gateway.Delivery { return nil })
	message := gateway.Inbound{
		Account: "acc", Peer: gateway.Address{Phone: "+15550000001"}, SenderName: "Alice", ExternalID: "1", Type: gateway.TypeText,
		Origin: gateway.OriginLive, SentAt: in.at,
	}
	change := func(id string, what gateway.Change, target string, origin gateway.Origin) gateway.Inbound {
		m := message
		m.ExternalID, m.Change, m.Target, m.Origin = id, what, target, origin
		return m
	}
	photo := message
	photo.ExternalID, photo.Attachment = "2", &gateway.Attachment{MimeType: "image/png"}
	for _, m := range []gateway.Inbound{
		message, message, photo,
		change("3", gateway.Edit, "1", gateway.OriginLive),
		change("4", gateway.Edit, "9", gateway.OriginLive),
		change("9", "", "", gateway.OriginLive),
		change("5", gateway.Revoke, "2", gateway.OriginLive),
		change("6", "", "", gateway.OriginEcho),
		change("7", gateway.Edit, "6", gateway.OriginEcho),
		change("8", gateway.Revoke, "6", gateway.OriginEcho),
	} {
		if _, err := in.add(t.Context(), &gateway.Arrival{Inbound: m, State: gateway.StateWaiting, MaxPerHour: 9}); err != nil {
			t.Errorf("message %s: %v", m.ExternalID, err)
		}
	}
}
