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
	"math"
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
func Count(handle, text string) int { return UpTo(handle, text, math.MaxInt) }

// UpTo is Count, but ends where there are more than so many tokens: then it
// returns a number that is larger than most, and has looked at little more of the
// text than those.
func UpTo(handle, text string, most int) int {
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
	n := 0
	for _, v := range vocabularies {
		if n <= most {
			n = max(n, count(v, text, most))
		}
	}
	if len(vocabularies) > 1 {
		n += (n + 4) / 5
	}
	return min(n, len(text))
}

// part is in bytes. Of text made to be slow (64 KiB of spaces and line ends by
// turns) the tokenizer takes seconds in one piece.
const part = 512

func count(v *codec.Codec, text string, most int) int {
	n := 0
	for len(text) > 0 && n <= most {
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

// PerTurn is what a provider adds to each turn, of role and delimiters. OpenAI's
// own formula has three, and three more for the answer's beginning
// (cookbook.openai.com, "How to count tokens with tiktoken"); the rest is for
// templates that are wordier.
const PerTurn = 8

// Turns returns how many tokens the turns are for a model.
func Turns(handle string, turns []transcript.Turn) int {
	n := 0
	for i := range turns {
		n += Count(handle, turns[i].Text) + PerTurn
	}
	return n
}

// Prompt returns how many tokens a whole prompt is for a model.
func Prompt(handle string, p prompt.Prompt) int {
	return Count(handle, p.System) + PerTurn + Turns(handle, p.Turns)
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

// Tail returns as much of a text's end as is at most so many tokens for a model,
// or hardly less. It is never empty unless the text is: one character stays. It
// looks at little more of the text than it returns.
func Tail(handle, text string, tokens int) string {
	if len(text) <= tokens || UpTo(handle, text, tokens) <= tokens {
		return text
	}
	_, size := utf8.DecodeLastRuneInString(text)
	last := len(text) - size
	// Back in steps that become smaller as there is less room.
	from, room := len(text), tokens
	for step := part; step > 0; {
		start := runeStart(text, max(from-step, 0))
		if n := Count(handle, text[start:from]); start < from && n <= room {
			from, room = start, room-n
		} else {
			step /= 2
		}
	}
	// The whole may be a few more than the sum of its steps.
	for from = min(from, last); from < last; from = min(runeStart(text, from+4), last) {
		if UpTo(handle, text[from:], tokens) <= tokens {
			break
		}
	}
	return text[from:]
}

// runeStart returns where the first character begins at i or after it.
func runeStart(text string, i int) int {
	for end := i + utf8.UTFMax; i < len(text) && i < end && !utf8.RuneStart(text[i]); {
		i++
	}
	return i
}
