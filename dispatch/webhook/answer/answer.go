// Package answer reads what endpoints answer to actions.
package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"wagent/gateway"
)

// maxReply is the longest text message that WhatsApp takes, in characters (Cloud
// API reference, text object: body).
const maxReply = 4096

// Read reads what an endpoint answered to an action: result, any JSON but
// null, and reply, a text, without what is secret of what we sent. It says what of
// these it ignores, and why. Whatever else there is, and a body that is no JSON object,
// is nothing to us.
func Read(d *gateway.Delivery, body []byte, hide func(string) string) (a gateway.ActionAnswer, ignored []string) {
	a = gateway.ActionAnswer{Run: d.Run, Index: d.Action, Webhook: d.Webhook, Again: d.Replayed > 0}
	var members map[string]json.RawMessage
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' || json.Unmarshal(trimmed, &members) != nil {
		return a, nil
	}
	var b bytes.Buffer
	if raw := members["result"]; len(raw) > 0 && string(raw) != "null" {
		_ = json.Compact(&b, raw) // it was decoded
		switch hidden := hide(strings.ToValidUTF8(b.String(), "\uFFFD")); {
		case b.Len() > gateway.MaxActionResult:
			ignored = append(ignored, fmt.Sprintf("result has %d bytes, and may have %d", b.Len(), gateway.MaxActionResult))
		case !json.Valid([]byte(hidden)):
			ignored = append(ignored, "result repeats a header of the webhook's as a number")
		default:
			a.Result = json.RawMessage(hidden)
		}
	}
	raw := members["reply"]
	if len(raw) == 0 || string(raw) == "null" {
		return a, ignored
	}
	var reply string
	switch err := json.Unmarshal(raw, &reply); {
	case err != nil:
		ignored = append(ignored, "reply is not a text")
	case utf8.RuneCountInString(reply) > maxReply:
		ignored = append(ignored, fmt.Sprintf("reply has more than %d characters", maxReply))
	default:
		a.Reply = strings.TrimSpace(strings.ReplaceAll(hide(reply), "\x00", ""))
	}
	return a, ignored
}
