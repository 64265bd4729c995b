package agent

import (
	"strings"
	"testing"

	"wagent/dispatch/llm/llmtest"
)

func TestATooLongMemoryIsSentBackAndThenDropped(t *testing.T) {
	keeping := func(text string) string { return strings.TrimSuffix(good, "}") + `,"contact_memory":"` + text + `"}` }
	long := keeping(strings.Repeat("x", 21))
	tests := map[string]struct {
		second string
		want   string // "-": nothing is changed
		note   string
	}{
		"mended by the repair":   {keeping("Has a dog."), "Has a dog.", "the first answer was sent back"},
		"too long again":         {long, "-", "dropped contact_memory: contact_memory must have at most 20 characters"},
		"worse after the repair": {"Sorry!", "-", "dropped contact_memory: contact_memory must have at most 20 characters"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: long}, llmtest.Reply{Text: tt.second})})
			ag := hotel()
			ag.ContactMemory = 20
			a, err := b.Answer(t.Context(), ag, ask())
			if err != nil {
				t.Fatal(err)
			}
			got := "-"
			if a.Memory != nil {
				got = *a.Memory
			}
			if got != tt.want || !strings.Contains(strings.Join(a.Notes, "; "), tt.note) {
				t.Errorf("it keeps %q, notes %q; want %q and %q", got, a.Notes, tt.want, tt.note)
			}
			if n := len(b.server.Requests()); n != 2 || len(b.server.Problems()) > 0 {
				t.Errorf("%d requests, problems %q", n, b.server.Problems())
			}
		})
	}
}
