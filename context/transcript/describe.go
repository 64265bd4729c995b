package transcript

import (
	"encoding/json"
	"strconv"
	"strings"

	"wagent/gateway"
)

// Describe returns what somebody reading the conversation would see of m: the
// text, with media and the like named in square brackets before it ("[image]
// caption", "[voice message]", "[location: 48.85, 2.35, Tour Eiffel]"). It is
// never empty, and holds no more of Detail than a line. An edit that did not
// find its message waiting says that it is one ("[edited an earlier message]
// new text"), and the row of a deletion that something was deleted.
//
// Of Detail it reads, where they stand at the top or under the type's name as
// the Cloud API has them: latitude, longitude, name, address, filename, voice
// and emoji. A Detail of another form describes nothing and does no harm.
func Describe(m *gateway.Message) string {
	switch m.Change {
	case gateway.Edit:
		return "[edited an earlier message] " + describe(m)
	case gateway.Revoke:
		return "[deleted an earlier message]"
	default:
		return describe(m)
	}
}

func describe(m *gateway.Message) string {
	if m.Type == gateway.TypeText || m.Type == "" {
		if text := strings.TrimSpace(m.Text); text != "" {
			return text
		}
		return "[empty message]"
	}
	text := strings.TrimSpace(m.Text)
	label := label(m.Type, readDetail(m))
	if text == "" {
		return "[" + label + "]"
	}
	switch m.Type {
	case gateway.TypeInteractive, gateway.TypeButton:
		return text // the title that was tapped reads like an answer
	case gateway.TypeLocation, gateway.TypeReaction:
		return "[" + with(string(m.Type), text) + "]" // an edge's own words for the place or the emoji
	default:
	}
	if strings.HasSuffix(label, ": "+text) {
		return "[" + label + "]" // a file without a caption has its name twice
	}
	return "[" + label + "] " + text
}

// label says what a message is, without its brackets.
func label(t gateway.MessageType, d detail) string {
	switch t {
	case gateway.TypeAudio:
		if d.Voice {
			return "voice message"
		}
		return "audio"
	case gateway.TypeDocument:
		return with("document", d.Filename)
	case gateway.TypeLocation:
		return with("location", d.place())
	case gateway.TypeReaction:
		return with("reaction", d.Emoji)
	case gateway.TypeInteractive, gateway.TypeButton:
		return "tapped button"
	case gateway.TypeUnsupported:
		return "message of a type that can't be shown"
	case gateway.TypeSystem:
		return "system message"
	default: // image, video, sticker, contact, order: the type's name says it
		return line(string(t))
	}
}

func with(label, what string) string {
	if what = line(what); what == "" {
		return label
	}
	return label + ": " + what
}

// detail is what is read of a message's Detail.
type detail struct {
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
	Name      string   `json:"name"`
	Address   string   `json:"address"`
	Filename  string   `json:"filename"`
	Voice     bool     `json:"voice"`
	Emoji     string   `json:"emoji"`
}

func readDetail(m *gateway.Message) detail {
	var nested map[string]json.RawMessage
	raw := m.Detail
	if json.Unmarshal(raw, &nested) == nil {
		if inner := nested[string(m.Type)]; len(inner) > 0 && inner[0] == '{' {
			raw = inner
		}
	}
	var d detail
	if json.Unmarshal(raw, &d) != nil {
		return detail{}
	}
	return d
}

func (d *detail) place() string {
	var parts []string
	if d.Latitude != nil && d.Longitude != nil {
		parts = append(parts, coordinate(*d.Latitude), coordinate(*d.Longitude))
	}
	for _, s := range []string{d.Name, d.Address} {
		if s = line(s); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

func coordinate(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// line makes a label's part out of a stranger's text: one line of at most 120
// characters that can not close its bracket.
func line(s string) string {
	s = strings.Join(strings.Fields(strings.NewReplacer("[", "(", "]", ")").Replace(s)), " ")
	if r := []rune(s); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return s
}
