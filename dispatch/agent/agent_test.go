package agent

import (
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hotel is an agent with everything declared.
func hotel() *gateway.Agent {
	a := gateway.DefaultAgent()
	a.Name, a.SystemPrompt, a.Model = "Hotel", "Be kind.", "openai/m-1"
	a.AllowedActions = []string{"hotel.room.order", "hotel.taxi.book"}
	a.PayloadSchema = []gateway.Field{
		{Name: "room", Type: gateway.FieldText, Required: true},
		{Name: "count", Type: gateway.FieldNumber},
		{Name: "urgent", Type: gateway.FieldBoolean},
		{Name: "day", Type: gateway.FieldDate},
		{Name: "hour", Type: gateway.FieldTime},
		{Name: "at", Type: gateway.FieldDateTime},
	}
	return &a
}

func ask() prompt.Prompt {
	return prompt.Prompt{System: "Be kind.", Turns: []transcript.Turn{{Role: transcript.User, Text: secret}}}
}

const good = `{"intent":"order","confidence":0.9,"actions":[{"type":"hotel.room.order","payload":{"room":"12","count":null,"urgent":null,"day":null,"hour":null,"at":null}}],"language":"en","suggested_reply":"Sure","analysis_summary":"a","context_summary":"c"}`

// goodOutput is what good means.
func goodOutput() gateway.Output {
	return gateway.Output{
		Intent: "order", Confidence: 0.9, Language: "en", SuggestedReply: "Sure", AnalysisSummary: "a", ContextSummary: "c",
		Actions: []gateway.OutputAction{{Type: "hotel.room.order", Payload: map[string]any{"room": "12"}}},
	}
}

func TestAnswer(t *testing.T) {
	b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})})
	ag := hotel()
	ag.ID = "11111111-2222-4333-8444-555555555555"
	got, err := b.Answer(t.Context(), ag, ask())
	if err != nil {
		t.Fatal(err)
	}
	if got.InputTokens == 0 || got.OutputTokens == 0 || got.Latency <= 0 {
		t.Errorf("it cost nothing: %+v", got)
	}
	got.InputTokens, got.OutputTokens, got.Latency = 0, 0, 0
	want := Answer{Output: goodOutput(), Model: "openai/m-1", Stop: gateway.StopEndTurn}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string(nil), b.server.Problems()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	r := b.server.Requests()[0]
	if r.CacheKey != string(ag.ID) {
		t.Errorf("the provider's cache is asked by %q, want the agent's id", r.CacheKey)
	}
	if !r.Strict || r.Format != "json_schema" || r.MaxTokens != 1024 || *r.Temperature != 0.3 {
		t.Errorf("request: strict %v, format %q, max tokens %d, temperature %v", r.Strict, r.Format, r.MaxTokens, *r.Temperature)
	}
	if b.requests(outcomeOK) != 1 || testutil.ToFloat64(b.metrics.tokens.WithLabelValues("input")) == 0 {
		t.Error("the request is not counted")
	}
	if n, err := testutil.GatherAndCount(b.reg, "wagent_llm_requests_total"); err != nil || n != len(outcomes()) {
		t.Errorf("%d series of requests, want one per outcome: %v", n, err)
	}
}

func TestStopReason(t *testing.T) {
	skip := strings.Replace(good, `"hotel.room.order"`, `"system.noop.skip"`, 1)
	tests := map[string]struct {
		confirm bool
		text    string
		want    gateway.StopReason
	}{
		"nobody is asked":                     {false, good, gateway.StopEndTurn},
		"a person is asked":                   {true, good, gateway.StopApproval},
		"system actions need no confirmation": {true, skip, gateway.StopEndTurn},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ag := hotel()
			ag.Confirm = tt.confirm
			got, err := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: tt.text})}).Answer(t.Context(), ag, ask())
			if err != nil || got.Stop != tt.want {
				t.Errorf("%s, %v; want %s", got.Stop, err, tt.want)
			}
		})
	}
}

func TestRepairMendsAnAnswer(t *testing.T) {
	const bad = `Sure! {"intent": "order"`
	b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: bad}, llmtest.Reply{Text: good})})
	got, err := b.Answer(t.Context(), hotel(), ask())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goodOutput(), got.Output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"the first answer was sent back: the answer must be one complete JSON object"}, got.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	all := b.server.Requests()
	if len(all) != 2 {
		t.Fatalf("%d requests, want 2", len(all))
	}
	turns := all[1].Messages
	if len(turns) != 4 || turns[1].Content != secret || turns[2].Role != "assistant" || turns[2].Content != bad || turns[3].Role != "user" {
		t.Errorf("turns of the repair: %+v", turns)
	}
	for _, want := range []string{"must be one complete JSON object", `"hotel.taxi.book"`} {
		if !strings.Contains(turns[3].Content, want) {
			t.Errorf("the repair does not say %q:\n%s", want, turns[3].Content)
		}
	}
	if b.requests(outcomeInvalidAnswer) != 1 || b.requests(outcomeOK) != 1 {
		t.Error("the two requests are not counted by what they were worth")
	}
	if diff := cmp.Diff([]string(nil), b.server.Problems()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestRepairThatFails(t *testing.T) {
	usable := strings.Replace(good, "hotel.room.order", "hotel.safe.open", 1)
	tests := map[string]struct {
		first    string
		second   llmtest.Reply
		wantStop gateway.StopReason // empty: the first answer is used
		wantNote string
	}{
		"a worse answer":             {first: usable, second: llmtest.Reply{Text: "no"}, wantNote: "the first answer was used, since it was worse after the repair"},
		"a provider that is down":    {first: usable, second: llmtest.Reply{Status: 400}, wantNote: "the first answer was used, since the repair failed"},
		"an answer cut short":        {first: usable, second: llmtest.Reply{Text: "{", FinishReason: "length"}, wantNote: "the first answer was used, since the repair failed"},
		"neither is an answer":       {first: "no", second: llmtest.Reply{Text: "still no"}, wantStop: gateway.StopInvalidResponse},
		"no answer, then no server":  {first: "no", second: llmtest.Reply{Status: 401}, wantStop: gateway.StopLLMError},
		"no answer, then a long one": {first: "no", second: llmtest.Reply{FinishReason: "length"}, wantStop: gateway.StopMaxTokens},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: tt.first}, tt.second)})
			got, err := b.Answer(t.Context(), hotel(), ask())
			if tt.wantStop != "" {
				checkFailure(t, err, tt.wantStop, "")
				return
			}
			if err != nil || got.Output.SuggestedReply != "Sure" || len(got.Output.Actions) != 0 {
				t.Fatalf("%+v, %v", got.Output, err)
			}
			want := []string{tt.wantNote, "dropped action 0 (hotel.safe.open): actions[0].type must be one of hotel.room.order, hotel.taxi.book, system.noop.skip, system.conversation.pause"}
			if diff := cmp.Diff(want, got.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// checkFailure checks a Failure and that it tells nothing.
func checkFailure(t *testing.T, err error, stop gateway.StopReason, msg string) *Failure {
	t.Helper()
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		t.Fatalf("error = %T %v, want a Failure", err, err)
	}
	if f.Stop != stop || msg != "" && f.Msg != msg || f.Msg == "" {
		t.Errorf("failure = %s %q, want %s %q", f.Stop, f.Msg, stop, msg)
	}
	for _, no := range []string{key, secret} {
		if strings.Contains(f.Error(), no) {
			t.Errorf("failure tells %q: %v", no, f)
		}
	}
	return f
}

func TestUnknownModel(t *testing.T) {
	b := overTCP(t, &llmtest.Server{})
	ag := hotel()
	ag.Model = "acme/x"
	_, err := b.Answer(t.Context(), ag, ask())
	checkFailure(t, err, gateway.StopLLMError, "no provider is called acme")
	if len(b.server.Requests()) != 0 {
		t.Error("somebody was asked")
	}
}

func TestAFieldThatValidateRefusesDoesNoHarm(t *testing.T) {
	ag := hotel()
	ag.PayloadSchema = append(ag.PayloadSchema, gateway.Field{Name: "x\x00\"", Type: "tuple"})
	b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})})
	if got, err := b.Answer(t.Context(), ag, ask()); err != nil || len(got.Output.Actions) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFreeFormAgents(t *testing.T) {
	tests := map[string]struct {
		change func(*gateway.Agent)
		action string
		want   map[string]any // the payload; nil: dropped
	}{
		"any payload":                     {func(a *gateway.Agent) { a.PayloadSchema = nil }, `{"type":"hotel.taxi.book","payload":{"x":[1,{"y":null}]}}`, map[string]any{"x": []any{1.0, map[string]any{"y": nil}}}},
		"any payload, but not any type":   {func(a *gateway.Agent) { a.PayloadSchema = nil }, `{"type":"hotel.taxi.steal","payload":{}}`, nil},
		"any type":                        {func(a *gateway.Agent) { a.AllowedActions = nil }, `{"type":"a.b.c","payload":{"room":"1"}}`, map[string]any{"room": "1"}},
		"any type, but not any payload":   {func(a *gateway.Agent) { a.AllowedActions = nil }, `{"type":"a.b.c","payload":{"room":1}}`, nil},
		"any type that is one":            {func(a *gateway.Agent) { a.AllowedActions = nil }, `{"type":"a.b","payload":{"room":"1"}}`, nil},
		"nobody makes up system actions":  {func(a *gateway.Agent) { a.AllowedActions = nil }, `{"type":"system.agent.delete","payload":{"room":"1"}}`, nil},
		"both free":                       {func(a *gateway.Agent) { a.AllowedActions, a.PayloadSchema = nil, nil }, `{"type":"a.b.c","payload":{}}`, map[string]any{}},
		"system actions are always there": {func(a *gateway.Agent) { a.AllowedActions, a.PayloadSchema = nil, nil }, `{"type":"system.conversation.pause","payload":{"x":1}}`, map[string]any{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ag := hotel()
			tt.change(ag)
			text := `{"intent":"x","confidence":1,"actions":[` + tt.action + `],"language":"","suggested_reply":"","analysis_summary":"","context_summary":""}`
			b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: text})})
			got, err := b.Answer(t.Context(), ag, ask())
			if err != nil {
				t.Fatal(err)
			}
			var payload map[string]any
			if len(got.Output.Actions) > 0 {
				payload = got.Output.Actions[0].Payload
			}
			if diff := cmp.Diff(tt.want, payload); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			if r := b.server.Requests()[0]; r.Strict || len(b.server.Problems()) != 0 {
				t.Errorf("strict %v, problems %q", r.Strict, b.server.Problems())
			}
		})
	}
}

func TestEnvironmentHasNoEffect(t *testing.T) {
	lure := &llmtest.Server{}
	srv := httptest.NewServer(lure)
	defer srv.Close()
	t.Setenv("OPENAI_API_KEY", "sk-env")
	t.Setenv("OPENAI_BASE_URL", srv.URL)
	b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})})
	if _, err := b.Answer(t.Context(), hotel(), ask()); err != nil {
		t.Fatal(err)
	}
	if n := len(lure.Requests()) + len(lure.Problems()); n != 0 || len(b.server.Requests()) != 1 {
		t.Errorf("%d requests went where the environment says", n)
	}
}

func TestManyAtOnceNeverMix(t *testing.T) {
	b := overTCP(t, &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		last := r.Messages[len(r.Messages)-1].Content
		return llmtest.Reply{Text: strings.Replace(good, `"Sure"`, `"`+last+`"`, 1)}
	}})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			text := strings.Repeat("x", i+1)
			p := prompt.Prompt{Turns: []transcript.Turn{{Role: transcript.User, Text: text}}}
			got, err := b.Answer(t.Context(), hotel(), p)
			if err != nil || got.Output.SuggestedReply != text {
				t.Errorf("%q, %v; want %q", got.Output.SuggestedReply, err, text)
			}
		})
	}
	wg.Wait()
	if b.requests(outcomeOK) != 50 {
		t.Errorf("%v requests counted, want 50", b.requests(outcomeOK))
	}
}

func TestWhatIsSentBackOfABadAnswer(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	for name, tt := range map[string]struct{ give, want string }{
		"a short one is whole":         {"no", "no"},
		"servers refuse an empty turn": {" \n\t", "(nothing)"},
		"a long one is cut":            {long, long[:2*4000] + " …"},
		"what is no text is none":      {"a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bounded(tt.give); got != tt.want {
				t.Errorf("%.50q of %d bytes, want %.50q of %d", got, len(got), tt.want, len(tt.want))
			}
		})
	}
}
