// Package scripted answers from rules instead of a language model: offline, at
// no cost and the same each time. It is the model of the embedded default, of
// the demo and of tests.
//
// A script is YAML, strict to the letter:
//
//	rules:
//	  - match: 'room (\d+)'              # RE2, case-insensitive, over the customer's text
//	    system_match: 'remember (?P<x>.*)' # the same over the system prompt; both must match
//	    output:
//	      intent: room_service
//	      confidence: 0.9
//	      actions: [{type: hospitality.room_service.request, payload: {room_number: "$1"}}]
//	      language: en
//	      suggested_reply: 'On its way to room $1.'
//	      analysis_summary: 'Wants: $text'
//	      context_summary: 'Room $1, $x'
//	    delay: 2s                        # waited first
//	  - match: 'bad day'
//	    error: unavailable               # or rate_limited, garbage, invalid_schema
//	default:
//	  output: {intent: other, confidence: 0.5}
//
// The first rule that matches answers, else the default. In the strings of an
// output $1 stands for a group of match, ${name} for a named group of either
// pattern, $text for the customer's text on one line, and $$ for a dollar
// sign. The customer's text is what stands between the fences of the last
// turn (see package prompt), or all of it where there are none; a repair turn
// is looked past, so that a rule which answers badly does it again.
//
// It keeps no state: the same request has the same answer after a crash.
package scripted

import (
	"context"
	_ "embed" // the built-in script
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

//go:embed default.yaml
var builtIn []byte

// Default returns the built-in script of the embedded default: a polite hotel
// desk that takes orders for a room, and remembers the room.
func Default() []byte { return append([]byte(nil), builtIn...) }

// A Model answers from a script. It is safe for concurrent use.
type Model struct{ script script }

// New reads a script. Its error names the line of the first fault.
func New(src []byte) (*Model, error) {
	s, err := parse(src)
	if err != nil {
		return nil, err
	}
	return &Model{script: *s}, nil
}

// Generate answers by the first rule that matches. See [llm.Model].
func (m *Model) Generate(ctx context.Context, r llm.Request) (llm.Response, error) {
	start := time.Now()
	text := customersText(&r)
	chosen, vars := m.choose(text, r.System)
	if err := wait(ctx, time.Duration(chosen.Delay)); err != nil {
		return llm.Response{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "scripted did not answer in time", Err: err}
	}
	resp := llm.Response{Model: r.Model, InputTokens: roughTokens(r.System)}
	for _, t := range r.Turns {
		resp.InputTokens += roughTokens(t.Text)
	}
	switch chosen.Error {
	case failRateLimited:
		return llm.Response{}, &gateway.Error{Kind: gateway.RateLimited, Msg: "scripted is told to be rate limited"}
	case failUnavailable:
		return llm.Response{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "scripted is told to be unavailable"}
	case failGarbage:
		resp.Text = "I had rather not answer in JSON today {"
	case failSchema:
		resp.Text = `{"intent": 7, "confidence": "high", "actions": {}}`
	default:
		resp.Text = chosen.Output.expand(vars)
	}
	resp.OutputTokens = roughTokens(resp.Text)
	resp.Latency = time.Since(start)
	return resp, nil
}

// choose returns the rule that answers and what its variables stand for.
func (m *Model) choose(text, system string) (*rule, map[string]string) {
	for i := range m.script.Rules {
		r := &m.script.Rules[i]
		vars := map[string]string{}
		if matches(r.Match.re, text, vars, true) && matches(r.System.re, system, vars, false) {
			vars["text"] = oneLine(text)
			return r, vars
		}
	}
	return m.script.Default, map[string]string{"text": oneLine(text)}
}

// matches reports whether re matches, and adds its groups to vars. A nil re
// matches everything.
func matches(re *regexp.Regexp, s string, vars map[string]string, numbered bool) bool {
	if re == nil {
		return true
	}
	groups := re.FindStringSubmatch(s)
	if groups == nil {
		return false
	}
	names := re.SubexpNames()
	for i, g := range groups {
		if numbered {
			vars[strconv.Itoa(i)] = g
		}
		if names[i] != "" {
			vars[names[i]] = g
		}
	}
	return true
}

// customersText returns what the customer wrote in the turn that is to be
// answered.
func customersText(r *llm.Request) string {
	turns := r.Turns
	if r.Repair && len(turns) >= 3 {
		turns = turns[:len(turns)-2]
	}
	for _, t := range slices.Backward(turns) {
		if t.Role == transcript.User {
			return unfence(t.Text)
		}
	}
	return ""
}

var fenceOpen = regexp.MustCompile(`(?m)^<<<DATA ([0-9a-f]+)>>>$`)

// unfence returns the data between the fences, joined by newlines; the whole
// text if there are none. The first fence's tag counts: a customer can not
// have written it.
func unfence(s string) string {
	tag := fenceOpen.FindStringSubmatch(s)
	if tag == nil {
		return s
	}
	var data []string
	rest := s
	for {
		_, after, ok := strings.Cut(rest, "<<<DATA "+tag[1]+">>>\n")
		if !ok {
			break
		}
		inside, next, ok := strings.Cut(after, "\n<<<END "+tag[1]+">>>")
		if !ok {
			break
		}
		data = append(data, inside)
		rest = next
	}
	return strings.Join(data, "\n")
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}

// expand returns the output as JSON with its variables filled in.
func (o *output) expand(vars map[string]string) string {
	fill := func(s string) string {
		return os.Expand(s, func(name string) string {
			if name == "$" {
				return "$"
			}
			return vars[name]
		})
	}
	out := gateway.Output{
		Intent: fill(o.Intent), Confidence: o.Confidence, Actions: []gateway.OutputAction{},
		Language: fill(o.Language), SuggestedReply: fill(o.SuggestedReply),
		AnalysisSummary: fill(o.AnalysisSummary), ContextSummary: strings.TrimSpace(fill(o.ContextSummary)),
	}
	for _, a := range o.Actions {
		payload, _ := expandValue(a.Payload, fill).(map[string]any)
		if payload == nil {
			payload = map[string]any{}
		}
		out.Actions = append(out.Actions, gateway.OutputAction{Type: fill(a.Type), Payload: payload})
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "" // New saw that it encodes; no string changes that
	}
	return string(b)
}

func expandValue(v any, fill func(string) string) any {
	switch v := v.(type) {
	case string:
		return fill(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = expandValue(v[i], fill)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = expandValue(v[k], fill)
		}
		return out
	default:
		return v
	}
}

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// roughTokens counts as if four characters were a token.
func roughTokens(s string) int { return (utf8.RuneCountInString(s) + 3) / 4 }
