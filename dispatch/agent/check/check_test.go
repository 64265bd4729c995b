package check

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/context/prompt"
	"wagent/gateway"
)

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

const good = `{"intent":"order","confidence":0.9,"actions":[{"type":"hotel.room.order","payload":{"room":"12","count":null,"urgent":null,"day":null,"hour":null,"at":null}}],"language":"en","suggested_reply":"Sure","analysis_summary":"a","context_summary":"c"}`

// swap returns good with one part of it replaced.
func swap(old, new string) string {
	if !strings.Contains(good, old) {
		panic("good has no " + old)
	}
	return strings.Replace(good, old, new, 1)
}

// with returns good with another payload.
func with(payload string) string {
	return swap(`{"room":"12","count":null,"urgent":null,"day":null,"hour":null,"at":null}`, payload)
}

func TestPayloadsThatAreRight(t *testing.T) {
	tests := map[string]struct {
		payload string
		want    map[string]any
	}{
		"all fields": {
			`{"room":"12","count":2.5,"urgent":false,"day":"2028-02-29","hour":"23:59:59Z","at":"2026-11-30T14:30:00+02:00"}`,
			map[string]any{"room": "12", "count": 2.5, "urgent": false, "day": "2028-02-29", "hour": "23:59:59Z", "at": "2026-11-30T14:30:00+02:00"},
		},
		"a time without a zone":                 {`{"room":"12","hour":"19:30:00"}`, map[string]any{"room": "12", "hour": "19:30:00"}},
		"a time without seconds is given them":  {`{"room":"12","hour":"19:30"}`, map[string]any{"room": "12", "hour": "19:30:00"}},
		"so is one of another zone":             {`{"room":"12","hour":"19:30+02:00"}`, map[string]any{"room": "12", "hour": "19:30:00+02:00"}},
		"only what is required":                 {`{"room":"12"}`, map[string]any{"room": "12"}},
		"zero and false are not the same as no": {`{"room":"0","count":0,"urgent":false}`, map[string]any{"room": "0", "count": 0.0, "urgent": false}},
	}
	c, err := New(hotel(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := c.Check(with(tt.payload))
			if len(v.Faults)+len(v.Notes) != 0 {
				t.Fatalf("faults %q, notes %q", v.Faults, v.Notes)
			}
			if diff := cmp.Diff(tt.want, v.Output.Actions[0].Payload); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

// Models repeat examples: one that ends in Z makes a customer's local time UTC's.
func TestNoExampleNamesAZone(t *testing.T) {
	schema, _ := Schema(hotel())
	p := prompt.Render(prompt.Input{Agent: hotel()})
	for _, text := range []string{string(schema), p.System} {
		if !strings.Contains(text, "14:30") || !strings.Contains(text, "2026-11-30T14:30") || !strings.Contains(text, "local time of the business") {
			t.Errorf("it says nothing of times:\n%s", text)
		}
		if zoned := regexp.MustCompile(`14:30(:00)?(Z|[+-])`).FindString(text); zoned != "" {
			t.Errorf("an example is %q", zoned)
		}
	}
}

func TestLanguageTags(t *testing.T) {
	for tag, want := range map[string]string{"en": "en", "PT-br": "pt", "zh_Hans": "zh", " de ": "de", "": ""} {
		if got, ok := language(tag); got != want || !ok {
			t.Errorf("%q: %q, %v", tag, got, ok)
		}
	}
	for _, tag := range []string{"English", "e", "12", "-", "日本"} {
		if got, ok := language(tag); ok && got != "" {
			t.Errorf("%q: %q", tag, got)
		}
	}
}

func TestDeepPayloadsOfFreeAgents(t *testing.T) {
	ag := hotel()
	ag.PayloadSchema = nil
	c, err := New(ag, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Check(with(`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`))
	if len(v.Output.Actions) != 0 || len(v.Faults) != 1 || len(v.Fatal) != 0 {
		t.Errorf("verdict = %+v", v)
	}
}

// TestNumbersOfFreePayloads: what would be rounded would be another order.
func TestNumbersOfFreePayloads(t *testing.T) {
	ag := hotel()
	ag.PayloadSchema = nil
	c, err := New(ag, nil)
	if err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]int{
		`{"order":9007199254740991,"x":[-1.5,{"y":-9007199254740991}]}`: 1,
		`{"order":9007199254740993}`:                                    0,
		`{"x":[1,{"order":-9007199254740993}]}`:                         0,
		`{"x":1e300}`:                                                   0,
		`{"order":"9007199254740993"}`:                                  1,
	} {
		v := c.Check(with(payload))
		if len(v.Output.Actions) != want || len(v.Faults) != 1-want || len(v.Fatal) > 0 {
			t.Errorf("%s: %d actions, faults %q", payload, len(v.Output.Actions), v.Faults)
		}
	}
}

func TestSummary(t *testing.T) {
	for want, faults := range map[string][]string{
		"": nil, "a": {"a"}, "a; b; c": {"a", "b", "c"}, "a; b; c; and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := Summary(faults); got != want {
			t.Errorf("Summary(%q) = %q, want %q", faults, got, want)
		}
	}
}

func TestSchema(t *testing.T) {
	const want = `{"type":"object","properties":{` +
		`"intent":{"description":"what the customer wants, in a word or a few, snake_case","type":"string"},` +
		`"confidence":{"description":"how sure the intent is, from 0 to 1","type":"number"},` +
		`"actions":{"items":{"anyOf":[` +
		`{"type":"object","properties":{"type":{"enum":["a.b.c","a.b.d"],"type":"string"},` +
		`"payload":{"type":"object","properties":{"x":{"type":"string"},"n":{"type":["number","null"]}},"required":["x","n"],"additionalProperties":false}},` +
		`"required":["type","payload"],"additionalProperties":false},` +
		`{"type":"object","properties":{"type":{"enum":["system.conversation.pause","system.noop.skip"],"type":"string"},` +
		`"payload":{"type":"object","properties":{},"required":[],"additionalProperties":false}},` +
		`"required":["type","payload"],"additionalProperties":false}]},"type":"array"},` +
		`"language":{"description":"the customer's language, ISO 639-1, such as en","type":"string"},` +
		`"suggested_reply":{"description":"what is sent to the customer","type":"string"},` +
		`"analysis_summary":{"description":"what happened, for the business","type":"string"},` +
		`"context_summary":{"description":"what to remember of the conversation","type":"string"}},` +
		`"required":["intent","confidence","actions","language","suggested_reply","analysis_summary","context_summary"],"additionalProperties":false}`
	ag := &gateway.Agent{
		AllowedActions: []string{"a.b.d", "a.b.c", "a.b.d"},
		PayloadSchema:  []gateway.Field{{Name: "x", Type: gateway.FieldText, Required: true}, {Name: "n", Type: gateway.FieldNumber}},
	}
	got, strict := Schema(ag)
	if !strict {
		t.Error("it is not strict")
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}
