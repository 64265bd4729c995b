package check

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// FuzzCheck gives a model's bytes to agents of all kinds.
func FuzzCheck(f *testing.F) {
	const act = `{"intent":"a","confidence":1,"actions":[%],"language":"","suggested_reply":"b","analysis_summary":"","context_summary":""}`
	for i, s := range []string{
		good, "```json\n" + good + "\n```", "x " + good + good, good[:50], swap("0.9", "1e400"), with(`{"room":null,"x":{}}`),
		`{"intent":"a","suggested_reply":"b","actions":[[],null,{"type":"system.noop.skip"}]}`, "</think>{", "\"{\\\"a\\\":1}\"",
		swap(`"12"`, `"\u0000"`), `{"\u0000intent":1}`, "\xff\xfe" + good, "\uFEFF" + good, swap("order", "\xc3\x28"), swap("order", `\ud800`), swap(`"en"`, `"English"`),
		swap("Sure", `\u0000Sure`),
		swap(`"order"`, `"\u00a0"`), swap(`"actions":[`, `"actions":[],"actions":[`), swap(`"actions":[`, `"a\u0063tions":[],"actions":[`),
		with(`{"room":"1","at":"2026-10-25T02:30","day":"2026-11-30","hour":"7:30","count":1e17}`), with(`{"room":"1","at":"2026-03-29 02:30:00.5"}`),
		with(`{"room":"1","at":"0000-01-01T00:00"}`), with(`{"room":"1","at":"9999-12-31T23:59:60Z"}`), "{a} {{b}} " + good, "{'a': " + good + "}",
		strings.Replace(act, "%", `{"type":"a.b.c","payload":{"x":[[[{}]]],"\u0000":1,"n":9007199254740993}}`, 1),
		strings.Replace(act, "%", strings.Repeat(`{"type":"hotel.taxi.book","payload":{"room":"1","room":"2"}},`, 30)+"0", 1),
		strings.Replace(act, "%", strings.Repeat("[", 100)+strings.Repeat("]", 100), 1),
	} {
		f.Add([]byte(s), uint8(i&3))
	}
	for s, kind := range map[string]uint8{
		`{"room":"1","count":1.5,"urgent":true,"day":"2028-02-29","hour":"7:30"}`: 4, `{"x":[1,{"y":1e300}],"z":null}`: 6,
		`{"room":"1\u00002","to":"+4915112345"}`: 4, `{"x\u0000":"\u0000"}`: 6,
		keeping(`"Has a dog."`): 0, keeping(`"Has a \u0000dog. "`): 16, keeping(`"Has a dog, two cats and a bird."`): 19, keeping(`{}`): 17,
		"2026-10-25T02:30": 8, "2026-03-29 02:30:00.123": 8, "9999-12-31T23:59:60Z": 9, "0000-01-01t00:00": 8,
		`{"type":"a.b.c","payload":{}}`: 13, `{"type":"hotel.taxi.book"},{"type":"system.noop.skip"}`: 12, "1,2": 15,
	} {
		f.Add([]byte(s), kind)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, kind uint8) {
		switch kind >> 2 & 3 { // deeper than a fuzzer gets by itself
		case 1:
			text = []byte(with(string(text)))
		case 2:
			text = []byte(with(`{"room":"1","at":"` + string(text) + `"}`))
		case 3:
			text = []byte(swap(`"actions":[`, `"actions":[`+string(text)+`,`))
		}
		ag := hotel()
		if kind&1 != 0 {
			ag.AllowedActions = nil
		}
		if kind&2 != 0 {
			ag.PayloadSchema = nil
		}
		if kind&16 != 0 {
			ag.ContactMemory = 20
		}
		c, err := New(ag, berlin)
		if err != nil {
			t.Fatal(err)
		}
		v := c.Check(string(text))
		if diff := cmp.Diff(v, c.Check(string(text))); diff != "" {
			t.Errorf("the same bytes are worth something else (-first +second):\n%s", diff)
		}
		for _, s := range slices.Concat(v.Faults, v.Notes) {
			if !utf8.ValidString(s) || len(s) > 2000 {
				t.Errorf("a fault or note that can not be kept: %.100q", s)
			}
		}
		if len(v.Notes) > maxActions*2+10 || len(v.Faults) < len(v.Fatal) {
			t.Errorf("%d notes; %d faults, %d of them fatal", len(v.Notes), len(v.Faults), len(v.Fatal))
		}
		if v.Memory != nil {
			wantText(t, *v.Memory)
			if n := utf8.RuneCountInString(*v.Memory); n > ag.ContactMemory {
				t.Errorf("%d characters are to be kept, of at most %d", n, ag.ContactMemory)
			}
		}
		if len(v.Fatal) == 0 {
			holds(t, ag, &v.Output)
			again(t, c, &v.Output)
		}
	})
}

// again checks that what was accepted is accepted as it is.
func again(t *testing.T, c *Checker, o *gateway.Output) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Check(string(text))
	if len(v.Faults)+len(v.Notes) > 0 {
		t.Errorf("checked again it has faults %q, notes %q", v.Faults, v.Notes)
	}
	if diff := cmp.Diff(*o, v.Output); diff != "" {
		t.Errorf("checked again (-first +second):\n%s", diff)
	}
}

// holds checks what an output guarantees whatever a model said.
func holds(t *testing.T, ag *gateway.Agent, o *gateway.Output) {
	t.Helper()
	if !(o.Confidence >= 0 && o.Confidence <= 1) || strings.TrimSpace(o.Intent) == "" || o.Actions == nil {
		t.Errorf("output = %+v", o)
	}
	if o.Language != "" && !languageCode.MatchString(o.Language) {
		t.Errorf("language = %q", o.Language)
	}
	for what, s := range map[string]string{"intent": o.Intent, "reply": o.SuggestedReply, "analysis": o.AnalysisSummary, "context": o.ContextSummary} {
		limit := map[string]int{"intent": 200, "reply": 16_000}[what]
		if limit == 0 {
			limit = 8000
		}
		wantText(t, s)
		if utf8.RuneCountInString(s) > limit {
			t.Errorf("%s has %d characters", what, utf8.RuneCountInString(s))
		}
	}
	if len(o.Actions) > maxActions {
		t.Errorf("%d actions", len(o.Actions))
	}
	for _, a := range o.Actions {
		wantAction(t, ag, &a)
	}
}

func wantAction(t *testing.T, ag *gateway.Agent, a *gateway.OutputAction) {
	t.Helper()
	b, err := json.Marshal(a.Payload)
	if err != nil || a.Payload == nil || len(b) > maxPayload || depth(a.Payload) > maxDepth {
		t.Errorf("payload of %d bytes, %d deep: %v", len(b), depth(a.Payload), err)
	}
	wantTexts(t, a.Payload)
	if a.Type == gateway.ActionSkip || a.Type == gateway.ActionPause {
		if len(a.Payload) != 0 {
			t.Errorf("%s has a payload: %v", a.Type, a.Payload)
		}
		return
	}
	free := len(ag.AllowedActions) == 0
	if !free && !slices.Contains(ag.AllowedActions, a.Type) || free && (!actionType.MatchString(a.Type) || strings.HasPrefix(a.Type, "system.")) {
		t.Errorf("type %q is not allowed", a.Type)
	}
	if len(ag.PayloadSchema) == 0 {
		return
	}
	left := len(a.Payload)
	for _, f := range ag.PayloadSchema {
		value, ok := a.Payload[f.Name]
		if ok {
			left--
			wantField(t, f, value)
		} else if f.Required {
			t.Errorf("%s is missing", f.Name)
		}
	}
	if left != 0 {
		t.Errorf("%d fields are not declared: %v", left, a.Payload)
	}
}

func wantField(t *testing.T, f gateway.Field, value any) {
	t.Helper()
	s, ok := value.(string)
	switch f.Type {
	case gateway.FieldNumber:
		var n float64
		n, ok = value.(float64)
		ok = ok && n >= -maxExact && n <= maxExact
	case gateway.FieldBoolean:
		_, ok = value.(bool)
	case gateway.FieldDate:
		_, err := time.Parse(time.DateOnly, s)
		ok = ok && err == nil
	case gateway.FieldTime:
		ok = ok && rfc3339Time.MatchString(s)
	case gateway.FieldDateTime:
		// RFC 3339 has seconds between days, Go has not.
		_, err := time.Parse(time.RFC3339, strings.Replace(strings.ToUpper(s), ":60", ":59", 1))
		ok = ok && err == nil
	case gateway.FieldText:
		ok = ok && (!f.Required || strings.TrimSpace(s) != "")
	}
	if !ok {
		t.Errorf("%s, of type %s, is %T %v", f.Name, f.Type, value, value)
	}
}

// wantText checks that both databases take a text.
func wantText(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		t.Errorf("no database takes %.100q", s)
	}
}

func wantTexts(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case string:
		wantText(t, v)
	case []any:
		for _, e := range v {
			wantTexts(t, e)
		}
	case map[string]any:
		for k, e := range v {
			wantText(t, k)
			wantTexts(t, e)
		}
	}
}
