package budget

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/gateway"
)

// Texts in five scripts, each of which says the same.
var samples = map[string]string{
	"English": "The guest in room 204 asks whether breakfast is served until eleven on Sundays. ",
	"German":  "Der Gast in Zimmer 204 möchte wissen, ob es sonntags bis elf Uhr Frühstück gibt. ",
	"Chinese": "204房间的客人想知道星期天早餐是否供应到十一点。",
	"Arabic":  "يسأل نزيل الغرفة 204 عما إذا كان الإفطار يقدم حتى الحادية عشرة يوم الأحد. ",
	"Hindi":   "कमरा 204 के मेहमान पूछते हैं कि रविवार को नाश्ता ग्यारह बजे तक मिलता है या नहीं। ",
}

// The counts are those of OpenAI's own library, tiktoken's README and its tests.
func TestCountIsExactForOpenAI(t *testing.T) {
	tests := map[string]struct {
		model, text string
		want        int
	}{
		"nothing is nothing":                    {"openai/gpt-4o", "", 0},
		"two words of the newer vocabulary":     {"openai/gpt-4o-mini", "hello world", 2},
		"two words of the older":                {"gpt-4", "hello world", 2},
		"the cookbook's sentence":               {"gpt-3.5-turbo", "tiktoken is great!", 6},
		"the cookbook's long word, older":       {"openai/gpt-4", "antidisestablishmentarianism", 6},
		"the cookbook's sum in the newer":       {"openai/gpt-4o", "2 + 2 = 4", 7},
		"the cookbook's Japanese, newer":        {"openai/gpt-4o", "お誕生日おめでとう", 8},
		"the cookbook's Japanese, in the older": {"openai/gpt-4-turbo", "お誕生日おめでとう", 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Count(tt.model, tt.text); got != tt.want {
				t.Errorf("Count = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAnUnknownVocabularyIsCountedOnTheSafeSide(t *testing.T) {
	for language, text := range samples {
		text = strings.Repeat(text, 20)
		n := Count("anthropic/claude-sonnet-4-5", text)
		for _, known := range []string{"gpt-4o", "gpt-4"} {
			if k := Count(known, text); float64(n) < 1.19*float64(k) {
				t.Errorf("%s: %d tokens, and %d for %s", language, n, k, known)
			}
		}
	}
	if n := Count("local/x", "a"); n != 1 {
		t.Errorf("one byte is %d tokens", n)
	}
}

func TestATextInPartsCountsAsMuchAsAWhole(t *testing.T) {
	for language, sentence := range samples {
		text := strings.Repeat(sentence, 100)
		whole, err := o200k().Count(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Count("gpt-4o", text); got < whole || float64(got) > 1.03*float64(whole) {
			t.Errorf("%s: %d in parts, %d in one", language, got, whole)
		}
	}
}

// Of spaces and lines the library takes a time that grows with the square of
// their length: a megabyte would take it longer than a test may run.
func TestTimeGrowsWithTheTextAlone(t *testing.T) {
	for name, unit := range map[string]string{
		"spaces": " ", "letters": "a", "capitals": "A", "emoji": "😀", "no UTF-8": "\xff", "marks": "e\u0301", "ideographs": "語",
	} {
		text := strings.Repeat(unit, 1<<14/len(unit))
		if n := Count("x/unknown", text); n < 1 || n > len(text) {
			t.Errorf("%s: %d tokens", name, n)
		}
	}
	if n := Count("x/unknown", strings.Repeat(" \n", 1<<19)); n < 1 {
		t.Errorf("a megabyte of spaces and lines: %d tokens", n)
	}
}

func TestWindow(t *testing.T) {
	for handle, want := range map[string]int{
		"gpt-4o-mini":                           128_000,
		"openai/gpt-4":                          8_192,
		"openai/gpt-4.1-nano":                   1_047_576,
		"openai/gpt-4-0125-preview":             128_000,
		"openai/gpt-5.2":                        272_000,
		"openai/o1-mini-2024-09-12":             128_000,
		"anthropic/claude-sonnet-4-5":           200_000,
		"openrouter/anthropic/claude-haiku-4.5": 200_000,
		"openrouter/google/Gemini-2.5-Pro":      1_048_576,
		"together/meta-llama/Llama-3.3-70B":     131_072,
		"groq/llama-3-8b":                       8_192,
		"ollama/llama-3.3":                      4_096,
		"vllm/our-own":                          8_192,
		"our-own":                               8_192,
	} {
		if got := Window(handle); got != want {
			t.Errorf("%s reads %d tokens, want %d", handle, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	a := gateway.DefaultAgent()
	for name, tt := range map[string]struct {
		change func(*gateway.Agent)
		want   int
	}{
		"what the model reads, less answer and margin": {func(*gateway.Agent) {}, 128_000 - 1024 - 4096},
		"less what it thinks":                          {func(a *gateway.Agent) { a.Settings.ThinkingBudget = 10_000 }, 128_000 - 1024 - 4096 - 10_000},
		"what the agent says":                          {func(a *gateway.Agent) { a.Compaction.MaxTokens = 3000 }, 3000},
		"a small window":                               {func(a *gateway.Agent) { a.Model = "ollama/x" }, 4096 - 1024 - 512},
		"never nothing":                                {func(a *gateway.Agent) { a.Model, a.Settings.ThinkingBudget = "ollama/x", 9000 }, 1000},
	} {
		b := a
		tt.change(&b)
		if got := Of(&b); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestUpToEndsWhereThereAreMore(t *testing.T) {
	for language, text := range samples {
		for _, model := range []string{"gpt-4o", "gpt-4", "x/y"} {
			n := Count(model, text)
			if got := UpTo(model, text, n); got != n {
				t.Errorf("%s, %s: up to %d it counts %d", language, model, n, got)
			}
			if got := UpTo(model, text, n-1); got < n {
				t.Errorf("%s, %s: up to %d it counts %d", language, model, n-1, got)
			}
			// Of many megabytes only the beginning is looked at.
			if got := UpTo(model, strings.Repeat(text, 1<<24/len(text)), n); got <= n || got > 4096 {
				t.Errorf("%s, %s: of 16 megabytes it counts %d", language, model, got)
			}
		}
	}
}

func TestTail(t *testing.T) {
	for language, text := range samples {
		text = strings.Repeat(text, 5)
		for _, budget := range []int{0, 1, 10, 50, 10_000} {
			got := Tail("gpt-4o", text, budget)
			n := Count("gpt-4o", got)
			if !strings.HasSuffix(text, got) || n > budget && utf8.RuneCountInString(got) != 1 || got == "" {
				t.Errorf("%s: of %d tokens the tail is %q, %d tokens", language, budget, got, n)
			}
			if budget == 10_000 && got != text {
				t.Errorf("%s: what fits was cut to %q", language, got)
			}
		}
	}
	long := strings.Repeat(samples["English"], 5000)
	if n := Count("gpt-4o", Tail("gpt-4o", long, 3000)); n > 3000 || n < 2900 {
		t.Errorf("of 3000 tokens the tail has %d", n)
	}
	if got := Tail("gpt-4o", "", 5); got != "" {
		t.Errorf("the tail of nothing is %q", got)
	}
}

func FuzzCount(f *testing.F) {
	for _, text := range samples {
		f.Add(text)
	}
	f.Add("\xff\xfe \n\t\x00")
	f.Fuzz(func(t *testing.T, text string) {
		for _, model := range []string{"gpt-4o", "gpt-4", "x/y"} {
			if n := Count(model, text); n < 0 || n > len(text) || n == 0 && text != "" {
				t.Errorf("%s makes %d tokens of %q", model, n, text)
			}
		}
	})
}

// A prompt of ten kilobytes: a system prompt and some turns.
func BenchmarkPrompt(b *testing.B) {
	text := strings.Repeat(samples["English"]+samples["German"], 10)
	p := prompt.Prompt{System: text}
	for i := range 30 {
		p.Turns = append(p.Turns, transcript.Turn{Text: fmt.Sprint(i, text[:280])})
	}
	for name, model := range map[string]string{"public": "gpt-4o", "estimated": "anthropic/claude-sonnet-4-5"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Prompt(model, p)
			}
		})
	}
}
