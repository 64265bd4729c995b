package storetest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/store"
)

const (
	sandbox gateway.AccountID = "acc_try"
	cloud   gateway.AccountID = "acc_cloud"
	alice                     = "+15550000001"
	bob                       = "+15550000002"
)

// seed declares two accounts, an agent that answers the sandbox and a webhook
// that takes everything. It returns the webhook.
func seed(t *testing.T, s *store.Store) gateway.Webhook {
	t.Helper()
	a := gateway.DefaultAgent()
	a.Key, a.Account, a.Name, a.SystemPrompt, a.AutoRun = "concierge", sandbox, "Concierge", "Be kind.", true
	accounts := []gateway.Account{
		{ID: sandbox, Kind: gateway.Sandbox},
		{ID: cloud, Kind: gateway.CloudAPI, Cloud: gateway.Cloud{PhoneNumberID: "1001", AccessToken: "token-of-cloud"}},
	}
	hooks := []gateway.Webhook{{Key: "all", URL: "https://example.com/hook", Secret: "hook-secret", Active: true}}
	must(t, s.Declare(t.Context(), accounts, []gateway.Agent{a}, hooks, nil))
	ws := got(s.Webhooks(t.Context()))(t)
	return ws[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got unwraps a result whose error ends the test.
func got[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func wantKind(t *testing.T, err error, kind gateway.Kind) {
	t.Helper()
	if err == nil || gateway.KindOf(err) != kind {
		t.Fatalf("error is %v (%s), want kind %s", err, gateway.KindOf(err), kind)
	}
}

func equal[T any](t *testing.T, what string, got, want T, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// from is a text that somebody just wrote to the account.
func from(account gateway.AccountID, phone, id string) gateway.Arrival {
	who := gateway.Address{Phone: phone}
	return gateway.Arrival{
		Inbound: gateway.Inbound{
			Account: account, Peer: who, Sender: who, SenderName: "Someone", ExternalID: id, Type: gateway.TypeText,
			Text: "text of " + id, SentAt: time.Now(), Origin: gateway.OriginLive,
		},
		State: gateway.StateWaiting, ReceivedAt: time.Now(),
	}
}

func add(t *testing.T, s *store.Store, ms ...gateway.Arrival) []gateway.Message {
	t.Helper()
	out := make([]gateway.Message, len(ms))
	for i, a := range got(s.AddMessages(t.Context(), ms))(t) {
		out[i] = a.Message
	}
	return out
}

// claimed adds a message of somebody's and claims their conversation.
func claimed(t *testing.T, s *store.Store, account gateway.AccountID, phone, id string) gateway.Claim {
	t.Helper()
	m := add(t, s, from(account, phone, id))[0]
	return got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t)
}

// finish is the end of a claim with a reply.
func finish(c gateway.Claim, reply string) *gateway.Finish {
	r := c.Run
	r.Status, r.StopReason = gateway.RunCompleted, gateway.StopEndTurn
	r.Output = &gateway.Output{Intent: "greet", Confidence: 0.9, Actions: []gateway.OutputAction{}, Language: "en", SuggestedReply: reply}
	r.CompletedAt = time.Now()
	return &gateway.Finish{Run: r, Sends: []gateway.Send{replyTo(c, gateway.FromRun, 0, reply)}}
}

func replyTo(c gateway.Claim, origin gateway.SendOrigin, part int, text string) gateway.Send {
	return gateway.Send{
		Account: c.Run.Account, Conversation: c.Run.Conversation, To: c.Conversation.Peer, Origin: origin,
		OriginID: string(c.Run.ID), Part: part, Text: text,
	}
}

// sent claims a message's conversation and finishes the run with a reply.
func sent(t *testing.T, s *store.Store, account gateway.AccountID, phone, id string) gateway.Send {
	t.Helper()
	f := finish(claimed(t, s, account, phone, id), "reply to "+id)
	must(t, s.FinishRun(t.Context(), f))
	return f.Sends[0]
}

// pauses are an account's: those that last, or all of them.
func pauses(t *testing.T, s *store.Store, account gateway.AccountID, all bool) []gateway.PausedPeer {
	t.Helper()
	ps, total, err := s.Pauses(t.Context(), account, all, 100)
	must(t, err)
	equal(t, "pauses in all", total, len(ps))
	return ps
}

// overrides are those of an account's conversations.
func overrides(t *testing.T, s *store.Store, account gateway.AccountID) []gateway.PeerWindow {
	t.Helper()
	ws, total, err := s.WindowOverrides(t.Context(), account, 100)
	must(t, err)
	equal(t, "overrides in all", total, len(ws))
	return ws
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("wamid.%03d", i)
	}
	return out
}
