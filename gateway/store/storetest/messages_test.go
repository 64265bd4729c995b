package storetest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestAddMessagesKeepsEverything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := from(sandbox, alice, "wamid.1")
		a.Text = strings.Repeat("länge 🏨\U0001F469\u200D\U0001F4BB ", 20_000)
		a.Detail, a.ReplyTo, a.Part = json.RawMessage(`{"media_id":"m1"}`), "wamid.0", 2
		out := got(s.AddMessages(t.Context(), []gateway.Arrival{a}))(t)
		if !out[0].New {
			t.Error("a new message is not new")
		}
		want := gateway.Message{
			Account: sandbox, Direction: gateway.In, ExternalID: "wamid.1", Part: 2, Type: gateway.TypeText, Text: a.Text,
			Detail: a.Detail, ReplyTo: "wamid.0", SentAt: a.SentAt.UTC().Truncate(time.Millisecond),
			ReceivedAt: a.ReceivedAt.UTC().Truncate(time.Millisecond), State: gateway.StateWaiting,
		}
		ms := got(s.Messages(t.Context(), sandbox, "", 10))(t)
		equal(t, "message", ms[0], want, cmpopts.IgnoreFields(gateway.Message{}, "ID", "Seq", "Conversation", "Contact"))
		equal(t, "what AddMessages returned", out[0].Message, ms[0])
		conv := got(s.Conversation(t.Context(), ms[0].Conversation))(t)
		equal(t, "conversation", conv, gateway.Conversation{
			ID: ms[0].Conversation, Account: sandbox, Peer: gateway.Address{Phone: alice}, Name: "Someone", LastInboundAt: want.SentAt,
		})
	})
}

func TestAddMessagesReturnsWhatIsOnRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := from(sandbox, alice, "wamid.1")
		first := add(t, s, a)[0]
		a.Text = "another text under the same id"
		again := got(s.AddMessages(t.Context(), []gateway.Arrival{a, a}))(t)
		for _, x := range again {
			equal(t, "repeated message", x, gateway.Arrived{Message: first})
		}
		part := a
		part.Part = 1
		other := from(sandbox, bob, "wamid.1")
		for _, x := range got(s.AddMessages(t.Context(), []gateway.Arrival{part, other}))(t) {
			if !x.New {
				t.Errorf("part %d of %s is taken for a repetition", x.Message.Part, x.Message.Contact)
			}
		}
	})
}

func TestAddMessagesRefusesTheWholeCall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		nobody := from(sandbox, alice, "wamid.2")
		nobody.Peer, nobody.Sender = gateway.Address{}, gateway.Address{}
		for name, tc := range map[string]struct {
			bad  gateway.Arrival
			kind gateway.Kind
		}{
			"to an account that does not exist": {from("acc_none", alice, "wamid.2"), gateway.NotFound},
			"from nobody":                       {nobody, gateway.Invalid},
		} {
			_, err := s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, alice, "wamid.1"), tc.bad})
			wantKind(t, err, tc.kind)
			if ms := got(s.Messages(t.Context(), sandbox, "", 10))(t); len(ms) != 0 {
				t.Errorf("%s: %d messages were recorded", name, len(ms))
			}
		}
	})
}

func TestAddMessagesJudges(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		limited := func(id string) gateway.Arrival {
			a := from(sandbox, alice, id)
			a.MaxPerHour = 2
			return a
		}
		ms := add(t, s, limited("wamid.1"), limited("wamid.2"), limited("wamid.3"), limited("wamid.4"))
		for i, want := range []gateway.MessageState{gateway.StateWaiting, gateway.StateWaiting, gateway.StateIgnored, gateway.StateIgnored} {
			if ms[i].State != want {
				t.Errorf("message %d of the hour is %s, want %s", i+1, ms[i].State, want)
			}
		}
		if ms[2].StateReason != "hourly_limit" {
			t.Errorf("reason is %q", ms[2].StateReason)
		}
		must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: ms[0].Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		ignored := from(sandbox, alice, "wamid.6")
		ignored.State, ignored.Reason = gateway.StateIgnored, "too_short"
		ms = add(t, s, from(sandbox, alice, "wamid.5"), ignored, from(sandbox, bob, "wamid.7"))
		if ms[0].State != gateway.StateHeld || ms[0].StateReason != "paused" {
			t.Errorf("in a paused conversation a message is %s (%q)", ms[0].State, ms[0].StateReason)
		}
		if ms[1].State != gateway.StateIgnored || ms[1].StateReason != "too_short" {
			t.Errorf("an ignored message became %s (%q)", ms[1].State, ms[1].StateReason)
		}
		if ms[2].State != gateway.StateWaiting {
			t.Errorf("the pause of another conversation made a message %s", ms[2].State)
		}
	})
}

func TestServiceWindowFollowsInboundMessagesOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		start := time.Now().UTC().Truncate(time.Millisecond)
		step := func(what string, origin gateway.Origin, sent, want time.Time) {
			t.Helper()
			a := from(sandbox, alice, what)
			a.Origin, a.SentAt, a.ReceivedAt = origin, sent, start
			m := add(t, s, a)[0]
			if c := got(s.Conversation(t.Context(), m.Conversation))(t); !c.LastInboundAt.Equal(want) {
				t.Errorf("after %s: last inbound at %v, want %v", what, c.LastInboundAt, want)
			}
		}
		hour := func(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }
		step("history", gateway.OriginHistory, hour(-1), time.Time{})
		step("an echo", gateway.OriginEcho, hour(-1), time.Time{})
		step("the backlog", gateway.OriginBacklog, hour(-5), hour(-5))
		step("an older message", gateway.OriginLive, hour(-6), hour(-5))
		step("a clock ahead of ours", gateway.OriginLive, hour(3), start)
	})
}

func TestEchoesAreOurs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := from(sandbox, alice, "wamid.1")
		a.Origin, a.State, a.Reason = gateway.OriginEcho, gateway.StateIgnored, "echo"
		m := add(t, s, a)[0]
		if m.Direction != gateway.Out || m.Status != gateway.StatusSent || m.State != "" || m.Contact != "" {
			t.Errorf("an echo is recorded as %+v", m)
		}
		if got(s.AddMessages(t.Context(), []gateway.Arrival{a}))(t)[0].New {
			t.Error("the same echo is recorded twice")
		}
		if c := got(s.Conversation(t.Context(), m.Conversation))(t); c.Name != "" {
			t.Errorf("the customer got our name %q", c.Name)
		}
	})
}

func TestConcurrentCallersRecordEachMessageOnceAndInOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		const callers, each = 50, 6
		var news sync.Map
		var wg sync.WaitGroup
		for c := range callers {
			// Two callers share each batch: WhatsApp repeats itself.
			phone := alice[:len(alice)-2] + string(rune('0'+c/2/10)) + string(rune('0'+c/2%10))
			wg.Go(func() {
				for _, id := range ids(each) {
					batch := []gateway.Arrival{from(sandbox, phone, id), from(sandbox, phone, id+"b")}
					if c%5 == 0 { // a bad batch beside the others
						if _, err := s.AddMessages(t.Context(), append(batch[:1:1], from("acc_none", phone, id))); gateway.KindOf(err) != gateway.NotFound {
							t.Errorf("a bad batch ended with %v", err)
						}
					}
					out, err := s.AddMessages(t.Context(), batch)
					if err != nil {
						t.Error(err)
						return
					}
					for _, a := range out {
						if a.New {
							if _, twice := news.LoadOrStore(a.Message.ID, true); twice {
								t.Errorf("message %s is new twice", a.Message.ID)
							}
						}
					}
				}
			})
		}
		wg.Wait()
		ms := got(s.Messages(t.Context(), sandbox, "", 10_000))(t)
		if want := callers / 2 * each * 2; len(ms) != want {
			t.Fatalf("%d messages on record, want %d", len(ms), want)
		}
		last := map[gateway.ConversationID]string{}
		for _, m := range slices.Backward(ms) {
			if _, ok := news.Load(m.ID); !ok {
				t.Errorf("message %s was new to nobody", m.ID)
			}
			if m.ExternalID <= last[m.Conversation] {
				t.Errorf("%s stands after %s", m.ExternalID, last[m.Conversation])
			}
			last[m.Conversation] = m.ExternalID
		}
		if len(last) != callers/2 {
			t.Errorf("%d conversations, want %d", len(last), callers/2)
		}
	})
}

func TestReplicasShareContacts(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		seed(t, a)
		replicas := []*store.Store{a, storetest.At(t, cfg)}
		var wg sync.WaitGroup
		for _, s := range replicas {
			wg.Go(func() {
				for _, id := range ids(20) {
					if _, err := s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, alice, id), from(cloud, bob, id)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, account := range []gateway.AccountID{sandbox, cloud} {
			ms := got(a.Messages(t.Context(), account, "", 100))(t)
			if len(ms) != 20 {
				t.Errorf("%d messages of %s, want 20", len(ms), account)
			}
			for _, m := range ms {
				if m.Conversation != ms[0].Conversation {
					t.Errorf("one customer has two conversations on %s", account)
				}
			}
		}
	})
}

func TestReadingMessages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		var all []gateway.Message
		for _, id := range ids(5) {
			all = append(all, add(t, s, from(sandbox, alice, id))...)
		}
		other := add(t, s, from(sandbox, bob, "wamid.x"))[0]
		reply := finish(got(s.ClaimRun(t.Context(), other.Conversation, time.Minute))(t), "never sent")
		must(t, s.FinishRun(t.Context(), reply))
		must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: sandbox, Message: reply.Sends[0].ID, Status: gateway.StatusFailed}}))
		conv := all[0].Conversation
		names := func(ms []gateway.Message) (out []string) {
			for _, m := range ms {
				out = append(out, m.ExternalID)
			}
			return out
		}
		equal(t, "the newest", names(got(s.Recent(t.Context(), conv, 0, 2))(t)), []string{"wamid.003", "wamid.004"})
		equal(t, "those before", names(got(s.Recent(t.Context(), conv, all[3].Seq, 2))(t)), []string{"wamid.001", "wamid.002"})
		equal(t, "without what failed", names(got(s.Recent(t.Context(), other.Conversation, 0, 9))(t)), []string{"wamid.x"})
		equal(t, "of the account", names(got(s.Messages(t.Context(), sandbox, "", 3))(t)), []string{"", "wamid.x", "wamid.004"})
		equal(t, "of a conversation", names(got(s.Messages(t.Context(), sandbox, conv, 2))(t)), []string{"wamid.004", "wamid.003"})
		equal(t, "of another account's conversation", names(got(s.Messages(t.Context(), cloud, conv, 2))(t)), nil)
		later := time.Now().Add(time.Second)
		equal(t, "stranded", names(got(s.Stranded(t.Context(), later, all[1].Seq, 2))(t)), []string{"wamid.002", "wamid.003"})
		equal(t, "stranded an hour ago", names(got(s.Stranded(t.Context(), time.Now().Add(-time.Hour), 0, 9))(t)), nil)
	})
}

func TestHourlyLimitSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		seed(t, s)
		for i, id := range ids(4) {
			a := from(sandbox, alice, id)
			a.MaxPerHour = 1
			want := gateway.StateWaiting
			if i%2 == 1 {
				want = gateway.StateIgnored
			}
			if m := add(t, s, a)[0]; m.State != want {
				t.Errorf("after %d half hours: %s, want %s", i, m.State, want)
			}
			time.Sleep(30 * time.Minute)
		}
	})
}
