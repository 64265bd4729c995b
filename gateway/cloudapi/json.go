package cloudapi

import (
	"bytes"
	"encoding/json"
	"strings"
)

// An object is a JSON object of Meta's, read field by field: a field of a type
// that nobody expected is as good as absent, and spoils no other field. The
// nil object has no fields.
type object map[string]json.RawMessage

func objectOf(raw json.RawMessage) object {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// text returns a string, or a number as it is written; empty for all else.
func (o object) text(key string) string {
	raw := o[key]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

func (o object) object(key string) object { return objectOf(o[key]) }

func (o object) list(key string) []json.RawMessage { return listOf(o[key]) }

func listOf(raw json.RawMessage) []json.RawMessage {
	var l []json.RawMessage
	if json.Unmarshal(raw, &l) != nil {
		return nil
	}
	return l
}

// canonical writes a stranger's JSON anew, so that every database takes it:
// PostgreSQL's jsonb refuses lone surrogates and escaped zero characters.
func canonical(raw json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	return encode(withoutZeros(v))
}

func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}

func withoutZeros(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = withoutZeros(v[i])
		}
	case map[string]any:
		for k, e := range v {
			clean := strings.ReplaceAll(k, "\x00", "")
			if clean != k {
				delete(v, k)
			}
			v[clean] = withoutZeros(e)
		}
	}
	return v
}
