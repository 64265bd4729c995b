package content

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// What a message may hold, in characters but for maxDetail. WhatsApp's own apps
// write no more than maxText; what strangers send is cut.
const (
	maxText   = 65536
	maxName   = 255 // of a person, a file, an id
	maxValue  = 4096
	maxList   = 100     // contacts, options, buttons
	maxDetail = 1 << 16 // bytes of JSON
)

// cut makes a stranger's text safe to keep: valid UTF-8 without the zero
// character, which PostgreSQL refuses in text and in JSON, and at most n
// characters of it.
func cut(s string, n int) string {
	if len(s) > utf8.UTFMax*n {
		s = s[:utf8.UTFMax*n] // enough for n characters, and cheap
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// join joins those of parts that say something.
func join(sep string, parts ...string) string {
	out := make([]string, 0, len(parts))
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}

// A detail is what a type has beyond its text.
type detail map[string]any

// set adds a value, unless it is nothing: empty, zero, false or no number.
func (d detail) set(key string, value any) {
	switch v := value.(type) {
	case string:
		value = cut(v, maxValue)
	case []string:
		if value = cutAll(v, maxValue); len(v) == 0 {
			return
		}
	case float64: // a zero is one
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			d[key] = v
		}
		return
	}
	if reflect.ValueOf(value).IsZero() {
		return
	}
	d[key] = value
}

func cutAll(list []string, n int) []string {
	out := make([]string, 0, min(len(list), maxList))
	for _, s := range list[:cap(out)] {
		out = append(out, cut(s, n))
	}
	return out
}

// encode writes d as JSON. Of what is too large only the kind is left.
func (d detail) encode() json.RawMessage {
	if len(d) == 0 {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil || b.Len() > maxDetail {
		return detail{"kind": d["kind"], "truncated": true}.encode()
	}
	return bytes.TrimSpace(b.Bytes())
}
