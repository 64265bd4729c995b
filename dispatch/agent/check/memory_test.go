package check

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keeping returns good with a contact_memory of this JSON.
func keeping(value string) string {
	return strings.TrimSuffix(good, "}") + `,"contact_memory":` + value + `}`
}

func TestContactMemory(t *testing.T) {
	const note = "dropped contact_memory: "
	text := func(s string) *string { return &s }
	tests := map[string]struct {
		answer string
		limit  int
		want   *string
		fault  string
	}{
		"an answer without it changes nothing":         {good, 20, nil, ""},
		"so does null":                                 {keeping("null"), 20, nil, ""},
		"a text replaces what is kept":                 {keeping(`" Has a dog.\n"`), 20, text("Has a dog."), ""},
		"an empty text changes nothing":                {keeping(`""`), 20, nil, ""},
		"nor do spaces":                                {keeping(`" \n"`), 20, nil, ""},
		"as long as it may be":                         {keeping(`"` + strings.Repeat("犬", 20) + `"`), 20, text(strings.Repeat("犬", 20)), ""},
		"what is longer is dropped, not cut":           {keeping(`"` + strings.Repeat("犬", 21) + `"`), 20, nil, "contact_memory must have at most 20 characters, not 21"},
		"spaces around it do not count":                {keeping(`"  ` + strings.Repeat("x", 20) + `  "`), 20, text(strings.Repeat("x", 20)), ""},
		"a list is no text":                            {keeping(`["Has a dog."]`), 20, nil, "contact_memory must be of type string or null"},
		"nor is an object":                             {keeping(`{"dog":true}`), 20, nil, "contact_memory must be of type string or null"},
		"an agent that keeps nothing is not asked":     {keeping(`"Has a dog."`), 0, nil, ""},
		"nor told of what it should not have answered": {keeping(`7`), 0, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ag := hotel()
			ag.ContactMemory = tt.limit
			c, err := New(ag, time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			v := c.Check(tt.answer)
			if diff := cmp.Diff(tt.want, v.Memory); diff != "" {
				t.Errorf("memory (-want +got):\n%s", diff)
			}
			var faults, notes []string
			if tt.fault != "" {
				faults, notes = []string{tt.fault}, []string{note + tt.fault}
			}
			if diff := cmp.Diff(faults, v.Faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(notes, v.Notes); diff != "" || len(v.Fatal) > 0 {
				t.Errorf("fatal %q, notes (-want +got):\n%s", v.Fatal, diff)
			}
			if v.Output.SuggestedReply != "Sure" || len(v.Output.Actions) != 1 {
				t.Errorf("the rest of the answer is %+v", v.Output)
			}
		})
	}
}

// Of a member that stands twice nobody can tell which one was meant.
func TestAMemoryOfAnAnswerWithAMemberTwiceIsDropped(t *testing.T) {
	for name, answer := range map[string]string{
		"the memory itself": strings.TrimSuffix(keeping(`"Has a dog."`), "}") + `,"contact_memory":"Has a cat."}`,
		"another member":    strings.TrimSuffix(keeping(`"Has a dog."`), "}") + `,"intent":"order"}`,
		"one of an action":  strings.Replace(keeping(`"Has a dog."`), `"room":"12",`, `"room":"12","room":"13",`, 1),
	} {
		ag := hotel()
		ag.ContactMemory = 20
		c, err := New(ag, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		v := c.Check(answer)
		want := []string{
			"dropped the actions (1): an object of the answer had a member twice",
			"dropped contact_memory: an object of the answer had a member twice",
		}
		if diff := cmp.Diff(want, v.Notes); diff != "" || v.Memory != nil || len(v.Output.Actions) > 0 || len(v.Faults) != 1 || len(v.Fatal) > 0 {
			t.Errorf("%s: memory %v, faults %q, notes (-want +got):\n%s", name, v.Memory, v.Faults, diff)
		}
	}
}

func TestTheSchemaAsksForAMemoryOnlyOfWhoKeepsOne(t *testing.T) {
	for _, limit := range []int{0, 500} {
		ag := hotel()
		ag.ContactMemory = limit
		schema, strict := Schema(ag)
		var s struct {
			Properties map[string]struct {
				Type        any
				Description string
			}
			Required []string
		}
		if err := json.Unmarshal(schema, &s); err != nil || !strict {
			t.Fatal(strict, err)
		}
		p, has := s.Properties["contact_memory"]
		if has != (limit > 0) || len(s.Required) != len(s.Properties) {
			t.Errorf("with a limit of %d it is asked for: %v; %d of %d are required", limit, has, len(s.Required), len(s.Properties))
		}
		if has {
			if diff := cmp.Diff([]any{"string", "null"}, p.Type); diff != "" || !strings.Contains(p.Description, "500") {
				t.Errorf("%q; type (-want +got):\n%s", p.Description, diff)
			}
		}
	}
}
