package agent

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// TestPromptsThatAreTooLong has a server that takes so many bytes at most.
func TestPromptsThatAreTooLong(t *testing.T) {
	talk := func(n int) prompt.Prompt {
		p := prompt.Prompt{System: "Be kind."}
		for i := range n {
			role := transcript.User
			if i%2 == 1 && i < n-1 {
				role = transcript.Assistant
			}
			p.Turns = append(p.Turns, transcript.Turn{Role: role, Text: fmt.Sprintf("turn %d %s", i, strings.Repeat("x", 1000))})
		}
		return p
	}
	const tooLong = "openai answered 400 (context_length_exceeded)"
	tests := map[string]struct {
		turns     int
		room      int // how many turns the first model takes
		fallbacks []string
		bad       bool     // the first answer needs repair
		want      []string // the first words of the turns of the last request to openai
		wantN     int
		stop      gateway.StopReason
		notes     []string
	}{
		"the older half is left out": {
			turns: 8, room: 5, wantN: 2, want: []string{"turn 4", "turn 5", "turn 6", "turn 7"},
			notes: []string{"the oldest turns (4) were left out: the prompt was too long for openai/m-1"},
		},
		"the agent's turn does not come first": {
			turns: 7, room: 5, wantN: 2, want: []string{"turn 4", "turn 5", "turn 6"},
			notes: []string{"the oldest turns (4) were left out: the prompt was too long for openai/m-1"},
		},
		"the last of two stays": {
			turns: 2, room: 1, wantN: 2, want: []string{"turn 1"},
			notes: []string{"the oldest turns (1) were left out: the prompt was too long for openai/m-1"},
		},
		"one turn can not be spared":          {turns: 1, room: 0, wantN: 1, want: []string{"turn 0"}, stop: gateway.StopTooLong},
		"it is tried once":                    {turns: 9, room: 1, wantN: 2, want: []string{"turn 4", "turn 5", "turn 6", "turn 7", "turn 8"}, stop: gateway.StopTooLong},
		"another model is given the whole":    {turns: 9, room: 1, fallbacks: []string{"backup/m-2"}, wantN: 2, want: []string{"turn 4", "turn 5", "turn 6", "turn 7", "turn 8"}, notes: []string{"openai/m-1 gave no answer: " + tooLong}},
		"a repair keeps what it is to mend":   {turns: 8, room: 6, bad: true, wantN: 3, want: []string{"turn 4", "turn 5", "turn 6", "turn 7", "no", "Your last"}, notes: []string{"the oldest turns (4) were left out: the prompt was too long for openai/m-1", "the first answer was sent back: the answer must be one complete JSON object"}},
		"a repair that is too long is mended": {turns: 2, room: 3, bad: true, wantN: 3, want: []string{"turn 1", "no", "Your last"}, notes: []string{"the oldest turns (1) were left out: the prompt was too long for openai/m-1", "the first answer was sent back: the answer must be one complete JSON object"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answered := 0
				b := inBubble(t, &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
					if len(r.Messages)-1 > tt.room {
						return llmtest.Reply{Status: 400, Code: "context_length_exceeded", Message: "This model's maximum context length is 8192 tokens."}
					}
					if answered++; answered == 1 && tt.bad {
						return llmtest.Reply{Text: "no"}
					}
					return llmtest.Reply{Text: good}
				}})
				backup := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})}
				b.provider(t, "backup", backup)
				ag := hotel()
				ag.Fallbacks = tt.fallbacks
				got, err := b.Answer(t.Context(), ag, talk(tt.turns))
				all := b.server.Requests()
				if len(all) != tt.wantN {
					t.Fatalf("%d requests, want %d", len(all), tt.wantN)
				}
				last := all[len(all)-1]
				var words []string
				for _, m := range last.Messages[1:] {
					words = append(words, strings.Join(strings.Fields(m.Content)[:min(2, len(strings.Fields(m.Content)))], " "))
				}
				if diff := cmp.Diff(tt.want, words); diff != "" {
					t.Errorf("turns of the last request (-want +got):\n%s", diff)
				}
				if last.Messages[0].Role != "system" || last.Messages[0].Content == "" {
					t.Errorf("the system prompt is gone: %+v", last.Messages[0])
				}
				if tt.wantN == 2 && len(all[1].Body) >= len(all[0].Body) {
					t.Errorf("the second request has %d bytes, the first one %d", len(all[1].Body), len(all[0].Body))
				}
				if tt.stop != "" {
					checkFailure(t, err, tt.stop, tooLong)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.notes, got.Notes); diff != "" {
					t.Errorf("notes (-want +got):\n%s", diff)
				}
				if len(tt.fallbacks) > 0 {
					if n := len(backup.Requests()[0].Messages); n != tt.turns+1 {
						t.Errorf("the second model read %d messages, want %d", n, tt.turns+1)
					}
				}
			})
		})
	}
}

// A prompt that was made for a model which reads much goes to one that cuts off what
// it does not read, and says nothing (Ollama).
func TestAModelThatReadsLessIsSparedTheOldestTurns(t *testing.T) {
	tests := map[string]struct {
		handle string
		turns  int
		first  string // the first turn that it reads; empty: all
		budget int    // of the agent; 0: what its first model reads
	}{
		"one that reads less":               {"ollama/small", 30, "turn 18", 0},
		"one whose first would be an agent": {"ollama/small", 31, "turn 18", 0},
		"one that reads as much":            {"groq/llama-3.1-8b-instant", 30, "", 0},
		"a prompt that is small":            {"ollama/small", 3, "", 0},
		"less than the agent's own budget":  {"ollama/small", 30, "turn 18", 20_000},
		"one that only counts otherwise":    {"groq/llama-3.1-8b-instant", 30, "", 5000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Status: 401, Code: "x"})})
				provider, _, _ := strings.Cut(tt.handle, "/")
				backup := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})}
				b.provider(t, provider, backup)
				ag := hotel()
				ag.Fallbacks, ag.Compaction.MaxTokens = []string{tt.handle}, tt.budget
				p := prompt.Prompt{System: "Be kind."}
				for i := range tt.turns {
					role := transcript.User
					if i%2 == 1 && i < tt.turns-1 {
						role = transcript.Assistant
					}
					p.Turns = append(p.Turns, transcript.Turn{Role: role, Text: fmt.Sprintf("turn %d %s", i, strings.Repeat("word ", 150))})
				}
				got, err := b.Answer(t.Context(), ag, p)
				if err != nil {
					t.Fatal(err)
				}
				read := backup.Requests()[0].Messages[1:]
				with := *ag
				with.Model, with.Compaction.MaxTokens = tt.handle, 0
				p.Turns = p.Turns[len(p.Turns)-len(read):]
				if n, most := budget.Prompt(tt.handle, p), budget.Of(&with); n > most {
					t.Errorf("it has %d tokens to read, and budget for %d", n, most)
				}
				if last := read[len(read)-1].Content; !strings.HasPrefix(last, fmt.Sprintf("turn %d ", tt.turns-1)) {
					t.Errorf("the last turn is %.20q", last)
				}
				spared, notes := tt.turns-len(read), strings.Join(got.Notes, "\n")
				if first := read[0].Content; tt.first == "" && spared > 0 || tt.first != "" && !strings.HasPrefix(first, tt.first+" ") {
					t.Errorf("%d turns are left out, the first that it reads is %.20q, want %q", spared, first, tt.first)
				}
				if note := fmt.Sprintf("the oldest turns (%d) were left out: the prompt was too long for %s", spared, tt.handle); strings.Contains(notes, note) != (spared > 0) {
					t.Errorf("notes %q", notes)
				}
				if n := len(b.server.Requests()[0].Messages) - 1; n != tt.turns {
					t.Errorf("the first model read %d turns of %d", n, tt.turns)
				}
			})
		})
	}
}
