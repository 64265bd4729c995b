package recall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/gateway"
)

// kept is SQL, as far as a Compactor sees it.
type kept struct {
	s       *gateway.ContextSummary
	puts    int
	err     error // of reading
	putErr  error
	dropped int
}

func (k *kept) Summary(context.Context, gateway.AgentID, gateway.ConversationID) (gateway.ContextSummary, error) {
	if k.err != nil {
		return gateway.ContextSummary{}, k.err
	}
	if k.s == nil || !k.s.ExpiresAt.After(time.Now()) {
		return gateway.ContextSummary{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no summary"}
	}
	return *k.s, nil
}

func (k *kept) PutSummary(_ context.Context, s *gateway.ContextSummary) error {
	k.puts++
	if k.putErr == nil {
		k.s = new(*s)
	}
	return k.putErr
}

func (k *kept) DropSummary(context.Context, gateway.AgentID, gateway.ConversationID) error {
	k.s = nil
	k.dropped++
	return nil
}

// scribe is a model that summarises. What it says, and how it fails, is the
// test's.
type scribe struct {
	says  string
	err   error
	asked []prompt.Prompt
	model string
}

func (s *scribe) Summarize(_ context.Context, model string, p prompt.Prompt, _ int) (Summarized, error) {
	s.asked = append(s.asked, p)
	s.model = model
	return Summarized{Text: s.says, InputTokens: 100, OutputTokens: 10}, s.err
}

const conversation = gateway.ConversationID("cnv_1")

// talkative is an agent whose budget leaves so many tokens to what is said.
func talkative(mode gateway.CompactionMode, room int) *gateway.Agent {
	a := gateway.DefaultAgent()
	a.ID, a.SystemPrompt, a.Model = agentA, "You are the concierge of a hotel.", "openai/gpt-4o-mini"
	a.Compaction = gateway.Compaction{Mode: mode}
	return withRoom(&a, room)
}

func withRoom(a *gateway.Agent, room int) *gateway.Agent {
	a.Compaction.MaxTokens = budget.Prompt(a.Model, prompt.Render(prompt.Input{Agent: a})) + room
	return a
}

// said is a conversation of so many messages, seqs from 1.
func said(n int, text string) []gateway.Message {
	var out []gateway.Message
	for i := range n {
		m := gateway.Message{Seq: int64(i + 1), Direction: gateway.In, Type: gateway.TypeText, Text: fmt.Sprintf("%d: %s", i+1, text)}
		if i%3 == 2 {
			m.Direction = gateway.Out
		}
		out = append(out, m)
	}
	return out
}

func newest(text string) prompt.Input {
	return prompt.Input{LastMessage: text, Messages: []prompt.Message{{Type: gateway.TypeText, Text: text}}}
}

type compactRig struct {
	*Compactor
	kept   *kept
	scribe *scribe
}

func newCompactRig() *compactRig {
	r := &compactRig{kept: &kept{}, scribe: &scribe{says: "They want a quiet room."}}
	r.Compactor = &Compactor{Summaries: r.kept, Summarizer: r.scribe, Log: slog.New(slog.DiscardHandler)}
	return r
}

func (r *compactRig) fit(t *testing.T, a *gateway.Agent, in prompt.Input, earlier []gateway.Message) Fitted {
	t.Helper()
	in.Agent = a
	f, err := r.Fit(t.Context(), Overlong{Input: in, Conversation: conversation, Earlier: earlier})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// texts are the recent turns that were kept.
func texts(f *Fitted) (out []string) {
	for _, r := range f.Input.RecentMessages {
		n, _, _ := strings.Cut(r.Text, ":")
		out = append(out, n)
	}
	return out
}

const line = "Is breakfast served until eleven on Sundays, and may we bring the dog?"

func TestWhatFitsStaysAsItIs(t *testing.T) {
	for _, mode := range []gateway.CompactionMode{"", gateway.CompactionOff, gateway.CompactionSliding, gateway.CompactionAll} {
		r := newCompactRig()
		f := r.fit(t, talkative(mode, 20_000), newest("Hello?"), said(30, line))
		if len(texts(&f)) != 30 || f.Notes != nil || len(r.scribe.asked) != 0 || f.Summary != nil {
			t.Errorf("%q: %d turns, notes %q, %d summaries", mode, len(texts(&f)), f.Notes, len(r.scribe.asked))
		}
	}
}

func TestCompactionModes(t *testing.T) {
	tests := map[string]struct {
		mode      gateway.CompactionMode
		least     int // turns that stay
		most      int
		summaries int
	}{
		"off leaves older turns out":                           {gateway.CompactionOff, 25, 35, 0},
		"sliding keeps the newer and sums the older ones up":   {gateway.CompactionSliding, 13, 25, 1},
		"all sums everything up":                               {gateway.CompactionAll, 0, 0, 1},
		"an agent of before there were modes leaves turns out": {"", 25, 35, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newCompactRig()
			f := r.fit(t, talkative(tt.mode, 1200), newest("Hello?"), said(40, line))
			stay := len(texts(&f))
			if stay < tt.least || stay > tt.most || len(r.scribe.asked) != tt.summaries || r.kept.puts != tt.summaries {
				t.Errorf("%d turns stay, %d summaries, %d kept; want %d to %d, %d, %d", stay, len(r.scribe.asked), r.kept.puts, tt.least, tt.most, tt.summaries, tt.summaries)
			}
			limit := f.Input.Agent.Compaction.MaxTokens
			if n := budget.Prompt(f.Input.Agent.Model, prompt.Render(f.Input)); n > limit {
				t.Errorf("the prompt has %d tokens of %d", n, limit)
			}
			if tt.summaries == 0 {
				if len(f.Notes) != 1 || !strings.HasPrefix(f.Notes[0], fmt.Sprintf("left out to fit into %d tokens: older messages (%d)", limit, 40-stay)) {
					t.Errorf("notes %q", f.Notes)
				}
				return
			}
			if f.Notes != nil || f.InputTokens != 100 || f.OutputTokens != 10 || f.Input.EarlierSummary != r.scribe.says {
				t.Errorf("notes %q, %d and %d tokens, summary %q", f.Notes, f.InputTokens, f.OutputTokens, f.Input.EarlierSummary)
			}
			if until := int64(40 - stay); f.Summary == nil || f.Summary.Until != until || r.kept.s.Until != until {
				t.Errorf("the summary is %+v, want one up to %d", f.Summary, until)
			}
		})
	}
}

// A model may read far more than we read of a conversation at once.
func TestMoreThanWasReadMakesASummaryDue(t *testing.T) {
	r := newCompactRig()
	in := newest("Hello?")
	in.Agent = talkative(gateway.CompactionSliding, 100_000)
	const unread = "not read: what was said before the last 100 messages and is in no summary"
	for i, tt := range []struct {
		said, stay, summaries int
		notes                 []string
	}{
		{110, 70, 1, []string{unread}},
		{110, 70, 1, nil},              // the summary stands for what is missing
		{140, 100, 1, nil},             // up to what is read again
		{141, 70, 2, []string{unread}}, // and one message goes by
		{141, 70, 2, nil},
	} {
		all := said(tt.said, line)
		n := tt.said - 100
		f, err := r.Fit(t.Context(), Overlong{Input: in, Conversation: conversation, Earlier: all[n:], Before: all[n-1].Seq})
		if diff := cmp.Diff(tt.notes, f.Notes); err != nil || len(texts(&f)) != tt.stay || len(r.scribe.asked) != tt.summaries || diff != "" {
			t.Errorf("run %d: %d turns stay, %d summaries, %v, notes (-want +got):\n%s", i, len(texts(&f)), len(r.scribe.asked), err, diff)
		}
	}
}

// A long conversation costs a summary per overflow, not per run.
func TestTheNextRunsUseTheSummaryAndExtendIt(t *testing.T) {
	r := newCompactRig()
	a := talkative(gateway.CompactionSliding, 1200)
	r.fit(t, a, newest("Hello?"), said(40, line))
	until := r.kept.s.Until
	for n := 41; n <= 46; n++ {
		f := r.fit(t, a, newest("Hello?"), said(n, line))
		if len(r.scribe.asked) != 1 || f.InputTokens != 0 || f.Input.EarlierSummary != "They want a quiet room." || texts(&f)[0] != fmt.Sprint(until+1) {
			t.Fatalf("with %d messages: %d summaries were made, turns begin with %v", n, len(r.scribe.asked), texts(&f))
		}
		if f.Summary == nil || f.Summary.Until != until {
			t.Errorf("what is to live on is %+v", f.Summary)
		}
	}
	r.scribe.says = "They want a quiet room, and to bring the dog."
	for n := 47; len(r.scribe.asked) == 1 && n < 100; n++ {
		r.fit(t, a, newest("Hello?"), said(n, line))
	}
	second := r.scribe.asked[1].Turns[0].Text
	if !strings.Contains(second, "They want a quiet room.") || !strings.Contains(second, fmt.Sprintf("\n%d: ", until+1)) || strings.Contains(second, fmt.Sprintf("\n%d: ", until)) {
		t.Errorf("the second summary was made of:\n%s", second)
	}
	if r.kept.s.Text != r.scribe.says || r.kept.s.Until <= until {
		t.Errorf("kept is %+v", r.kept.s)
	}
}

func TestASummaryGoesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCompactRig()
		a := talkative(gateway.CompactionSliding, 1200)
		r.fit(t, a, newest("Hello?"), said(40, line))
		if want := time.Now().Add(a.ContextTTL); !r.kept.s.ExpiresAt.Equal(want) {
			t.Errorf("it lives until %v, want %v", r.kept.s.ExpiresAt, want)
		}
		time.Sleep(a.ContextTTL - time.Second)
		if f := r.fit(t, a, newest("Hello?"), said(40, line)[38:]); f.Input.EarlierSummary == "" {
			t.Error("a second before its end it is not read")
		}
		time.Sleep(time.Second)
		if f := r.fit(t, a, newest("Hello?"), said(40, line)[38:]); f.Input.EarlierSummary != "" || len(texts(&f)) != 2 {
			t.Errorf("at its end it is read: %q", f.Input.EarlierSummary)
		}
		// And a summary that would live on goes with a context that ended.
		r.kept.s.ExpiresAt = time.Now().Add(time.Hour)
		in := newest("Hello?")
		in.Agent = a
		f, err := r.Fit(t.Context(), Overlong{Input: in, Conversation: conversation, Over: true})
		if err != nil || f.Input.EarlierSummary != "" || r.kept.s != nil {
			t.Errorf("after its context the summary is %q, %v", f.Input.EarlierSummary, err)
		}
	})
}

func TestWhatOtherwiseBecomesOfSummaries(t *testing.T) {
	tests := map[string]struct {
		change func(*compactRig, *gateway.Agent)
		note   string
		asked  int
	}{
		"a model that fails leaves turns out":    {func(r *compactRig, _ *gateway.Agent) { r.scribe.err = errors.New("busy") }, "no summary was made: the model gave none", 1},
		"so does one that says nothing":          {func(r *compactRig, _ *gateway.Agent) { r.scribe.says = " \n" }, "no summary was made: the model gave none", 1},
		"a stateless agent makes none":           {func(_ *compactRig, a *gateway.Agent) { a.ContextTTL = 0 }, "", 0},
		"one that can not be kept is used":       {func(r *compactRig, _ *gateway.Agent) { r.kept.putErr = errors.New("away") }, "-", 1},
		"one that is too long loses its head":    {func(r *compactRig, _ *gateway.Agent) { r.scribe.says = strings.Repeat("word ", 5000) + "end" }, "-", 1},
		"where nobody summarises turns are left": {func(r *compactRig, _ *gateway.Agent) { r.Summarizer = nil }, "", 0},
		"the model that the agent names is used": {func(_ *compactRig, a *gateway.Agent) { a.Compaction.Model = "groq/llama-3.1-8b-instant" }, "-", 1},
		"so is one that reads little":            {func(_ *compactRig, a *gateway.Agent) { a.Compaction.Model = "ollama/llama3" }, "-", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newCompactRig()
			a := talkative(gateway.CompactionSliding, 1200)
			tt.change(r, a)
			f := r.fit(t, a, newest("Hello?"), said(40, line))
			if n := budget.Prompt(a.Model, prompt.Render(f.Input)); n > a.Compaction.MaxTokens {
				t.Errorf("the prompt has %d tokens", n)
			}
			if len(r.scribe.asked) != tt.asked {
				t.Errorf("the model was asked %d times, want %d", len(r.scribe.asked), tt.asked)
			}
			if tt.asked > 0 && f.InputTokens != 100 {
				t.Errorf("%d tokens are counted", f.InputTokens)
			}
			if a.Compaction.Model != "" && tt.asked > 0 && r.scribe.model != a.Compaction.Model {
				t.Errorf("%s was asked", r.scribe.model)
			}
			switch tt.note {
			case "-":
				if f.Notes != nil || !strings.HasSuffix(r.scribe.says, f.Input.EarlierSummary) || f.Input.EarlierSummary == "" {
					t.Errorf("notes %q, summary %q", f.Notes, f.Input.EarlierSummary)
				}
			default:
				if f.Input.EarlierSummary != "" || f.Summary != nil || !strings.HasPrefix(strings.Join(f.Notes, "; "), tt.note) || !strings.Contains(strings.Join(f.Notes, "; "), "older messages (") {
					t.Errorf("notes %q, want %q first; summary %q", f.Notes, tt.note, f.Input.EarlierSummary)
				}
			}
		})
	}
}

// A model that reads less than there is to be summed up does so in steps, of which each
// goes on from the one before, over as many runs as it takes.
func TestWhatASummariserCanNotReadAtOnce(t *testing.T) {
	tests := map[string]struct {
		turns int
		text  string
		most  int // tokens of the agent
		asked int // in the first run
		rest  bool
	}{
		"many turns":                     {200, line, 2000, 4, false},
		"more than a run may ask for":    {40, strings.Repeat(line, 60), 20_000, mostRounds, true},
		"turns that are alone too much":  {40, strings.Repeat(line, 300), 30_000, mostRounds, true},
		"one turn that is alone so much": {1, strings.Repeat(line, 300), 3000, 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newCompactRig()
			a := talkative(gateway.CompactionAll, tt.most)
			a.Compaction.Model = "ollama/small"
			earlier := said(tt.turns, tt.text)
			var until int64
			for run := range 20 {
				before := len(r.scribe.asked)
				f := r.fit(t, a, newest("Hello?"), earlier)
				for i, p := range r.scribe.asked[before:] {
					if n, most := budget.Prompt(a.Compaction.Model, p), budget.Of(&gateway.Agent{Model: a.Compaction.Model, MaxTokens: min(tt.most/8, maxSummary)}); n > most {
						t.Errorf("run %d, request %d: %d tokens of %d", run, i, n, most)
					}
					if knows := strings.Contains(p.Turns[0].Text, r.scribe.says); knows != (before+i > 0) {
						t.Errorf("run %d, request %d knows the summary before it: %t", run, i, knows)
					}
				}
				asked := len(r.scribe.asked) - before
				if run == 0 && asked != tt.asked || asked > mostRounds {
					t.Errorf("run %d: asked %d times, want %d", run, asked, tt.asked)
				}
				if f.Summary == nil || f.Summary.Until <= until && asked > 0 || f.InputTokens != 100*asked {
					t.Fatalf("run %d: the summary is %+v after %d requests, %d tokens", run, f.Summary, asked, f.InputTokens)
				}
				until = f.Summary.Until
				left := strings.Contains(strings.Join(f.Notes, "\n"), "older messages (")
				if left && !tt.rest || run == 0 && !left && tt.rest {
					t.Errorf("run %d: notes %q", run, f.Notes)
				}
				if asked == 0 {
					break
				}
			}
			read := ""
			for _, p := range r.scribe.asked {
				read += p.Turns[0].Text
			}
			for i := range earlier {
				end := earlier[i].Text
				if len(end) > 2000 {
					end = end[len(end)-2000:]
				}
				if earlier[i].Seq <= until && !strings.Contains(read, end) {
					t.Errorf("turn %d was never read", i)
				}
			}
		})
	}
}

// What the first steps made is kept where a later one fails, and where the run ends.
func TestAStepThatFailsLosesNoneBeforeIt(t *testing.T) {
	for name, interrupted := range map[string]bool{"the model gives no more": false, "the run is called back": true} {
		t.Run(name, func(t *testing.T) {
			r := newCompactRig()
			ctx, cancel := context.WithCancel(t.Context())
			r.Summarizer = &faltering{scribe: r.scribe, good: 2, then: func() {
				if interrupted {
					cancel()
				}
			}}
			a := talkative(gateway.CompactionAll, 20_000)
			a.Compaction.Model = "ollama/small"
			in := newest("Hello?")
			in.Agent = a
			f, err := r.Fit(ctx, Overlong{Input: in, Conversation: conversation, Earlier: said(40, strings.Repeat(line, 60))})
			if (err != nil) != interrupted {
				t.Errorf("Fit = %v", err)
			}
			if r.kept.s == nil || r.kept.s.Until == 0 || r.kept.puts != 2 {
				t.Fatalf("kept is %+v, after %d times", r.kept.s, r.kept.puts)
			}
			if !interrupted && (f.Summary == nil || f.Summary.Until != r.kept.s.Until || f.Input.EarlierSummary == "" ||
				len(f.Notes) != 2 || f.Notes[0] != "not everything was summed up: the model gave no more") {
				t.Errorf("the summary is %+v, notes %q", f.Summary, f.Notes)
			}
		})
	}
}

// A faltering scribe fails after so many good summaries.
type faltering struct {
	*scribe
	good int
	then func()
}

func (f *faltering) Summarize(ctx context.Context, model string, p prompt.Prompt, most int) (Summarized, error) {
	if f.good--; f.good < 0 {
		f.then()
		return Summarized{}, errors.New("busy")
	}
	return f.scribe.Summarize(ctx, model, p, most)
}

// A model that gives none is paid for that once in some minutes, not by each run.
func TestAFailedSummaryIsNotTriedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCompactRig()
		a := talkative(gateway.CompactionSliding, 1200)
		try := func(asked int, note string) {
			t.Helper()
			f := r.fit(t, a, newest("Hello?"), said(40, line))
			if len(r.scribe.asked) != asked || len(f.Notes) == 0 || f.Notes[0] != note || f.InputTokens > 0 == (note == "no summary was made: the model gave none within the last 5m0s") {
				t.Errorf("after %d requests, notes %q, %d tokens; want %d and %q", len(r.scribe.asked), f.Notes, f.InputTokens, asked, note)
			}
		}
		r.scribe.says = ""
		try(1, "no summary was made: the model gave none")
		time.Sleep(5*time.Minute - time.Second)
		try(1, "no summary was made: the model gave none within the last 5m0s")
		in := newest("Hello?")
		in.Agent = a
		if _, err := r.Fit(t.Context(), Overlong{Input: in, Conversation: "cnv_2", Earlier: said(40, line)}); err != nil || len(r.scribe.asked) != 2 {
			t.Errorf("another conversation: %d requests, %v", len(r.scribe.asked), err)
		}
		time.Sleep(time.Second)
		try(3, "no summary was made: the model gave none")
		time.Sleep(5 * time.Minute)
		r.scribe.says = "They want a quiet room."
		if f := r.fit(t, a, newest("Hello?"), said(40, line)); f.Input.EarlierSummary == "" || f.Notes != nil {
			t.Errorf("notes %q", f.Notes)
		}
	})
}

func TestFitTellsOfADatabaseThatIsAway(t *testing.T) {
	r := newCompactRig()
	r.kept.err = &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
	in := newest("Hello?")
	in.Agent = talkative(gateway.CompactionAll, 1200)
	_, err := r.Fit(t.Context(), Overlong{Input: in, Conversation: conversation})
	if gateway.KindOf(err) != gateway.Unavailable {
		t.Errorf("the error is %v", err)
	}
}

func TestARunThatIsCalledBackMakesNoSummary(t *testing.T) {
	r := newCompactRig()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := newest("Hello?")
	in.Agent = talkative(gateway.CompactionAll, 1200)
	if _, err := r.Fit(ctx, Overlong{Input: in, Conversation: conversation, Earlier: said(40, line)}); !errors.Is(err, context.Canceled) || r.kept.puts != 0 {
		t.Errorf("the error is %v, %d summaries were kept", err, r.kept.puts)
	}
}

// The order in which things go, until nothing but the newest message is left.
func TestTheNewestMessageStaysWhateverGoes(t *testing.T) {
	long := strings.Repeat(line+" ", 200)
	in := newest(long + "Room 204.")
	in.Messages = append([]prompt.Message{{Text: long}, {Text: long}}, in.Messages...)
	in.ContextSummary, in.LastAgentOutput = long, &prompt.LastOutput{Intent: "greet"}
	in.ActionResults = []prompt.ActionResult{{Type: "a.b.c", Result: json.RawMessage(`"` + long + `"`)}, {Type: "a.b.d", Result: json.RawMessage(`1`)}}
	a := talkative(gateway.CompactionOff, 500)
	f := newCompactRig().fit(t, a, in, said(4, line))
	limit := a.Compaction.MaxTokens
	want := []string{"left out to fit into " + fmt.Sprint(limit) + " tokens: older messages (4), what came of actions (2), the last answer, the context summary, messages of the batch (2), the beginning of the newest message"}
	if diff := cmp.Diff(want, f.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if got := f.Input.Messages; len(got) != 1 || !strings.HasPrefix(got[0].Text, cut) || !strings.HasSuffix(got[0].Text, "Room 204.") {
		t.Errorf("what is left is %q", got)
	}
	if f.Input.LastMessage != f.Input.Messages[0].Text {
		t.Errorf("the run's record has %q", f.Input.LastMessage)
	}
	if n := budget.Prompt(f.Input.Agent.Model, prompt.Render(f.Input)); n > limit || n < limit-100 {
		t.Errorf("the prompt has %d tokens, of %d", n, limit)
	}
	if len(in.Messages) != 3 || in.Messages[2].Text != long+"Room 204." {
		t.Error("the caller's messages were changed")
	}
}

func TestTheLastMessageOfAnAPIRunIsCutToo(t *testing.T) {
	in := prompt.Input{LastMessage: strings.Repeat(line, 200) + "Room 204."}
	f := newCompactRig().fit(t, talkative(gateway.CompactionAll, 500), in, nil)
	if got := f.Input.LastMessage; !strings.HasPrefix(got, cut) || !strings.HasSuffix(got, "Room 204.") {
		t.Errorf("what is left is %q", got)
	}
}

func TestAnAgentsOwnPromptMayLeaveNoRoom(t *testing.T) {
	a := talkative(gateway.CompactionOff, 500)
	a.SystemPrompt = strings.Repeat(line, 100)
	f := newCompactRig().fit(t, a, newest(strings.Repeat(line, 100)+"Room 204."), nil)
	got := f.Input.Messages[0].Text
	if n := budget.Count(a.Model, got); !strings.HasSuffix(got, "Room 204.") || n > leastNewest+budget.Count(a.Model, cut) {
		t.Errorf("what is left is %q, %d tokens", got, n)
	}
}

// words of four languages, three scripts.
var words = [][]string{
	strings.Fields("please could you tell me whether breakfast is served until eleven on Sundays and how we find the parking garage"),
	strings.Fields("bitte könnten Sie mir sagen, ob es sonntags bis elf Uhr Frühstück gibt und wo die Tiefgarage für Gäste ist"),
	strings.Fields("请 告诉 我 星期天 早餐 是否 供应 到 十一点 停车场 在 哪里 谢谢 房间 号码 二零四"),
	strings.Fields("من فضلك هل يمكنك إخباري ما إذا كان الإفطار يقدم حتى الحادية عشرة يوم الأحد وأين موقف السيارات"),
}

func speech(rng *rand.Rand, most int) string {
	var out []string
	lang := words[rng.IntN(len(words))]
	for range 1 + rng.IntN(most) {
		out = append(out, lang[rng.IntN(len(lang))])
	}
	return strings.Join(out, " ")
}

// Whatever is said, the prompt has no more tokens than the budget, the newest
// message ends it, and the recent turns are the end of what was said.
func TestNoConversationExceedsTheBudget(t *testing.T) {
	modes := []gateway.CompactionMode{gateway.CompactionOff, gateway.CompactionSliding, gateway.CompactionAll}
	models := []string{"openai/gpt-4o-mini", "openai/gpt-4", "anthropic/claude-sonnet-4-5"}
	summarised := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		r := newCompactRig()
		a := talkative(modes[rng.IntN(len(modes))], 1400+rng.IntN(1200))
		a.Model = models[rng.IntN(len(models))]
		var all []gateway.Message
		for round := range 4 {
			for range rng.IntN(25) {
				m := said(1, speech(rng, 80))[0]
				m.Seq = int64(len(all) + 1)
				all = append(all, m)
			}
			last := speech(rng, 1+rng.IntN(1200))
			in := newest(last)
			if rng.IntN(2) == 0 {
				in.ContextSummary = speech(rng, 100)
			}
			r.scribe.says, r.scribe.err = speech(rng, 400), nil
			if rng.IntN(5) == 0 {
				r.scribe.err = errors.New("busy")
			}
			f := r.fit(t, a, in, all)
			p := prompt.Render(f.Input)
			if n := budget.Prompt(a.Model, p); n > a.Compaction.MaxTokens {
				t.Errorf("seed %d, round %d: %d tokens of %d (%s, %s)", seed, round, n, a.Compaction.MaxTokens, a.Compaction.Mode, a.Model)
			}
			shown := strings.TrimPrefix(f.Input.Messages[0].Text, cut)
			if shown == "" || !strings.HasSuffix(last, shown) || !strings.Contains(p.Turns[len(p.Turns)-1].Text, shown) {
				t.Errorf("seed %d, round %d: of the newest message %q is left", seed, round, shown)
			}
			for i, rec := range f.Input.RecentMessages {
				if want := all[len(all)-len(f.Input.RecentMessages)+i].Text; rec.Text != want {
					t.Fatalf("seed %d, round %d: turn %d is %q, want %q", seed, round, i, rec.Text, want)
				}
			}
			summarised += len(r.scribe.asked)
		}
	}
	if summarised < 20 {
		t.Errorf("only %d summaries were made: the test says little of them", summarised)
	}
}
