package prompt

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/context/transcript"
)

func TestSummaryGolden(t *testing.T) {
	at := time.Date(2026, 11, 21, 14, 5, 0, 0, time.UTC)
	p := Summary("Zoé wants a suite in May.", []Recent{
		{Role: transcript.User, Text: "And a cot?", At: at},
		{Role: transcript.Assistant, Text: "Of course, at 10 euros a night.", At: at.Add(time.Minute)},
		{Role: transcript.User, Text: "Bien"},
	}, 200)
	const file = "testdata/summary.txt"
	if *update {
		if err := os.WriteFile(file, []byte(show(p)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), show(p)); diff != "" {
		t.Errorf("prompt (-want +got), -update if it is meant:\n%s", diff)
	}
}

// Neither what a customer wrote nor what was made of it is taken for the task.
func TestStrangersTextStaysInsideTheFencesOfASummary(t *testing.T) {
	for name, text := range attacks {
		for place, put := range map[string]func(string) (string, []Recent){
			"the previous summary": func(s string) (string, []Recent) { return s, []Recent{{Text: "hello"}} },
			"a customer's turn":    func(s string) (string, []Recent) { return "before", []Recent{{Role: transcript.User, Text: s}} },
			"a turn of ours":       func(s string) (string, []Recent) { return "before", []Recent{{Role: transcript.Assistant, Text: s}} },
		} {
			t.Run(name+" in "+place, func(t *testing.T) {
				render := func(text string) (outside, inside string) {
					previous, turns := put(text)
					p := Summary(previous, turns, 200)
					_, rest, _ := strings.Cut(p.System, "<<<DATA ")
					tag, _, _ := strings.Cut(rest, ">>>")
					for _, part := range []string{p.System, p.Turns[0].Text} {
						o, i := unfenced(t, fence{tag: tag}, part)
						outside += o + "\n"
						inside += strings.Join(i, "\n\n")
					}
					return outside, inside
				}
				harmless, _ := render("good morning")
				outside, inside := render(text)
				if diff := cmp.Diff(harmless, outside); diff != "" {
					t.Errorf("the text changed what stands outside the fences (-harmless +got):\n%s", diff)
				}
				if !strings.Contains(inside, text) {
					t.Errorf("inside the fences, %q is missing:\n%s", text, inside)
				}
			})
		}
	}
}
