package prompt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// tagDigits is how long a fence's tag is at first, in hexadecimal digits.
const tagDigits = 16

// A fence marks where data begins and ends.
type fence struct{ tag string }

// newFence returns a fence whose tag stands nowhere in the input.
func newFence(in *Input) fence {
	texts := []string{
		in.Agent.SystemPrompt, in.LastMessage, in.ContextSummary, string(in.Extra),
		in.Account.Name, in.Account.Phone, in.Contact.Name, in.Contact.Phone,
		string(in.Agent.ID), in.Now.String(),
	}
	for _, m := range in.Messages {
		texts = append(texts, m.Text)
	}
	for _, r := range in.RecentMessages {
		texts = append(texts, r.Text)
	}
	for _, b := range in.Agent.Blocks {
		texts = append(texts, b.Value)
	}
	for _, s := range []string{in.EarlierSummary, in.ContactMemory} {
		if s != "" {
			texts = append(texts, s)
		}
	}
	if in.LastAgentOutput != nil {
		texts = append(texts, encode(in.LastAgentOutput))
	}
	if len(in.ActionResults) > 0 {
		texts = append(texts, encode(in.ActionResults))
	}
	return fence{tag: newTag(texts, tagDigits)}
}

// Fenced returns each text between the two lines of one fence, whose tag stands
// in none of them: what strangers wrote, for a prompt that is not made of an
// [Input]. rules say what the fence means, and belong into the system prompt.
func Fenced(texts ...string) (fenced []string, rules string) {
	f := fence{tag: newTag(texts, tagDigits)}
	for _, t := range texts {
		fenced = append(fenced, f.around(t))
	}
	return fenced, fmt.Sprintf(dataRules, f.open(), f.close())
}

// newTag returns a tag of at least so many hexadecimal digits that occurs in
// none of the texts, in either case. It is made from the texts: the same ones
// give the same tag. It ends, because a tag grows with every few tries and no
// text is long enough to hold all the long ones.
func newTag(texts []string, digits int) string {
	h := sha256.New()
	for _, t := range texts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(t))))
		_, _ = h.Write([]byte(t))
	}
	sum := h.Sum(nil)
	for try := 0; ; try++ {
		tag := hex.EncodeToString(sum)[:min(digits+try/16, 2*sha256.Size)]
		if !slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), tag) }) {
			return tag
		}
		next := sha256.Sum256(sum)
		sum = next[:]
	}
}

func (f fence) open() string  { return "<<<DATA " + f.tag + ">>>" }
func (f fence) close() string { return "<<<END " + f.tag + ">>>" }

// around returns text between the fence's two lines.
func (f fence) around(text string) string { return f.open() + "\n" + text + "\n" + f.close() }
