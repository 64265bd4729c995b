package templates

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// numbered are n texts, each as format has it with its number.
func numbered(format string, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(out, "")
}

// A body of 1 MiB is answered at once, and in short.
func TestALongTemplateIsAnsweredInShort(t *testing.T) {
	for name, tt := range map[string]struct{ template, want string }{
		"variables":                 {`"components":{"BODY":"` + numbered("{{v%d}}", 20_000) + `"}`, "BODY needs 20000, for {{v0}}, {{v1}}"},
		"a variable":                {`"components":{"BODY":"{{` + strings.Repeat("x", 200_000) + `}}"}`, "BODY needs 1, for {{xxxx"},
		"components":                {`"components":[{"type":"BODY","text":"x"}` + numbered(`,{"type":"T%d"}`, 10_000) + `]`, "must have at most 6 entries"},
		"components without a type": {`"components":[{"type":"BODY"},` + strings.Repeat("{},", 40_000) + `{}]`, "must have at most 6 entries"},
		"components by type":        {`"components":{"BODY":"x"` + numbered(`,"T%d":5`, 20_000) + `}`, "must have at most 6 entries"},
		"a type":                    {`"components":[{"type":"BODY","text":"x"},{"type":"` + strings.Repeat("x", 200_000) + `"}]`, "is no type: the types are HEADER"},
		"a type of no object":       {`"components":{"` + strings.Repeat("x", 200_000) + `":5}`, "xxxx must be an object"},
		"examples":                  {`"components":{"BODY":"x"},"variable_examples":{"BODY":"x"` + numbered(`,"T%d":5`, 20_000) + `}`, "must be by HEADER and BODY only"},
		"examples of a type":        {`"components":{"BODY":"x"},"variable_examples":{"` + strings.Repeat("x", 200_000) + `":[]}`, "xxxx is neither HEADER nor BODY"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := call(t.Context(), (&memory{}).api(), http.MethodPost, "", `{"template":{"name":"a","language":"en","category":"UTILITY",`+tt.template+"}}")
			if status != http.StatusUnprocessableEntity || !strings.Contains(answer, tt.want) || len(answer) > 2000 {
				t.Errorf("%d, in %d bytes, want %q: %.500s", status, len(answer), tt.want, answer)
			}
		})
	}
}

func TestEveryVariableIsFoundOnce(t *testing.T) {
	const n = 40_000 // comparing each with all would take long
	text := numbered("{{v%d}}", n)
	if vs := variables(text + text); len(vs) != n || vs[0] != "v0" || vs[n-1] != fmt.Sprintf("v%d", n-1) {
		t.Errorf("%d variables, want %d", len(vs), n)
	}
}

func TestVariablesOfATestThatAreTooManyAreCounted(t *testing.T) {
	one := gateway.Template{Name: "a", Status: gateway.TemplateApproved, Components: json.RawMessage(`[{"type":"BODY","text":"{{1}} {{2}}"}]`)}
	p := wire.Problems{}
	_, _, err := fill(&one, make([]string, 100_000), p)
	if got := p["variables"]; gateway.KindOf(err) != gateway.Invalid || len(got) != 3 { // the number, and both that have a place
		t.Errorf("%d messages, %v", len(got), gateway.KindOf(err))
	}
}
