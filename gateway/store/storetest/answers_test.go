package storetest_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// acted finishes a run of Alice's with two actions.
func acted(t *testing.T, s *store.Store, message string) *gateway.Finish {
	t.Helper()
	f := finish(claimed(t, s, sandbox, alice, message), "reply")
	for i, name := range []string{"room.towels.bring", "room.minibar.fill"} {
		f.Run.Actions = append(f.Run.Actions, gateway.Action{Index: i, Type: name, Payload: map[string]any{"room": "204"}, Status: gateway.ActionAuto})
	}
	must(t, s.FinishRun(t.Context(), f))
	return f
}

func answer(run gateway.RunID, index int, webhook int64, result, reply string) gateway.ActionAnswer {
	a := gateway.ActionAnswer{Run: run, Index: index, Webhook: webhook, Reply: reply}
	if result != "" {
		a.Result = json.RawMessage(result)
	}
	return a
}

func TestAResultIsKeptBesideItsAction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := acted(t, s, "wamid.1")
		say := func(as ...gateway.ActionAnswer) {
			t.Helper()
			if got(s.AnswerActions(t.Context(), as))(t) {
				t.Error("there is a reply to send")
			}
		}
		result := func(want string, by int64) {
			t.Helper()
			a := got(s.Run(t.Context(), "", f.Run.ID))(t).Actions[0]
			if string(a.Result) != want || a.AnsweredBy != by || a.AnsweredAt.IsZero() {
				t.Errorf("the result is %s by %d at %v, want %s by %d", a.Result, a.AnsweredBy, a.AnsweredAt, want, by)
			}
		}
		say(answer(f.Run.ID, 0, 7, `{"ticket":1}`, ""), answer(f.Run.ID, 9, 7, `1`, ""), answer("run_none", 0, 7, `1`, ""))
		result(`{"ticket":1}`, 7)
		say(answer(f.Run.ID, 0, 8, `{"ticket":2}`, "")) // another one was first
		result(`{"ticket":1}`, 7)
		say(answer(f.Run.ID, 0, 7, `{"ticket":"it is known"}`, "")) // it was asked again, since nobody knew that it had answered
		result(`{"ticket":1}`, 7)
		replayed := answer(f.Run.ID, 0, 7, `{"ticket":3}`, "")
		replayed.Again = true
		other := replayed
		other.Webhook = 8
		say(other, replayed)
		result(`{"ticket":3}`, 7)
		second := got(s.Run(t.Context(), "", f.Run.ID))(t).Actions[1]
		if second.Result != nil || second.AnsweredBy != 0 || !second.AnsweredAt.IsZero() {
			t.Errorf("the other action is %+v", second)
		}

		_, _, err := s.ForgetContext(t.Context(), contactOf(t, s, alice).ID, "")
		must(t, err)
		say(answer(f.Run.ID, 0, 7, `{"ticket":4}`, ""))
		if a := got(s.Run(t.Context(), "", f.Run.ID))(t).Actions[0]; a.Result != nil {
			t.Errorf("after the erasure the result is %s", a.Result)
		}
		if got(s.AnswerActions(t.Context(), []gateway.ActionAnswer{answer(f.Run.ID, 0, 7, ``, "Your towels come")}))(t) {
			t.Error("after the erasure it is replied")
		}
	})
}

func TestAnActionHasOneReply(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := acted(t, s, "wamid.1")
		before := len(got(s.Sends(t.Context(), f.Run.Conversation))(t))
		var wg sync.WaitGroup
		queued := make([]bool, 4)
		for i := range queued { // two endpoints that answer at once, each of two actions
			wg.Go(func() {
				replies, err := s.AnswerActions(t.Context(), []gateway.ActionAnswer{
					answer(f.Run.ID, 1-i%2, int64(i+1), "", "second"), answer(f.Run.ID, i%2, int64(i+1), `{}`, "first"),
				})
				if err != nil {
					t.Error(err)
				}
				queued[i] = replies
			})
		}
		wg.Wait()
		if !got(s.AnswerActions(t.Context(), []gateway.ActionAnswer{answer(f.Run.ID, 0, 9, "", "once more")}))(t) {
			t.Error("the reply that waits is not told of again")
		}
		sends := got(s.Sends(t.Context(), f.Run.Conversation))(t)[before:]
		if len(sends) != 2 {
			t.Fatalf("%d replies are sent, said was %v: %+v", len(sends), queued, sends)
		}
		ids := map[string]bool{}
		for _, x := range sends {
			ids[x.OriginID] = true
			if x.Origin != gateway.FromRun || x.To.Phone != alice || x.Account != sandbox || x.State != gateway.SendReady {
				t.Errorf("the send is %+v", x)
			}
		}
		if !ids[string(f.Run.ID)+"/0"] || !ids[string(f.Run.ID)+"/1"] {
			t.Errorf("they are of %v", ids)
		}
		if ms := got(s.Recent(t.Context(), f.Run.Conversation, 1<<40, 9))(t); len(ms) != before+3 || ms[len(ms)-1].Run != f.Run.ID || ms[len(ms)-1].Direction != gateway.Out {
			t.Errorf("on record are %+v", ms)
		}
	})
}

// TestAReplyOfAnActionKeepsToTheRules: it is the agent's word.
func TestAReplyOfAnActionKeepsToTheRules(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := acted(t, s, "wamid.1")
		for {
			claimed, _, _, err := s.ClaimSends(t.Context(), "", true, 9)
			must(t, err)
			if len(claimed) == 0 {
				break
			}
			for _, c := range claimed {
				c.Send.State, c.Send.ExternalID = gateway.SendAccepted, "wamid.out"+string(c.Send.ID)
				got(s.SettleSend(t.Context(), &c.Send))(t)
			}
		}
		must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: f.Run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		if !got(s.AnswerActions(t.Context(), []gateway.ActionAnswer{answer(f.Run.ID, 0, 7, "", "Your towels come")}))(t) {
			t.Error("nothing was queued")
		}
		claimed, settled, _, err := s.ClaimSends(t.Context(), "", true, 9)
		must(t, err)
		if len(claimed) != 0 || len(settled) != 1 || settled[0].State != gateway.SendCancelled {
			t.Errorf("claimed %+v, settled %+v", claimed, settled)
		}
	})
}

func TestARunOfTheAPIHasNobodyToReplyTo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		r := gateway.Run{Agent: got(s.Agents(t.Context()))(t)[0].ID, Account: sandbox, ConversationKey: "desk", Trigger: gateway.TriggerAPI, Input: json.RawMessage(`{}`)}
		must(t, s.CreateRun(t.Context(), &r))
		rs, _, err := s.ClaimRuns(t.Context(), 1, time.Minute)
		must(t, err)
		f := &gateway.Finish{Run: rs[0]}
		f.Run.Status, f.Run.Output = gateway.RunCompleted, &gateway.Output{Actions: []gateway.OutputAction{}}
		f.Run.Actions = []gateway.Action{{Index: 0, Type: "a.b.c", Status: gateway.ActionAuto}}
		must(t, s.FinishRun(t.Context(), f))
		if got(s.AnswerActions(t.Context(), []gateway.ActionAnswer{answer(r.ID, 0, 7, `[1]`, "hello")}))(t) {
			t.Error("somebody is replied to")
		}
		as := got(s.ActionResults(t.Context(), r.Agent, r.ContextKey(), time.Now().Add(-time.Hour), time.Time{}, 9))(t)
		if len(as) != 1 || string(as[0].Result) != `[1]` {
			t.Errorf("the results are %+v", as)
		}
	})
}

func TestTheNextRunKnowsWhatCameOfActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		first := acted(t, s, "wamid.1")
		second := acted(t, s, "wamid.2")
		say := func(run gateway.RunID, index int, result string) {
			t.Helper()
			got(s.AnswerActions(t.Context(), []gateway.ActionAnswer{answer(run, index, 7, result, "")}))(t)
		}
		say(first.Run.ID, 1, `"late"`)
		say(second.Run.ID, 0, `"soon"`)
		hour := time.Now().Add(-time.Hour)
		results := func(key string, after, since time.Time, limit int, want ...string) {
			t.Helper()
			var texts []string
			for _, a := range got(s.ActionResults(t.Context(), first.Run.Agent, key, after, since, limit))(t) {
				texts = append(texts, string(a.Result))
			}
			equal(t, "results", len(texts), len(want))
			for _, w := range want {
				found := false
				for _, x := range texts {
					found = found || x == w
				}
				if !found {
					t.Errorf("%s is not among %v", w, texts)
				}
			}
		}
		key := first.Run.ContextKey()
		results(key, hour, time.Time{}, 9, `"late"`, `"soon"`)
		if as := got(s.ActionResults(t.Context(), first.Run.Agent, key, hour, time.Time{}, 1))(t); len(as) != 1 {
			t.Errorf("one of them is %+v", as)
		}
		results(key, hour, time.Now().Add(time.Hour), 9)        // known before
		results(key, time.Now().Add(time.Hour), time.Time{}, 9) // forgotten
		results("cnv_other", hour, time.Time{}, 9)
		results("", hour, time.Time{}, 9)
	})
}

// What an endpoint said of a customer goes with what it was told.
func TestWhatEndpointsAnsweredIsErasedToo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 2)
		other := deliverTo(t, s, bob, hook.ID)
		for _, d := range toDeliver(t, s) {
			x := attempted(d, gateway.DeliverySucceeded, time.Now())
			x.Attempt.Answer, x.Attempt.Headers = `{"result":"Ada"}`, map[string]string{"X-Guest": "Ada"}
			got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{x}, nil))(t)
		}
		_, _, err := s.ForgetContext(t.Context(), contactOf(t, s, alice).ID, "")
		must(t, err)
		for id, kept := range map[gateway.RunID]bool{run: false, other: true} {
			for _, d := range got(s.Deliveries(t.Context(), id))(t) {
				for _, a := range got(s.Attempts(t.Context(), d.ID))(t) {
					if (a.Answer != "") != kept || (len(a.Headers) > 0) != kept {
						t.Errorf("of %s is kept %+v", id, a)
					}
				}
			}
		}
	})
}

// deliverTo gives a webhook a delivery of a run that answers somebody.
func deliverTo(t *testing.T, s *store.Store, phone string, hook int64) gateway.RunID {
	t.Helper()
	f := finish(claimed(t, s, sandbox, phone, "wamid.of"+phone), "hello")
	f.Deliveries = []gateway.Delivery{{Webhook: hook, Event: gateway.EventAction, Run: f.Run.ID, Body: json.RawMessage(`{}`)}}
	must(t, s.FinishRun(t.Context(), f))
	return f.Run.ID
}
