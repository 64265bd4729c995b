package scripted

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

func mustNew(t *testing.T, src string) *Model {
	t.Helper()
	m, err := New([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ask puts one text before the model and returns its output.
func ask(t *testing.T, m *Model, system, text string) gateway.Output {
	t.Helper()
	resp, err := m.Generate(t.Context(), llm.Request{System: system, Turns: []transcript.Turn{{Role: transcript.User, Text: text}}})
	if err != nil {
		t.Fatal(err)
	}
	var out gateway.Output
	if err := json.Unmarshal([]byte(resp.Text), &out); err != nil {
		t.Fatalf("%v in %s", err, resp.Text)
	}
	return out
}

func TestRulesAnswerInOrder(t *testing.T) {
	m := mustNew(t, `
rules:
  - match: 'room (\d+) for (?P<who>\w+)'
    output:
      intent: a
      confidence: 1
      actions: [{type: x.y.z, payload: {room: "$1", list: ["$who", 7, true], deep: {who: "${who}"}}}]
      suggested_reply: 'Room $1, $$5, $unknown.'
  - match: room
    system_match: 'secret is (\w+) (?P<word>\w+)'
    output: {intent: b, confidence: 0.5, suggested_reply: "$word, not [$1]"}
  - match: room
    output: {intent: c, confidence: 0}
default:
  output: {intent: d, confidence: 0.5, context_summary: "said: $text"}
`)
	tests := map[string]struct {
		system, text string
		want         gateway.Output
	}{
		"groups fill every string": {
			text: "ROOM 12 for Ann",
			want: gateway.Output{Intent: "a", Confidence: 1, SuggestedReply: "Room 12, $5, .", Actions: []gateway.OutputAction{
				{Type: "x.y.z", Payload: map[string]any{"room": "12", "list": []any{"Ann", 7.0, true}, "deep": map[string]any{"who": "Ann"}}},
			}},
		},
		"the system prompt must match too":    {system: "The SECRET is red blue", text: "a room", want: gateway.Output{Intent: "b", Confidence: 0.5, SuggestedReply: "blue, not []"}},
		"or the next rule has its turn":       {system: "no", text: "a room", want: gateway.Output{Intent: "c"}},
		"what nothing matches is the default": {text: "a\n  house", want: gateway.Output{Intent: "d", Confidence: 0.5, ContextSummary: "said: a house"}},
		"a customer's dollars are not ours":   {text: "$1 ${who} $text", want: gateway.Output{Intent: "d", Confidence: 0.5, ContextSummary: "said: $1 ${who} $text"}},
		"quotes do not break out of JSON":     {text: `"},{"x`, want: gateway.Output{Intent: "d", Confidence: 0.5, ContextSummary: `said: "},{"x`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.want.Actions == nil {
				tt.want.Actions = []gateway.OutputAction{}
			}
			if diff := cmp.Diff(tt.want, ask(t, m, tt.system, tt.text)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailuresOnPurpose(t *testing.T) {
	for name, want := range map[string]struct {
		kind gateway.Kind
		text string
	}{
		"rate_limited":   {kind: gateway.RateLimited},
		"unavailable":    {kind: gateway.Unavailable},
		"garbage":        {text: "I had rather"},
		"invalid_schema": {text: `"intent": 7`},
	} {
		t.Run(name, func(t *testing.T) {
			m := mustNew(t, "default: {error: "+name+"}")
			resp, err := m.Generate(t.Context(), llm.Request{})
			if gateway.KindOf(err) != want.kind || !strings.Contains(resp.Text, want.text) {
				t.Errorf("%q, %v", resp.Text, err)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustNew(t, "default: {delay: 2s, output: {intent: x, confidence: 1}}")
		start := time.Now()
		resp, err := m.Generate(t.Context(), llm.Request{})
		if err != nil || time.Since(start) != 2*time.Second || resp.Latency != 2*time.Second {
			t.Errorf("%v after %v, latency %v", err, time.Since(start), resp.Latency)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = m.Generate(ctx, llm.Request{}); gateway.KindOf(err) != gateway.Unavailable || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestARepairTurnIsLookedPast(t *testing.T) {
	m := mustNew(t, `
rules: [{match: bad, error: garbage}]
default: {output: {intent: x, confidence: 1}}
`)
	turns := []transcript.Turn{{Role: transcript.User, Text: "bad"}, {Role: transcript.Assistant, Text: "?"}, {Role: transcript.User, Text: "mend it"}}
	for repair, want := range map[bool]string{true: "I had", false: "{"} {
		resp, err := m.Generate(t.Context(), llm.Request{Turns: turns, Repair: repair})
		if err != nil || !strings.HasPrefix(resp.Text, want) {
			t.Errorf("repair %v: %q, %v", repair, resp.Text, err)
		}
	}
}

func TestFaultsNameTheirLine(t *testing.T) {
	const ok = "\ndefault: {output: {intent: x, confidence: 1}}\n"
	tests := map[string]struct{ src, want string }{
		"nothing":              {"", "line 1: it is empty"},
		"broken YAML":          {"rules: [", "line 1"},
		"a list":               {"- a", "line 1"},
		"an unknown key":       {"rules:\n  - match: a\n    outptu: {}" + ok, "line 3: field outptu not found"},
		"an unknown field":     {"rules:\n  - match: a\n    output: {intent: a, confidenze: 1}" + ok, "line 3: field confidenze not found"},
		"a bad pattern":        {"rules:\n  - match: 'a('" + ok, "line 2: error parsing regexp"},
		"an empty pattern":     {"rules:\n  - match: ''" + ok, "line 2: a pattern must be"},
		"a bad delay":          {"rules:\n  - match: a\n    delay: soon" + ok, "line 3: delay must be"},
		"a negative delay":     {"rules:\n  - match: a\n    delay: -1s" + ok, "line 3: delay must be"},
		"an unknown error":     {"rules:\n  - match: a\n    error: boom" + ok, "line 3: error must be"},
		"no match":             {"rules:\n  - output: {intent: a, confidence: 1}" + ok, "line 2: a rule needs match"},
		"neither":              {"rules:\n  - match: b\n    error: garbage\n  - match: a" + ok, "line 4: either output or error"},
		"both":                 {"rules:\n  - match: a\n    error: garbage\n    output: {intent: a, confidence: 1}" + ok, "line 2: either output or error"},
		"no intent":            {"rules:\n  - match: a\n    output: {confidence: 1}" + ok, "line 2: output.intent is missing"},
		"too sure":             {"rules:\n  - match: a\n    output: {intent: a, confidence: 1.1}" + ok, "line 2: output.confidence"},
		"sure of nothing":      {"rules:\n  - match: a\n    output: {intent: a, confidence: .nan}" + ok, "line 2: output.confidence"},
		"a bad action":         {"rules:\n  - match: a\n    output: {intent: a, confidence: 1, actions: [{type: a.b}]}" + ok, "line 2: output.actions[0].type"},
		"a payload of no JSON": {"rules:\n  - match: a\n    output: {intent: a, confidence: 1, actions: [{type: a.b.c, payload: {x: {1: 2}}}]}" + ok, "line 2: output.actions[0].payload"},
		"no default":           {"rules: []", "line 1: a default is missing"},
		"a choosy default":     {"rules: []\ndefault: {match: a, error: garbage}", "line 2: the default answers"},
		"a bad default":        {"rules: []\ndefault: {}", "line 2: default: either"},
		"two documents":        {ok + "---\na: b", "one YAML document"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New([]byte(tt.src))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), "\n") > 1 {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestDefaultScript has a conversation with the built-in script over the
// prompts of the real program.
func TestDefaultScript(t *testing.T) {
	m := mustNew(t, string(Default()))
	agent := gateway.DefaultAgent()
	agent.SystemPrompt = "You are the desk of a hotel with room 1 and room 2."
	summary := ""
	say := func(texts ...string) gateway.Output {
		t.Helper()
		in := prompt.Input{Agent: &agent, Now: time.Now(), ContextSummary: summary}
		for _, s := range texts {
			in.Messages = append(in.Messages, prompt.Message{Type: gateway.TypeText, Text: s, At: time.Now()})
		}
		p := prompt.Render(in)
		resp, err := m.Generate(t.Context(), llm.Request{System: p.System, Turns: p.Turns})
		if err != nil {
			t.Fatal(err)
		}
		var out gateway.Output
		if err := json.Unmarshal([]byte(resp.Text), &out); err != nil {
			t.Fatal(err)
		}
		summary = out.ContextSummary
		return out
	}
	order := func(room, what string) []gateway.OutputAction {
		return []gateway.OutputAction{{Type: "hospitality.room_service.request", Payload: map[string]any{"room_number": room, "description": what}}}
	}
	none := []gateway.OutputAction{}
	steps := []struct {
		say        []string
		wantIntent string
		want       []gateway.OutputAction
		wantReply  string
	}{
		{[]string{"Hello!"}, "greeting", none, "welcome"},
		{[]string{"the lift is slow"}, "other", none, "the lift is slow"},
		{[]string{"Can you bring me tea?"}, "room_service", none, "Which room"},
		{[]string{"It's 7"}, "room_service", order("7", "Can you bring me tea?"), "room 7"},
		{[]string{"Hi", "I'm in room 412", "could I get two towels please?"}, "room_service", order("412", "Hi I'm in room 412 could I get two towels please?"), "room 412"},
		{[]string{"and some coffee"}, "room_service", order("412", "and some coffee"), "room 412"},
		{[]string{"thanks!"}, "thanks", none, "welcome"},
		{[]string{"hey"}, "greeting", none, "Welcome back"},
		{[]string{"I need water"}, "room_service", order("412", "I need water"), "room 412"},
	}
	for _, s := range steps {
		got := say(s.say...)
		if got.Intent != s.wantIntent || !strings.Contains(got.SuggestedReply, s.wantReply) {
			t.Errorf("%q: %s, %q", s.say, got.Intent, got.SuggestedReply)
		}
		if diff := cmp.Diff(s.want, got.Actions); diff != "" {
			t.Errorf("%q: actions (-want +got):\n%s", s.say, diff)
		}
		if got.Language != "en" || got.AnalysisSummary == "" || got.ContextSummary == "" {
			t.Errorf("%q: incomplete: %+v", s.say, got)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add(Default(), "room 12, two towels")
	f.Add([]byte("default: {output: {intent: '${', confidence: 1}}"), "$")
	f.Add([]byte("rules: &a [*a]"), "")
	f.Fuzz(func(t *testing.T, src []byte, text string) {
		m, err := New(src)
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a script may ask for any delay
		_, _ = m.Generate(ctx, llm.Request{Turns: []transcript.Turn{{Role: transcript.User, Text: text}}})
		r, vars := m.choose(text, text)
		if r.Output != nil && !json.Valid([]byte(r.Output.expand(vars))) {
			t.Errorf("no JSON: %q", r.Output.expand(vars))
		}
	})
}
