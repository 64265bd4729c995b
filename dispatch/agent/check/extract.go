package check

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
)

// maxText is how much of a model's text is looked into. An answer of 2,048
// tokens is some 10 KiB.
const maxText = 256 << 10

// maxStarts is how many opening braces are tried as the start of an answer,
// so that a text of braces costs no more than one of words.
const maxStarts = 64

var (
	errNoObject  = errors.New("the answer must be one complete JSON object")
	errTwo       = errors.New("the answer must be one JSON object, not several")
	errRepeated  = errors.New("no object of the answer may have a member twice")
	errTooLong   = errors.New("the answer must be shorter")
	errOverflows = errors.New("a number is too large")
)

// extract returns the JSON object that a model's text holds, as
// encoding/json decodes it into a map. Around it are tolerated a byte order
// mark, a code fence, words, a reasoning model's thoughts, and JSON that was
// encoded twice.
//
// Between words an object counts only if it looks like an answer, and only
// one may: a model may quote what a customer wrote, and then nobody can tell
// which of two is the answer. For the same reason nothing is taken out of an
// object that is broken. One that has a member twice is returned together with
// errRepeated; the object is nil with every other error.
func extract(text string) (map[string]any, error) {
	if len(text) > maxText {
		return nil, errTooLong
	}
	text = trim(text)
	if thoughts, said, ok := strings.Cut(text, "</think>"); ok && !strings.HasPrefix(text, "{") {
		// The first end counts, and only if no answer stands before it: what a
		// customer wrote may hold the mark, and must not cut the answer off.
		if !strings.HasPrefix(text, "<think>") {
			if _, err := among(thoughts); !errors.Is(err, errNoObject) || strings.Contains(thoughts, `"intent"`) {
				return nil, errTwo
			}
		}
		text = trim(said)
	}
	text = unfence(text)
	var whole any
	if err := json.Unmarshal([]byte(text), &whole); err == nil {
		switch v := whole.(type) {
		case map[string]any:
			return v, repeated(text)
		case string: // encoded twice
			var inner map[string]any
			if json.Unmarshal([]byte(v), &inner) == nil && inner != nil {
				return inner, repeated(v)
			}
			return nil, errNoObject
		}
	} else if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// The only type that any does not take: a number beyond float64.
		return nil, errOverflows
	}
	return among(text)
}

// trim removes white space and a byte order mark.
func trim(s string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), "\uFEFF"))
}

// unfence removes a Markdown code fence around the whole text.
func unfence(s string) string {
	inner, ok := strings.CutPrefix(s, "```")
	if !ok {
		return s
	}
	inner, ok = strings.CutSuffix(inner, "```")
	if !ok {
		return s
	}
	if nl := strings.IndexByte(inner, '\n'); nl >= 0 && !strings.ContainsAny(inner[:nl], "{[\"") {
		inner = inner[nl+1:] // the language
	}
	return trim(strings.TrimPrefix(strings.TrimSpace(inner), "json"))
}

// aside is what a model may put in braces that is no object, not even part of
// one.
var aside = regexp.MustCompile(`^\{+[^{}"':]*\}+`)

// among finds the one answer between words.
func among(text string) (map[string]any, error) {
	var found map[string]any
	var raw string
	for range maxStarts {
		i := strings.IndexByte(text, '{')
		if i < 0 {
			break
		}
		text = text[i:]
		var object map[string]any
		dec := json.NewDecoder(strings.NewReader(text))
		if dec.Decode(&object) != nil {
			// What follows may be a part of it: of a text that it quotes, say.
			words := aside.FindString(text)
			if words == "" {
				return nil, errNoObject
			}
			text = text[len(words):]
			continue
		}
		end := dec.InputOffset()
		if looksLikeAnswer(object) {
			if found != nil {
				return nil, errTwo
			}
			found, raw = object, text[:end]
		}
		text = text[end:]
	}
	if found == nil {
		return nil, errNoObject
	}
	return found, repeated(raw)
}

// repeated returns an error if any object in a JSON text has a member twice:
// encoding/json takes the last one, whoever reads the log may see the first.
func repeated(text string) error {
	type level struct {
		names map[string]bool // nil: an array
		named bool            // a member's name was read, and its value is next
	}
	var open []level
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errNoObject
		}
		if in := len(open) - 1; in >= 0 && open[in].names != nil && token != json.Delim('}') {
			if name, ok := token.(string); ok && !open[in].named {
				if open[in].names[name] {
					return errRepeated
				}
				open[in].names[name], open[in].named = true, true
				continue
			}
			open[in].named = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}

func looksLikeAnswer(object map[string]any) bool {
	_, intent := object["intent"]
	_, reply := object["suggested_reply"]
	return intent && reply
}

// clean removes U+0000 from every string, since PostgreSQL stores none, and
// members whose names have it, and returns v. Decoding has replaced what is no
// UTF-8 already.
func clean(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = clean(v[i])
		}
		return v
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, "\x00") {
				delete(v, k)
				continue
			}
			v[k] = clean(e)
		}
		return v
	default:
		return v
	}
}
