package dispatch_test

import (
	"testing"
	"time"

	"wagent/gateway"
)

func TestRunsAnHourInOneConversation(t *testing.T) {
	two := func(s *settings) { s.agent.Spend.RunsPerHour, s.agent.FallbackReply = 2, fallback }
	inRig(t, says("hello"), two, func(r *rig) {
		first := r.answered(ada, "one") // at 0
		r.at(20 * time.Minute)
		r.answered(ada, "two")
		r.at(40 * time.Minute)
		third := r.answered(ada, "three")
		equal(t, "status", third.Status, gateway.RunFailed)
		equal(t, "stop reason", third.StopReason, gateway.StopSpent)
		equal(t, "error", third.Error, "the agent's limit of 2 runs an hour in one conversation is reached")
		equal(t, "questions", len(r.model.questions()), 2)
		equal(t, "what leaves", r.leaves(), []string{"hello", "hello", fallback})
		p, err := r.db.ActivePause(r.Context(), first.Conversation)
		must(t, err)
		equal(t, "why a person has it now", p.Reason, gateway.PauseFailed)
		r.counts("wagent_spend_limits_reached_total", map[string]float64{"runs_per_conversation_hour": 1})

		equal(t, "somebody else's run", r.answered(bob, "me too").Status, gateway.RunCompleted)
		r.at(time.Hour)
		equal(t, "an hour after the first, to the moment", r.ask(ada, first.Conversation).StopReason, gateway.StopSpent)
		r.at(time.Hour + time.Millisecond)
		equal(t, "a moment later", r.ask(ada, first.Conversation).Status, gateway.RunCompleted)
	})
}

// leaves sends what the outbox lets go, and returns it.
func (r *rig) leaves() (texts []string) {
	r.Helper()
	for {
		claimed, settled, _, err := r.db.ClaimSends(r.Context(), "", true, 9)
		must(r.T, err)
		for _, x := range settled {
			r.Errorf("%q is %s: %s", x.Text, x.State, x.Error)
		}
		if len(claimed) == 0 {
			return texts
		}
		for _, c := range claimed {
			c.Send.State = gateway.SendAccepted
			got(r.db.SettleSend(r.Context(), &c.Send))(r.T)
			texts = append(texts, c.Send.Text)
		}
	}
}

// ask resumes the conversation, if a person has it, and writes to it.
func (r *rig) ask(phone string, id gateway.ConversationID) gateway.Run {
	r.Helper()
	p, err := r.db.ActivePause(r.Context(), id)
	if err == nil {
		_, err = r.db.ResumePause(r.Context(), account, p.ID)
	}
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		r.Fatal(err)
	}
	return r.answered(phone, "again")
}

func TestTokensADay(t *testing.T) {
	// A run reads and writes 12 tokens. The bubble begins at midnight UTC.
	thirty := func(s *settings) { s.agent.Spend.TokensPerDay = 30 }
	inRig(t, says("hello"), thirty, func(r *rig) {
		for range 3 { // the third begins below the limit
			equal(t, "status", r.answered(ada, "hi").Status, gateway.RunCompleted)
			time.Sleep(time.Minute)
		}
		spent := r.answered(bob, "hi") // whoever it is
		equal(t, "stop reason", spent.StopReason, gateway.StopSpent)
		equal(t, "error", spent.Error, "the agent's limit of 30 tokens a day is reached")
		r.counts("wagent_spend_limits_reached_total", map[string]float64{"tokens_per_day": 1})
		r.at(24*time.Hour - time.Millisecond)
		equal(t, "before midnight", r.ask(bob, spent.Conversation).StopReason, gateway.StopSpent)
		r.at(24 * time.Hour)
		equal(t, "at midnight", r.ask(bob, spent.Conversation).Status, gateway.RunCompleted)
	})
}

func TestADayBeginsAtMidnightOfTheAccount(t *testing.T) {
	ten := func(s *settings) { s.agent.Spend.TokensPerDay = 10 }
	inRig(t, says("hello"), ten, func(r *rig) {
		tokyo := gateway.Account{ID: account, Kind: gateway.Sandbox, TimeZone: "Asia/Tokyo"} // it is nine in the morning there
		must(t, r.db.Declare(r.Context(), []gateway.Account{tokyo}, []gateway.Agent{r.agent}, nil, nil))
		r.answered(ada, "hi")
		r.at(15*time.Hour - time.Millisecond)
		spent := r.answered(ada, "hi")
		equal(t, "before midnight", spent.StopReason, gateway.StopSpent)
		r.at(15 * time.Hour)
		equal(t, "at midnight", r.ask(ada, spent.Conversation).Status, gateway.RunCompleted)
	})
}

func TestNoLimitAsksNobody(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		for range 5 {
			equal(t, "status", r.answered(ada, "hi").Status, gateway.RunCompleted)
		}
		r.counts("wagent_spend_limits_reached_total", map[string]float64{})
	})
}
