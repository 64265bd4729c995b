package store_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestWhatWaitsForTheDisk: PostgreSQL may forget the claim that makes a run and
// the end of one, since nothing has left; never what was acknowledged, nor that
// something leaves, nor which generation of a run was given out.
func TestWhatWaitsForTheDisk(t *testing.T) {
	s := storetest.At(t, store.Config{URL: storetest.Postgres(t) + "&synchronous_commit=on", Key: storetest.Key})
	ctx, db := t.Context(), store.DB(s)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A table's triggers note how the transaction that writes there commits.
	for _, stmt := range []string{
		`CREATE TABLE waits (what TEXT, commits TEXT)`,
		`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO waits VALUES (TG_ARGV[0], current_setting('synchronous_commit')); RETURN NEW; END $$`,
		`CREATE TRIGGER note BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.direction = 'in') EXECUTE FUNCTION note('message')`,
		`CREATE TRIGGER note_claim BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION note('claim')`,
		`CREATE TRIGGER note_resume BEFORE UPDATE ON runs FOR EACH ROW WHEN (NEW.generation > OLD.generation) EXECUTE FUNCTION note('resume')`,
		`CREATE TRIGGER note_end BEFORE UPDATE ON runs FOR EACH ROW WHEN (NEW.generation = OLD.generation) EXECUTE FUNCTION note('end')`,
		`CREATE TRIGGER note_send BEFORE UPDATE ON sends FOR EACH ROW EXECUTE FUNCTION note('send')`,
	} {
		_, err := db.ExecContext(ctx, stmt)
		check(err)
	}
	check(s.PutAccount(ctx, gateway.Account{ID: "acc_1", Kind: gateway.Sandbox}))
	peer := gateway.Address{Phone: "+15550000001"}
	arrived, err := s.AddMessages(ctx, []gateway.Arrival{{
		Inbound: gateway.Inbound{Account: "acc_1", Peer: peer, Sender: peer, ExternalID: "1", Type: gateway.TypeText, Text: "hi", Origin: gateway.OriginLive, SentAt: time.Now()},
		State:   gateway.StateWaiting,
	}})
	check(err)
	_, err = s.ClaimRun(ctx, arrived[0].Message.Conversation, 0)
	check(err)
	c, err := s.ClaimRun(ctx, arrived[0].Message.Conversation, time.Minute) // whose lease was over at once
	check(err)
	f := gateway.Finish{Run: c.Run, Sends: []gateway.Send{{
		Account: "acc_1", Conversation: c.Conversation.ID, To: peer, Origin: gateway.FromRun, OriginID: string(c.Run.ID), Text: "hello",
	}}}
	f.Run.Status, f.Run.StopReason, f.Run.Output = gateway.RunCompleted, gateway.StopEndTurn, &gateway.Output{}
	check(s.FinishRun(ctx, &f))
	claimed, _, _, err := s.ClaimSends(ctx, "", true, 1)
	check(err)
	if len(claimed) != 1 {
		t.Fatalf("%d sends are claimed", len(claimed))
	}
	claimed[0].Send.State, claimed[0].Send.ExternalID = gateway.SendAccepted, "wamid.1"
	_, err = s.SettleSend(ctx, &claimed[0].Send)
	check(err)
	// Where something is to be delivered, which a process does without writing that down
	// before, the end of the run is on disk first.
	_, err = s.AddMessages(ctx, []gateway.Arrival{{
		Inbound: gateway.Inbound{Account: "acc_1", Peer: peer, Sender: peer, ExternalID: "2", Type: gateway.TypeText, Text: "hi", Origin: gateway.OriginLive, SentAt: time.Now()},
		State:   gateway.StateWaiting,
	}})
	check(err)
	hook := gateway.Webhook{URL: "https://example.com", Active: true}
	check(s.CreateWebhook(ctx, &hook))
	c, err = s.ClaimRun(ctx, arrived[0].Message.Conversation, time.Minute)
	check(err)
	f = gateway.Finish{Run: c.Run, Deliveries: []gateway.Delivery{{Webhook: hook.ID, Event: gateway.EventAction, Run: c.Run.ID, Body: []byte(`{}`)}}}
	f.Run.Status, f.Run.StopReason, f.Run.Output = gateway.RunCompleted, gateway.StopEndTurn, &gateway.Output{}
	check(s.FinishRun(ctx, &f))
	rows, err := db.QueryContext(ctx, `SELECT what || ' ' || commits FROM waits`)
	check(err)
	defer rows.Close()
	var got []string
	for rows.Next() {
		var line string
		check(rows.Scan(&line))
		got = append(got, line)
	}
	check(rows.Err())
	want := []string{"message on", "claim off", "resume on", "end off", "send on", "send on", "message on", "claim off", "end on"}
	if len(got) != len(want) {
		t.Fatalf("commits: %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("commits: %q, want %q", got, want)
			break
		}
	}
}
