package dispatch_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/context/prompt"
	"wagent/dispatch"
	"wagent/gateway"
)

func TestTheAgentsOwnPauseLetsItsLastWordsThrough(t *testing.T) {
	inRig(t, says("A person will answer you.", gateway.ActionPause), nil, func(r *rig) {
		run := r.answered(ada, "I want a human")
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.says(run.Conversation, "handover 0 A person will answer you.")
		r.tells(run.ID, "agent_run.completed -1", "conversation.paused -1")
		claimed, stopped, _, err := r.db.ClaimSends(r.Context(), "", true, 10)
		if err != nil || len(claimed) != 1 || len(stopped) != 0 {
			t.Errorf("ClaimSends = %d claimed, %d stopped, %v; want the last words to go out", len(claimed), len(stopped), err)
		}

		late := r.write(ada, "hello?")
		equal(t, "later message", r.state(late), "held paused")
		must(t, r.handle(r.Context(), run.Conversation))
		r.at(24*time.Hour - time.Millisecond)
		if is := got(r.db.Paused(r.Context(), run.Conversation))(t); !is {
			t.Error("the pause is over before 24 h")
		}
		r.at(24 * time.Hour)
		if is := got(r.db.Paused(r.Context(), run.Conversation))(t); is {
			t.Error("the pause lasts longer than 24 h")
		}
		if n := len(r.model.questions()); n != 1 {
			t.Errorf("the model was asked %d times, want once", n)
		}
	})
}

func TestSilenceIsAnAnswer(t *testing.T) {
	for name, answer := range map[string]script{
		"where the agent asks for it":    says("you should not read this", gateway.ActionSkip),
		"where the reply is empty":       says(""),
		"where the reply is white space": says(" \n\t"),
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, answer, func(s *settings) { s.agent.FallbackReply = fallback }, func(r *rig) {
				run := r.answered(ada, "ok thanks")
				r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				r.says(run.Conversation)
				r.tells(run.ID, "agent_run.completed -1")
			})
		})
	}
}

func TestConfirmation(t *testing.T) {
	tests := map[string]struct {
		actions []string
		stop    gateway.StopReason
		want    []gateway.Action // without what the database knows
		decided bool
		told    []string
	}{
		"actions wait for a person": {
			[]string{"hotel.towels.bring", gateway.ActionSkip},
			gateway.StopApproval,
			[]gateway.Action{{Index: 0, Status: gateway.ActionPending}, {Index: 1, Status: gateway.ActionConfirmed, DecidedBy: "system"}},
			false,
			[]string{"agent_run.completed -1"},
		},
		"the system's own actions wait for nobody": {
			[]string{gateway.ActionSkip},
			gateway.StopEndTurn,
			[]gateway.Action{{Index: 0, Status: gateway.ActionConfirmed, DecidedBy: "system"}},
			true,
			[]string{"agent_run.completed -1", "agent_run.actioned -1"},
		},
		"without actions there is nothing to decide": {nil, gateway.StopEndTurn, nil, false, []string{"agent_run.completed -1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello", tt.actions...), func(s *settings) { s.agent.Confirm = true }, func(r *rig) {
				r.answered(ada, "hi")
				run := r.run(gateway.RunCompleted, tt.stop, 1)
				equal(t, "actions", run.Actions, tt.want, cmpopts.IgnoreFields(gateway.Action{}, "Run", "Type", "Payload", "DecidedAt", "ExpiresAt"))
				if !run.Confirm {
					t.Error("the run does not say that its actions need confirmation")
				}
				if got := !run.ActionsDecided.IsZero(); got != tt.decided {
					t.Errorf("all decided: %v, want %v", got, tt.decided)
				}
				for _, a := range run.Actions {
					if a.Status == gateway.ActionPending && !a.ExpiresAt.Equal(r.start.Add(r.agent.ConfirmationTimeout)) {
						t.Errorf("action %d expires at %v", a.Index, a.ExpiresAt)
					}
				}
				r.tells(run.ID, tt.told...)
			})
		})
	}
}

func TestALongReplyGoesOutInParts(t *testing.T) {
	paragraph := strings.Repeat("Ein schöner Satz. ", 170) // 3060 characters
	text := paragraph + "\n\n" + paragraph + "\n\n" + paragraph
	inRig(t, says(text), nil, func(r *rig) {
		run := r.answered(ada, "tell me all")
		var parts []string
		for i, s := range got(r.db.Sends(r.Context(), run.Conversation))(t) {
			if s.Part != i || s.OriginID != string(run.ID) || s.Origin != gateway.FromRun {
				t.Errorf("send %d is part %d of %s %s", i, s.Part, s.Origin, s.OriginID)
			}
			parts = append(parts, s.Text)
		}
		p := strings.TrimSpace(paragraph)
		equal(t, "parts", parts, []string{p, p, p})
	})
}

func TestAnAgentKnowsWhatItSaidWithinTheLifeOfItsContext(t *testing.T) {
	inRig(t, says("The room is 204."), func(s *settings) { s.agent.ContextTTL = 10 * time.Minute }, func(r *rig) {
		r.answered(ada, "Which room?")
		r.answered(bob, "Anything about me?")
		r.at(5 * time.Minute)
		r.answered(ada, "And now?")
		var in prompt.Input
		must(t, json.Unmarshal(r.runs()[2].Input, &in))
		var recent []string
		for _, m := range in.RecentMessages {
			recent = append(recent, string(m.Role)+": "+m.Text)
		}
		equal(t, "recent messages", recent, []string{"user: Which room?", "assistant: The room is 204."})
		r.at(time.Hour)
		r.answered(ada, "Still there?")
		for i, knows := range []bool{false, false, true, false} {
			q := r.model.questions()[i]
			for _, words := range []string{"summary of The room is 204.", "Which room?"} {
				if has := strings.Contains(q, words); has != (knows || i == 0 && words == "Which room?") {
					t.Errorf("question %d holds %q: %v\n%s", i, words, has, q)
				}
			}
		}
	})
}

func TestAnAgentWithoutContextIsStateless(t *testing.T) {
	inRig(t, says("The room is 204."), func(s *settings) { s.agent.ContextTTL = 0 }, func(r *rig) {
		r.answered(ada, "Which room?")
		r.answered(ada, "And now?")
		if q := r.model.questions()[1]; strings.Contains(q, "The room is 204.") || strings.Contains(q, "Which room?") {
			t.Errorf("the model read:\n%s", q)
		}
	})
}

func TestARefusedSendLeavesNothingOfTheEndBehind(t *testing.T) {
	twice := finishing(func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error {
		if n == 1 {
			f.Sends = append(f.Sends, f.Sends[0]) // the outbox refuses a part that it has
		}
		return db.FinishRun(ctx, f)
	})
	inRig(t, says("hello", "hotel.towels.bring"), twice, func(r *rig) {
		run := r.answered(ada, "hi")
		r.run(gateway.RunFailed, gateway.StopCancelled, 1)
		r.says(run.Conversation)
		r.tells(run.ID)
		equal(t, "actions", r.runs()[0].Actions, nil)
	})
}

func TestConfigNamesWhatIsOutOfRange(t *testing.T) {
	good := dispatch.Config{Concurrency: 1, Timeout: time.Second, Lease: time.Second, MaxAttempts: 1}
	must(t, good.Validate())
	tests := map[string]struct {
		spoil func(*dispatch.Config)
		names string
	}{
		"no slots":    {func(c *dispatch.Config) { c.Concurrency = 0 }, "concurrency"},
		"no time":     {func(c *dispatch.Config) { c.Timeout = 0 }, "timeout"},
		"no lease":    {func(c *dispatch.Config) { c.Lease = -1 }, "lease"},
		"no attempts": {func(c *dispatch.Config) { c.MaxAttempts = 0 }, "attempts"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good
			tt.spoil(&c)
			if _, err := dispatch.New(dispatch.Parts{}, c, nil, nil); err == nil || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("New = %v, want an error that names %s", err, tt.names)
			}
		})
	}
}
