package cloudapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"wagent/gateway"
)

// A change is one change of one entry of a POST: what happened to one number.
type change struct {
	waba   string
	field  string
	number string // Meta's phone number id, by which the account is found
	told   string // when Meta told it, for what has no time of its own
	value  object
}

// changesOf returns the changes that tell of messages or of templates' statuses,
// of all entries, and how many parts of the body were not what they should be.
// Other fields (reviews, quality) are left out.
func changesOf(body []byte) (out []change, malformed int) {
	envelope := objectOf(body)
	if envelope == nil {
		return nil, 1
	}
	for _, rawEntry := range envelope.list("entry") {
		entry := objectOf(rawEntry)
		if entry == nil {
			malformed++
		}
		for _, rawChange := range entry.list("changes") {
			c := objectOf(rawChange)
			value := c.object("value")
			if value == nil {
				malformed++
				continue
			}
			switch field := c.text("field"); field {
			case templateField:
				out = append(out, change{waba: entry.text("id"), field: field, told: entry.text("time"), value: value})
			case "messages", "smb_message_echoes", "message_echoes", "history", "":
				out = append(out, change{
					waba: entry.text("id"), field: field, value: value,
					number: value.object("metadata").text("phone_number_id"),
				})
			}
		}
	}
	return out, malformed
}

// size is how many messages the change carries.
func (c *change) size() int {
	return len(c.value.list("messages")) + len(c.value.list("message_echoes"))
}

// A reading is what a change says to one account.
type reading struct {
	inbound   []gateway.Inbound
	statuses  []gateway.StatusUpdate
	malformed int
	skipped   int
	unheeded  int      // statuses that we keep no record of
	errors    []string // Meta's codes of errors of the account as a whole
}

// read understands a change that belongs to account a.
func (c *change) read(a *gateway.Account, now time.Time) reading {
	rd := reader{
		account: a.ID,
		own:     digits(c.value.object("metadata").text("display_phone_number")),
		people:  newPeople(c.value.list("contacts")),
		now:     now,
	}
	if rd.own == "" {
		rd.own = digits(a.PhoneNumber)
	}
	messages := c.value.list("messages")
	rd.alone = len(messages) == 1
	origin := gateway.OriginLive
	if c.field == "history" {
		origin = gateway.OriginHistory
	}
	for _, raw := range messages {
		rd.message(raw, origin)
	}
	for _, raw := range c.value.list("message_echoes") {
		rd.message(raw, gateway.OriginEcho)
	}
	for _, rawChunk := range c.value.list("history") {
		chunk := objectOf(rawChunk)
		rd.fault(chunk.list("errors"))
		for _, rawThread := range chunk.list("threads") {
			for _, raw := range objectOf(rawThread).list("messages") {
				rd.message(raw, gateway.OriginHistory)
			}
		}
	}
	for _, raw := range c.value.list("statuses") {
		rd.status(raw)
	}
	rd.fault(c.value.list("errors"))
	return rd.reading
}

// A reader gathers the reading of one change.
type reader struct {
	reading

	account gateway.AccountID
	own     string // our number, digits only; may be empty
	people  people
	alone   bool // the change carries one message
	now     time.Time
}

func (rd *reader) fault(errs []json.RawMessage) {
	for _, raw := range errs {
		rd.errors = append(rd.errors, short(objectOf(raw).text("code")))
	}
}

// message reads one message. A message that is understood in part is kept as
// unsupported; one without an id or without an address can't be.
func (rd *reader) message(raw json.RawMessage, origin gateway.Origin) {
	m := objectOf(raw)
	in := gateway.Inbound{
		Account:    rd.account,
		ExternalID: m.text("id"),
		ReplyTo:    m.object("context").text("id"),
		SentAt:     sentAt(m.text("timestamp"), rd.now),
	}
	sender := addressOf(m.text("from"), m.text("from_user_id"))
	ours := rd.own != "" && digits(m.text("from")) == rd.own
	switch {
	case origin == gateway.OriginHistory && (ours || m.text("type") == "media_placeholder"):
		// Our own old words can't be told from the customer's on record, and
		// a placeholder's content follows under the same id.
		rd.skipped++
		return
	case ours && origin == gateway.OriginLive:
		origin = gateway.OriginEcho // some webhooks report them among the messages
	case origin == gateway.OriginLive && rd.now.Sub(in.SentAt) > liveFor:
		origin = gateway.OriginBacklog
	}
	in.Origin, in.Sender, in.Peer = origin, sender, sender
	if origin == gateway.OriginEcho {
		in.Peer = addressOf(m.text("to"), m.text("to_user_id"))
		if in.Sender == (gateway.Address{}) && rd.own != "" {
			in.Sender.Phone = "+" + rd.own
		}
	} else {
		in.SenderName, in.Sender = rd.people.complete(sender, rd.alone)
		in.Peer = in.Sender
	}
	if group := m.text("group_id"); group != "" {
		in.Peer = gateway.Address{Group: group}
	}
	if in.ExternalID == "" || in.Sender == (gateway.Address{}) || in.Peer == (gateway.Address{}) {
		rd.malformed++
		return
	}
	rd.content(&in, m)
	rd.inbound = append(rd.inbound, in)
}

// status reads one status update.
func (rd *reader) status(raw json.RawMessage) {
	s := objectOf(raw)
	u := gateway.StatusUpdate{
		Account:    rd.account,
		ExternalID: s.text("id"),
		Status:     gateway.SendStatus(s.text("status")),
		At:         sentAt(s.text("timestamp"), rd.now),
	}
	switch u.Status {
	case gateway.StatusSent, gateway.StatusDelivered, gateway.StatusRead:
	case gateway.StatusFailed:
		u.Reason = reasonOf(s.list("errors"))
	default: // deleted, warning, played and what Meta may think of
		rd.unheeded++
		return
	}
	if u.ExternalID == "" {
		rd.unheeded++
		return
	}
	// Other systems may send from the same number, with data of their own.
	if id := s.text("biz_opaque_callback_data"); strings.HasPrefix(id, "msg_") && len(id) <= 64 {
		u.Message = gateway.MessageID(id)
	}
	rd.statuses = append(rd.statuses, u)
}

// reasonOf is the code and the title of the first error that Meta gives.
func reasonOf(errs []json.RawMessage) string {
	if len(errs) == 0 {
		return "no reason given"
	}
	e := objectOf(errs[0])
	title := e.text("title")
	if title == "" {
		title = e.text("message")
	}
	return cut(strings.TrimSpace(e.text("code")+" "+title), 200)
}

// people are those that a change introduces, by number and by id.
type people struct {
	known map[string]person
	only  *person // when the change introduces one person
}

type person struct {
	name    string
	address gateway.Address
}

func newPeople(contacts []json.RawMessage) people {
	p := people{known: make(map[string]person, len(contacts))}
	for _, raw := range contacts {
		c := objectOf(raw)
		one := person{
			name:    c.object("profile").text("name"),
			address: addressOf(c.text("wa_id"), c.text("user_id")),
		}
		for _, alias := range one.address.Aliases() {
			p.known[alias] = one
		}
		if len(contacts) == 1 {
			p.only = &one
		}
	}
	return p
}

// complete returns the sender's name, and adds to the address what the change
// says of the same person. The number of the message wins: it is the one that
// an answer reaches.
func (p people) complete(a gateway.Address, alone bool) (name string, _ gateway.Address) {
	var found person
	for _, alias := range a.Aliases() {
		if one, ok := p.known[alias]; ok {
			found = one
			break
		}
	}
	if found == (person{}) && alone && p.only != nil {
		found = *p.only // a wa_id is not always the number
	}
	if a.Phone == "" {
		a.Phone = found.address.Phone
	}
	if a.LID == "" {
		a.LID = found.address.LID
	}
	return found.name, a
}

// addressOf reads a phone number as Meta writes it, digits only, and a
// business-scoped user id such as US.13491208655302741918, which stands in for
// the number of people who go by a user name. The id is kept as the LID, which
// no other Cloud API field fills; its letters and its dot keep the two apart.
func addressOf(phone, userID string) gateway.Address {
	var a gateway.Address
	if phone != "" && len(phone) <= 20 && digits(phone) == phone {
		a.Phone = "+" + phone
	}
	if isUserID(userID) {
		a.LID = userID
	}
	return a
}

// isUserID reports whether s has the form of a business-scoped user id: a
// country, a dot, and up to 128 letters and digits, for parent ids after ENT
// and a dot.
func isUserID(s string) bool {
	country, id, ok := strings.Cut(s, ".")
	if !ok || len(country) != 2 || id == "" || len(id) > 132 {
		return false
	}
	for _, r := range country + id {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '.' {
			return false
		}
	}
	return true
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

const (
	// liveFor is how old a message may be and still count as live: Meta tries
	// again within minutes when we were away.
	liveFor = 10 * time.Minute
	// A timestamp outside these bounds is no time of WhatsApp's.
	whatsAppBegan = 1230768000 // 2009-01-01
	clockSkew     = time.Hour
)

// sentAt reads seconds since 1970; now where they make no sense.
func sentAt(seconds string, now time.Time) time.Time {
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s < whatsAppBegan || s > now.Add(clockSkew).Unix() {
		return now.UTC().Truncate(time.Second)
	}
	return time.Unix(s, 0).UTC()
}

// cut shortens s to at most n characters.
func cut(s string, n int) string {
	i := 0
	for at := range s {
		if i == n {
			return s[:at]
		}
		i++
	}
	return s
}
