package main

import (
	"slices"
	"strings"

	"wagent/gateway"
)

// prove checks what is on record, and what customers got.
func (c *chaos) prove() {
	c.Helper()
	said, answers := c.said(), c.answers()
	byRun := map[string]*reply{}
	for _, a := range answers {
		byRun[a.id] = a
	}
	byPhone := c.heard(said, byRun)
	for _, p := range c.people {
		c.onRecord(p, byPhone["+"+p.Phone])
	}
	c.inOrder(answers)
	twice := c.reached(answers)
	unknown := c.stepped()
	for _, p := range c.model.Problems() {
		c.Errorf("a real provider would refuse this request: %s", p)
	}
	claims, superseded := 0, 0
	for _, a := range answers {
		claims, superseded = claims+a.claims, superseded+a.superseded
		if most := mostSuperseded(a.account); a.superseded > most {
			c.Errorf("run %s of %s was superseded %d times, want at most %d", a.id, a.account, a.superseded, most)
		}
	}
	if superseded == 0 && len(c.people) >= 100 {
		c.Errorf("nobody superseded any of %d runs", len(answers))
	}
	c.Logf("%v; %d messages of %d people, %d runs, claimed %d times and superseded %d times; %d attempts to send ended unknown, %d answers came twice",
		c, len(said), len(c.people), len(answers), claims, superseded, unknown, twice)
}

// heard checks that each message is in a run of the same person, and that runs
// hold what was written in one piece. It returns the messages of each person.
func (c *chaos) heard(all []said, byRun map[string]*reply) map[string][]said {
	c.Helper()
	byPhone := map[string][]said{}
	for _, m := range all {
		before := byPhone[m.phone]
		byPhone[m.phone] = append(before, m)
		a := byRun[m.run]
		if m.state != "batched" || a == nil || a.phone != m.phone {
			c.Errorf("message %s of %s is %s, in run %q", m.text, m.phone, m.state, m.run)
			continue
		}
		if len(a.words) > 0 && before[len(before)-1].run != m.run {
			c.Errorf("message %s is in run %s, and what came before it in a later one", m.text, m.run)
		}
		a.words = append(a.words, m)
	}
	return byPhone
}

// onRecord checks that all that a person wrote is there, once and in their order.
// What nobody acknowledged may be there, at any place.
func (c *chaos) onRecord(p *person, all []said) {
	c.Helper()
	var taken []string
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.text] {
			c.Errorf("%s is on record twice", m.text)
		}
		seen[m.text] = true
		if !slices.Contains(p.lost, m.text) {
			taken = append(taken, m.text)
		}
	}
	if !slices.Equal(taken, p.taken) {
		c.Errorf("%s wrote %v, on record is %v", p.Phone, p.taken, taken)
	}
}

// inOrder checks each run, the oldest first: it ended once and well, with an
// answer to just its own messages, and the next one of its conversation began
// after it, with what was written later.
func (c *chaos) inOrder(answers []*reply) {
	c.Helper()
	last := map[string]*reply{}
	for _, a := range answers {
		var words []string
		for _, m := range a.words {
			words = append(words, m.text)
		}
		if want := "re: " + strings.Join(words, " "); a.status != "completed" || a.ends != 1 || a.text != want {
			c.Errorf("run %s of %v is %s, ended %d times, and says %q; want completed, once, %q", a.id, words, a.status, a.ends, a.text, want)
		}
		if a.sends != 1 || a.state != string(gateway.SendAccepted) {
			c.Errorf("run %s of %v has %d sends, one of them %s; want one, accepted", a.id, words, a.sends, a.state)
		}
		b := last[a.phone]
		if b != nil && len(a.words)*len(b.words) > 0 && (a.created < b.completed || a.words[0].seq < b.words[len(b.words)-1].seq) {
			c.Errorf("run %s of %v began before an earlier one of its conversation was over", a.id, words)
		}
		last[a.phone] = a
	}
}

// reached checks what reached the customers of the Cloud API: each answer once,
// or once more for each attempt that ended unknown and of which Meta told
// nothing, and none after the answer to something later. It returns how many came
// twice.
func (c *chaos) reached(answers []*reply) (twice int) {
	c.Helper()
	bySend := map[string]*reply{}
	for _, a := range answers {
		bySend[a.send] = a
	}
	last := map[string]int64{}
	for _, s := range c.graph.Sent() {
		a := bySend[s.CallbackData]
		if a == nil || a.phone != "+"+s.To || a.text != s.Text || s.PhoneNumberID != numbers[a.account].PhoneNumberID {
			c.Errorf("%s got %q, which is no answer to them", s.To, s.Text)
			continue
		}
		a.reached++
		if a.seq < last[a.phone] {
			c.Errorf("%s got %q after the answer to something later", s.To, s.Text)
		}
		last[a.phone] = a.seq
	}
	for _, a := range answers {
		if _, ok := numbers[a.account]; !ok {
			continue
		}
		most := 1
		if a.account != toldAccount {
			most += a.unknowns
		}
		if a.reached < 1 || a.reached > most {
			c.Errorf("%s got %q %d times, want 1 to %d", a.phone, a.text, a.reached, most)
		}
		twice += a.reached - 1
	}
	return twice
}

// stepped checks the steps of all sends: nothing is sent again before the end of
// its quarantine or once it was accepted, and within a conversation nothing before
// what was said earlier. It returns how many attempts ended unknown, all of which
// must be counted.
func (c *chaos) stepped() (unknown int) {
	c.Helper()
	last := map[string]int64{}
	afterwards := 0 // when nobody was killed any more
	for _, s := range c.steps() {
		switch {
		case s.was == string(gateway.SendAccepted):
			c.Errorf("send %s was accepted and became %s", s.send, s.becomes)
		case s.was == string(gateway.SendUnknown) && s.becomes == string(gateway.SendReady):
			if early := s.deadline + gateway.SendQuarantine.Milliseconds() - s.at; early > 0 {
				c.Errorf("send %s was ready again %d ms before the end of its quarantine", s.send, early)
			}
		case s.becomes == string(gateway.SendUnknown):
			unknown++
			if s.at > c.ended.UnixMilli() {
				afterwards++
			}
		case s.becomes == string(gateway.SendClaimed):
			if s.seq < last[s.conversation] {
				c.Errorf("send %s was claimed after a later one of its conversation", s.send)
			}
			last[s.conversation] = s.seq
		}
	}
	counted := 0
	for _, p := range c.replicas {
		c.proc = p
		counted += int(c.metrics()[`wagent_replies_total{outcome="unknown"}`])
	}
	if counted < afterwards || counted > unknown {
		c.Errorf("the replicas counted %d unknown ends; there were %d, %d of them since the replicas were last started", counted, unknown, afterwards)
	}
	return unknown
}
