package content

import (
	"io"
	"math"
	"mime/quotedprintable"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"wagent/gateway"
)

func (rd *reading) location() {
	m := rd.m.GetLocationMessage()
	rd.place(m.GetDegreesLatitude(), m.GetDegreesLongitude(), m.GetName(), m.GetAddress(), m.GetComment())
	rd.detail.set("name", m.GetName())
	rd.detail.set("address", m.GetAddress())
	rd.detail.set("url", m.GetURL())
	rd.detail.set("live", m.GetIsLive())
}

func (rd *reading) liveLocation() {
	m := rd.m.GetLiveLocationMessage()
	rd.place(m.GetDegreesLatitude(), m.GetDegreesLongitude(), "", "", m.GetCaption())
	rd.detail["live"] = true
}

// place fills in where something is: name, address (latitude, longitude).
func (rd *reading) place(latitude, longitude float64, name, address, comment string) {
	at := ""
	if sum := latitude + longitude; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
		at = strconv.FormatFloat(latitude, 'f', -1, 64) + ", " + strconv.FormatFloat(longitude, 'f', -1, 64)
		rd.detail.set("latitude", latitude)
		rd.detail.set("longitude", longitude)
	}
	where := join(", ", name, address)
	if where != "" && at != "" {
		at = "(" + at + ")"
	}
	rd.in.Type, rd.in.Text = gateway.TypeLocation, join("\n", join(" ", where, at), comment)
}

// A card is a contact that somebody shares.
type card struct {
	Name   string   `json:"name,omitempty"`
	Phones []string `json:"phones,omitempty"`
}

// contacts reads one shared contact or several, one to a line: name: phone,
// phone.
func (rd *reading) contacts() {
	shared := rd.m.GetContactsArrayMessage().GetContacts()
	if one := rd.m.GetContactMessage(); one != nil {
		shared = []*waE2E.ContactMessage{one}
	}
	var cards []card
	var lines []string
	for _, c := range shared[:min(len(shared), maxList)] {
		k := parseCard(c.GetVcard())
		if name := cut(c.GetDisplayName(), maxName); name != "" {
			k.Name = name // what the sender calls them
		}
		cards = append(cards, k)
		lines = append(lines, join(": ", k.Name, strings.Join(k.Phones, ", ")))
	}
	rd.in.Type, rd.in.Text = gateway.TypeContact, join("\n", lines...)
	rd.detail["contacts"] = cards
}

// maxCard and maxPhones bound what is read of a card.
const (
	maxCard   = 1 << 16
	maxPhones = 20
)

// parseCard reads name and phone numbers of a vCard: of versions 2.1 to 4.0, as
// far as phones write them.
func parseCard(text string) card {
	if len(text) > maxCard {
		text = text[:maxCard]
	}
	var c card
	structured := ""
	for line := range strings.SplitSeq(unfold(text), "\n") {
		head, value, ok := cutProperty(line)
		if !ok {
			continue
		}
		name, params, _ := strings.Cut(head, ";")
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			name = name[i+1:] // item1.TEL
		}
		params = strings.ToUpper(params)
		if strings.Contains(params, "QUOTED-PRINTABLE") {
			if raw, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(value))); err == nil {
				value = string(raw)
			}
		}
		switch strings.ToUpper(name) {
		case "FN":
			c.Name = cut(plainValue(value), maxName)
		case "N":
			structured = cut(structuredName(value), maxName)
		case "TEL":
			c.add(plainValue(value), params)
		}
	}
	if c.Name == "" {
		c.Name = structured
	}
	return c
}

// add adds a number, as it is written or else as WhatsApp knows it.
func (c *card) add(number, params string) {
	if len(number) >= 4 && strings.EqualFold(number[:4], "tel:") {
		number = number[4:]
	}
	if _, id, ok := strings.Cut(params, "WAID="); ok && number == "" {
		if id, _, _ = strings.Cut(id, ";"); digits(id) {
			number = "+" + id
		}
	}
	if number != "" && len(c.Phones) < maxPhones {
		c.Phones = append(c.Phones, cut(number, maxName))
	}
}

// unfold joins the lines that were broken: those that go on begin with a space
// (RFC 6350, section 3.2), or follow one that ends with an equals sign in the
// quoted-printable of vCard 2.1.
func unfold(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	text = strings.NewReplacer("\n ", "", "\n\t", "").Replace(text)
	lines := strings.Split(text, "\n")
	out := make([]string, 0, len(lines))
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		for strings.Contains(strings.ToUpper(line), "QUOTED-PRINTABLE") && strings.HasSuffix(line, "=") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "=") + lines[i]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// cutProperty cuts a line at the colon between a property and its value: the
// first that does not stand in quotes.
func cutProperty(line string) (head, value string, ok bool) {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == ':' && !quoted:
			return strings.TrimSpace(line[:i]), line[i+1:], true
		}
	}
	return "", "", false
}

var escapes = strings.NewReplacer(`\\`, `\`, `\,`, ",", `\;`, ";", `\n`, " ", `\N`, " ", "\n", " ")

func plainValue(s string) string { return strings.TrimSpace(escapes.Replace(s)) }

// structuredName turns family;given;middle;prefix;suffix into the name that
// people say.
func structuredName(s string) string {
	parts := make([]string, 5)
	for i, p := range strings.SplitN(strings.ReplaceAll(s, `\;`, ","), ";", 6) {
		if i < len(parts) {
			parts[i] = plainValue(p)
		}
	}
	return join(" ", parts[3], parts[1], parts[2], parts[0], parts[4])
}
