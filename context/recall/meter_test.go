package recall

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/gateway"
)

// tally counts what is counted.
type tally struct{ texts, bytes int }

func (c *tally) count(model, text string, most int) int {
	n := budget.UpTo(model, text, most)
	c.texts++
	c.bytes += min(len(text), 16*n) // it ends soon after most
	return n
}

// Customers may write more than anybody reads: what that costs does not grow with
// how much it is.
func TestWhatDoesNotFitIsNotCounted(t *testing.T) {
	text := strings.Repeat(line+" ", 64<<10/len(line))
	for name, tt := range map[string]struct {
		mode    gateway.CompactionMode
		batch   int
		earlier int
	}{
		"a batch of 2,000":                       {gateway.CompactionOff, 2000, 0},
		"2,000 earlier ones":                     {gateway.CompactionOff, 1, 2000},
		"2,000 earlier ones that are summed up":  {gateway.CompactionSliding, 1, 2000},
		"both, with everything else that may go": {gateway.CompactionAll, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := newCompactRig(), &tally{}
			r.count = c.count
			in := prompt.Input{ContextSummary: text, LastAgentOutput: &prompt.LastOutput{Intent: text}}
			for i := range tt.batch {
				in.Messages = append(in.Messages, prompt.Message{Type: gateway.TypeText, Text: fmt.Sprint(i, text)})
			}
			a := talkative(tt.mode, 3000)
			f := r.fit(t, a, in, said(tt.earlier, text))
			if n := budget.Prompt(a.Model, prompt.Render(f.Input)); n > a.Compaction.MaxTokens {
				t.Errorf("the prompt has %d tokens", n)
			}
			if c.texts > 60 || c.bytes > 60*16*a.Compaction.MaxTokens {
				t.Errorf("%d texts were counted, %d bytes", c.texts, c.bytes)
			}
		})
	}
}

// What is said is counted once, and what is read of it once more where it comes
// close to the limit.
func TestEachMessageIsCountedOnce(t *testing.T) {
	for _, mode := range []gateway.CompactionMode{gateway.CompactionOff, gateway.CompactionSliding, gateway.CompactionAll} {
		r := newCompactRig()
		times := map[string]int{}
		r.count = func(model, text string, most int) int {
			for i := range 301 {
				if strings.Contains(text, fmt.Sprintf("<%d>", i)) {
					times[fmt.Sprint(i)]++
				}
			}
			return budget.UpTo(model, text, most)
		}
		earlier := said(300, line)
		for i := range earlier {
			earlier[i].Text = fmt.Sprintf("<%d> %s", i, line)
		}
		f := r.fit(t, talkative(mode, 6000), newest("<300> Hello?"), earlier)
		for i, n := range times {
			if n > 2 {
				t.Errorf("%s: message %s was counted %d times", mode, i, n)
			}
		}
		if mode != gateway.CompactionOff && f.Input.EarlierSummary == "" {
			t.Errorf("%s: no summary was made, notes %q", mode, f.Notes)
		}
	}
}

func TestCountingEndsWithTheRun(t *testing.T) {
	lost := errors.New("the run is in other hands")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := newCompactRig()
	counted := 0
	r.count = func(model, text string, most int) int {
		if counted++; counted == 10 {
			cancel(lost)
		}
		return budget.UpTo(model, text, most)
	}
	in := newest("Hello?")
	in.Agent = talkative(gateway.CompactionOff, 100_000)
	_, err := r.Fit(ctx, Overlong{Input: in, Conversation: conversation, Earlier: said(5000, line)})
	if !errors.Is(err, lost) || counted > 10 {
		t.Errorf("the error is %v, %d texts were counted", err, counted)
	}
}
