package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
	"wagent/gateway/store"
)

// A scribe is the model that summarises.
type scribe struct {
	err   error
	asked []string
}

func (s *scribe) Summarize(_ context.Context, _ string, p prompt.Prompt, _ int) (recall.Summarized, error) {
	s.asked = append(s.asked, p.Turns[0].Text)
	if s.err != nil {
		return recall.Summarized{}, s.err
	}
	return recall.Summarized{Text: fmt.Sprintf("SUMMARY %d", len(s.asked)), InputTokens: 1000, OutputTokens: 100}, nil
}

// summing gives the rig's agent a budget that leaves little room, and a scribe.
func summing(s *scribe, mode gateway.CompactionMode) func(*settings) {
	return func(x *settings) {
		x.agent.Compaction.Mode = mode
		x.agent.Compaction.MaxTokens = budget.Prompt(x.agent.Model, prompt.Render(prompt.Input{Agent: &x.agent})) + 900
		x.parts = func(p *dispatch.Parts) {
			p.Compactor = &recall.Compactor{Summaries: p.Runs.(*store.Store), Summarizer: s, Log: slog.New(slog.DiscardHandler)}
		}
	}
}

var tale = strings.Repeat("And then the lift stopped between two floors. ", 8)

func TestALongConversationIsSummedUpOnce(t *testing.T) {
	s := &scribe{}
	inRig(t, says("I see."), summing(s, gateway.CompactionSliding), func(r *rig) {
		n := 0
		for len(s.asked) == 0 && n < 30 {
			n++
			r.answered(ada, fmt.Sprintf("part %d: %s", n, tale))
			time.Sleep(time.Minute)
		}
		if n < 3 || n == 30 {
			t.Fatalf("summed up after %d messages", n)
		}
		run := r.runs()[n-1]
		if run.InputTokens != 1007 || run.OutputTokens != 105 || !slices.Equal(run.Notes, []string{"noted"}) {
			t.Errorf("the run counts %d and %d tokens, notes %q", run.InputTokens, run.OutputTokens, run.Notes)
		}
		if !strings.Contains(string(run.Input), `"earlier_summary":"SUMMARY 1"`) {
			t.Errorf("the run's input is %s", run.Input)
		}
		next := r.answered(ada, "And now?")
		if len(s.asked) != 1 || next.InputTokens != 7 {
			t.Errorf("%d summaries, %d tokens", len(s.asked), next.InputTokens)
		}
		asked := r.model.questions()
		read := asked[len(asked)-1]
		if !strings.Contains(read, "SUMMARY 1") || strings.Contains(read, "part 1:") || !strings.Contains(read, fmt.Sprintf("part %d:", n)) {
			t.Errorf("the next run read:\n%s", read)
		}
	})
}

// The summary's life is that of the context: it is renewed by each run that
// completes, to the second.
func TestASummaryLivesAsLongAsItsContext(t *testing.T) {
	s := &scribe{}
	inRig(t, says("I see."), summing(s, gateway.CompactionAll), func(r *rig) {
		var id gateway.ConversationID
		for len(s.asked) == 0 {
			id = r.answered(ada, tale).Conversation
		}
		for range 3 { // three lives on end
			time.Sleep(r.agent.ContextTTL - time.Second)
			r.answered(ada, "Still there?")
		}
		x := got(r.db.Summary(r.Context(), r.agent.ID, id))(t)
		if want := time.Now().Add(r.agent.ContextTTL); !x.ExpiresAt.Equal(want.UTC()) || len(s.asked) != 1 {
			t.Errorf("it lives until %v, want %v; %d summaries", x.ExpiresAt, want, len(s.asked))
		}
		time.Sleep(r.agent.ContextTTL)
		r.answered(ada, "Good morning")
		asked := r.model.questions()
		if strings.Contains(asked[len(asked)-1], "SUMMARY") {
			t.Error("it is read after its end")
		}
		_, err := r.db.Summary(r.Context(), r.agent.ID, id)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestAFailedSummaryIsNotedAndAnswered(t *testing.T) {
	s := &scribe{err: errors.New("busy")}
	inRig(t, says("I see."), summing(s, gateway.CompactionSliding), func(r *rig) {
		var run gateway.Run
		for range 10 {
			run = r.answered(ada, tale)
		}
		if len(s.asked) != 1 {
			t.Errorf("the model was asked for %d summaries, want one in some minutes", len(s.asked))
		}
		if run.Status != gateway.RunCompleted || len(run.Notes) != 3 || run.Notes[0] != "no summary was made: the model gave none within the last 5m0s" || !strings.HasPrefix(run.Notes[1], "left out to fit") || run.Notes[2] != "noted" {
			t.Errorf("the run is %s, notes %q", run.Status, run.Notes)
		}
	})
}

// Of a context that begins with this run, too, an interrupted attempt leaves the
// summary to the next one.
func TestAnAttemptLeavesItsSummaryToTheNext(t *testing.T) {
	s := &scribe{}
	const failing = 12 // runs, so that much was said and no context began
	n := 0
	answer := func(ctx context.Context, i int) (a agent.Answer, err error) {
		switch n++; {
		case n <= failing:
			return a, errOdd
		case n <= failing+2:
			<-ctx.Done()
			return a, ctx.Err()
		}
		return says("I see.")(ctx, i)
	}
	inRig(t, answer, both(summing(s, gateway.CompactionSliding), func(x *settings) { x.agent.FallbackReply = fallback }), func(r *rig) {
		for range failing {
			r.answered(ada, tale)
		}
		m, before := r.write(ada, "Hello?"), len(s.asked)
		for attempt := range 2 {
			ctx, stop := context.WithCancel(r.Context())
			done := r.begin(ctx, m.Conversation)
			stop()
			<-done
			if asked := len(s.asked) - before; asked != 1 {
				t.Errorf("after attempt %d: %d summaries", attempt+1, asked)
			}
			time.Sleep(time.Minute)
		}
		must(t, r.handle(r.Context(), m.Conversation))
		if asked := len(s.asked) - before; asked != 1 || !strings.Contains(r.lastRead(), "SUMMARY") {
			t.Errorf("%d summaries, and the agent read %s", asked, r.lastRead())
		}
	})
}

// A run that fails was given the summary, and another need not make it again;
// but a context that did not go on does not live on.
func TestARunThatFailsLeavesTheSummaryToTheNext(t *testing.T) {
	s := &scribe{}
	ok := says("I see.")
	answer := func(ctx context.Context, n int) (a agent.Answer, err error) {
		if len(s.asked) == 1 && n%2 == 0 {
			return a, errOdd
		}
		return ok(ctx, n)
	}
	inRig(t, answer, summing(s, gateway.CompactionSliding), func(r *rig) {
		for range 12 {
			r.answered(ada, tale)
			if len(s.asked) == 1 && r.runs()[len(r.runs())-1].Status == gateway.RunFailed {
				break
			}
		}
		last := r.runs()[len(r.runs())-1]
		if last.Status != gateway.RunFailed || len(s.asked) != 1 {
			t.Fatalf("the last run is %s, %d summaries", last.Status, len(s.asked))
		}
		if r.answered(ada, "Hello?"); len(s.asked) != 1 {
			t.Errorf("%d summaries were made", len(s.asked))
		}
	})
}

func TestWithoutCompactionOlderTurnsAreLeftOut(t *testing.T) {
	s := &scribe{}
	inRig(t, says("I see."), summing(s, gateway.CompactionOff), func(r *rig) {
		var run gateway.Run
		for range 12 {
			run = r.answered(ada, tale)
		}
		if len(s.asked) != 0 || len(run.Notes) != 2 || !strings.HasPrefix(run.Notes[0], "left out to fit") {
			t.Errorf("%d summaries, notes %q", len(s.asked), run.Notes)
		}
	})
}

// A run that fails is none that the context lives on.
func TestAFailedRunDoesNotProlongTheContext(t *testing.T) {
	goesOn := func(s *settings) { s.agent.FallbackReply = fallback } // without one a person has the conversation
	inRig(t, inTurn(says("First."), fails(errOdd), says("Third."), fails(errOdd), says("Fifth.")), goesOn, func(r *rig) {
		read := func(at time.Duration, remembered bool) {
			r.Helper()
			r.at(at)
			r.answered(ada, "Hello")
			asked := r.model.questions()
			if got := strings.Contains(asked[len(asked)-1], "summary of"); got != remembered {
				r.Errorf("after %v the last run is remembered: %v, want %v", at, got, remembered)
			}
		}
		ttl := r.agent.ContextTTL
		read(0, false)
		read(ttl/2, true)               // fails
		read(ttl-time.Second, true)     // completes
		read(2*ttl-2*time.Second, true) // fails
		read(2*ttl-time.Second, false)  // to the second
	})
}

// A person may have talked with the customer for longer than a run reads.
func TestWhatIsNotReadIsNoted(t *testing.T) {
	for said, want := range map[int][]string{
		300: {"noted"},
		301: {"not read: what was said before the last 300 messages and is in no summary", "noted"},
	} {
		s := &scribe{}
		inRig(t, says("I see."), func(x *settings) { summing(s, gateway.CompactionSliding)(x); x.agent.Compaction.MaxTokens = 100_000 }, func(r *rig) {
			who := gateway.Address{Phone: ada}
			var arrivals []gateway.Arrival
			for range said {
				r.ids++
				arrivals = append(arrivals, gateway.Arrival{State: gateway.StateHeld, ReceivedAt: time.Now(), Inbound: gateway.Inbound{
					Account: account, Peer: who, Sender: who, ExternalID: fmt.Sprint("wamid.", r.ids),
					Type: gateway.TypeText, Text: "Hello?", SentAt: time.Now(), Origin: gateway.OriginLive,
				}})
			}
			got(r.db.AddMessages(r.Context(), arrivals))(t)
			run := r.answered(ada, "And now?")
			if !slices.Equal(run.Notes, want) || len(s.asked) != len(want)-1 {
				t.Errorf("after %d messages, %d summaries, notes %q", said, len(s.asked), run.Notes)
			}
		})
	}
}
