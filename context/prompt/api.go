package prompt

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"wagent/context/transcript"
	"wagent/gateway"
)

// FromAPI reads the input of a run that was made over the API: any JSON. Of an
// object, last_message (a string) and recent_messages (strings, or objects
// {role, text}) are recognised, content being another name for text; a bare
// string is a last message. Everything else is kept in Extra and shown to the
// model as data. The error is of kind Invalid, if raw is no JSON.
//
// Strings among recent_messages are the user's, as are roles but assistant.
func FromAPI(raw json.RawMessage) (Input, error) {
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return Input{}, &gateway.Error{Kind: gateway.Invalid, Msg: "input is not JSON"}
	}
	var in Input
	if s, ok := text(raw); ok {
		return Input{LastMessage: s}, nil
	}
	if raw[0] != '{' {
		return Input{Extra: compact(raw)}, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return Input{}, &gateway.Error{Kind: gateway.Invalid, Msg: "input is not JSON", Err: err}
	}
	if s, ok := text(object["last_message"]); ok {
		in.LastMessage = s
		delete(object, "last_message")
	}
	if recent, ok := recents(object["recent_messages"]); ok {
		in.RecentMessages = recent
		delete(object, "recent_messages")
	}
	if len(object) > 0 {
		in.Extra = json.RawMessage(encode(object))
	}
	return in, nil
}

// recents reads recent_messages. It reports false where an entry is not
// understood: then the list is shown as it came rather than in part.
func recents(raw json.RawMessage) ([]Recent, bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, false
	}
	out := make([]Recent, 0, len(list))
	for _, entry := range list {
		r, ok := recent(entry)
		if !ok {
			return nil, false
		}
		out = append(out, r)
	}
	return out, true
}

func recent(raw json.RawMessage) (Recent, bool) {
	if s, ok := text(raw); ok {
		return Recent{Role: transcript.User, Text: s}, true
	}
	var entry struct {
		Role    string  `json:"role"`
		Text    *string `json:"text"`
		Content *string `json:"content"`
		At      string  `json:"at"`
	}
	if json.Unmarshal(raw, &entry) != nil {
		return Recent{}, false
	}
	body := entry.Text
	if body == nil {
		body = entry.Content
	}
	if body == nil {
		return Recent{}, false
	}
	r := Recent{Role: transcript.User, Text: *body}
	if strings.EqualFold(entry.Role, string(transcript.Assistant)) {
		r.Role = transcript.Assistant
	}
	if at, err := time.Parse(time.RFC3339, entry.At); err == nil {
		r.At = at
	}
	return r, true
}

// text returns a JSON string's value; null and every other type are not text.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
