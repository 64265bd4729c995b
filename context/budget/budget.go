// Package budget counts the tokens of what a model reads, and says how many it
// may be given.
//
// Counting needs no network and keeps no state but the vocabularies, which are
// part of the binary and are made ready at their first use. OpenAI's are public
// and counted exactly; what others make of a text is estimated on the safe side.
// No text takes long: its parts are counted one by one, because the tokenizer's
// time grows with the square of some texts.
package budget

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tiktoken-go/tokenizer/codec"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/gateway"
)

var (
	o200k  = sync.OnceValue(codec.NewO200kBase)
	cl100k = sync.OnceValue(codec.NewCl100kBase)
)

// Count returns how many tokens the model of a handle makes of a text. It is
// exact for OpenAI's models (their vocabularies are o200k_base and, before
// GPT-4o, cl100k_base: github.com/openai/tiktoken, model.py), but for one token
// where a long text is counted in parts. For all others it is the larger of
// both counts and a fifth: their vocabularies are of between 100 and 262
// thousand entries, and what differs most between sizes is how much of the
// scripts beyond Latin stands in them, so that one of the two alone may be
// short by more than half (of our samples, Hindi). It is never more than the
// bytes, since no token of such a vocabulary is smaller than one.
func Count(handle, text string) int {
	_, name := split(handle)
	vocabularies := []*codec.Codec{}
	switch family(name) {
	case newer:
		vocabularies = append(vocabularies, o200k())
	case older:
		vocabularies = append(vocabularies, cl100k())
	default:
		vocabularies = append(vocabularies, o200k(), cl100k())
	}
	most := 0
	for _, v := range vocabularies {
		most = max(most, count(v, text))
	}
	if len(vocabularies) > 1 {
		most += (most + 4) / 5
	}
	return min(most, len(text))
}

// part is in bytes. Of text made to be slow (64 KiB of spaces and line ends by
// turns) the tokenizer takes seconds in one piece.
const part = 512

func count(v *codec.Codec, text string) int {
	n := 0
	for len(text) > 0 {
		end := len(text)
		if end > part {
			end = part
			for end > part-utf8.UTFMax && !utf8.RuneStart(text[end]) {
				end--
			}
			// A word that is not torn apart counts as it is.
			if i := strings.LastIndexByte(text[:end], ' '); i > end/2 {
				end = i
			}
		}
		c, err := v.Count(text[:end])
		if err != nil { // only where the expression that splits the text has a time limit, and ours has none
			c = end
		}
		n += c
		text = text[end:]
	}
	return n
}

// perTurn is what a provider adds to each turn, of role and delimiters. OpenAI's
// own formula has three, and three more for the answer's beginning
// (cookbook.openai.com, "How to count tokens with tiktoken"); the rest is for
// templates that are wordier.
const perTurn = 8

// Turns returns how many tokens the turns are for a model.
func Turns(handle string, turns []transcript.Turn) int {
	n := 0
	for i := range turns {
		n += Count(handle, turns[i].Text) + perTurn
	}
	return n
}

// Prompt returns how many tokens a whole prompt is for a model.
func Prompt(handle string, p prompt.Prompt) int {
	return Count(handle, p.System) + perTurn + Turns(handle, p.Turns)
}

// Fits reports whether a prompt has at most so many tokens. It counts only
// where its bytes do not tell: most prompts are far smaller than what a model
// reads, and every run asks.
func Fits(handle string, p prompt.Prompt, tokens int) bool {
	bytes := len(p.System) + perTurn
	for i := range p.Turns {
		bytes += len(p.Turns[i].Text) + perTurn
	}
	return bytes <= tokens || Prompt(handle, p) <= tokens
}

// Of returns how many tokens a prompt of an agent may have: what the agent says
// or, where it says nothing, what its model reads, less the answer with what is
// thought beside it, and a margin for the schema of the answer and for a repair.
func Of(a *gateway.Agent) int {
	if a.Compaction.MaxTokens > 0 {
		return a.Compaction.MaxTokens
	}
	window := Window(a.Model)
	return max(window-a.MaxTokens-a.Settings.ThinkingBudget-min(window/16+256, 4096), minimum)
}

// minimum is what a prompt may have however little is left: the rules of the
// answer alone are about 600 tokens.
const minimum = 1000

// Tail returns as much of a text's end as is at most so many tokens for a model.
// It is never empty unless the text is: one character stays.
func Tail(handle, text string, tokens int) string {
	runes := []rune(text)
	from, to := 0, max(len(runes)-1, 0) // the answer is the smallest start that fits
	for from < to {
		mid := (from + to) / 2
		if Count(handle, string(runes[mid:])) <= tokens {
			to = mid
		} else {
			from = mid + 1
		}
	}
	return string(runes[from:])
}
