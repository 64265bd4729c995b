//go:build watest

package devices_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway/whatsapp/watest"
)

func TestPairReceiveRestartReceive(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		r := newRig(t, cfg)
		ada := r.s.Contact("491510000002", watest.LID("77000000000002"), watest.Name("Ada"))
		first := ada.Text("first")
		r.must(first.Acked(r.ctx))
		r.hangUp()
		r.must(r.devices.Close())
		second := ada.Text("second") // while nobody is there
		r.open()
		r.redial()
		r.must(second.Acked(r.ctx))
		third := ada.Text("third")
		r.must(third.Acked(r.ctx))
		for m, want := range map[*watest.Sent]string{first: "first", second: "second", third: "third"} {
			if got := r.received()[m.ID]; got != want {
				t.Errorf("%s is %q, want %q", m.ID, got, want)
			}
		}
	})
}

// An arrival is a way in which messages of a person come. It does what goes
// before, and returns how the message is sent.
type arrival func(r *rig, p *watest.Person) (send func(text string) *watest.Sent)

// known is an arrival after another message came in the same way.
func known(a arrival) arrival {
	return func(r *rig, p *watest.Person) func(string) *watest.Sent {
		send := a(r, p)
		r.must(send("before").Acked(r.ctx))
		return send
	}
}

func direct(r *rig, p *watest.Person) func(string) *watest.Sent {
	return p.To(r.phone).Text
}

func inGroup(r *rig, p *watest.Person) func(string) *watest.Sent {
	return p.In(r.s.Group("staff", r.phone, p)).Text
}

func byPhone(r *rig, p *watest.Person) func(string) *watest.Sent {
	return r.phone.To(p).Text
}

// joining is a message that tells the LID of somebody who has a session under a
// number, so that the library moves the session.
func joining(r *rig, p *watest.Person) func(string) *watest.Sent {
	p.Addressed(types.AddressingModePN, false)
	send := known(direct)(r, p)
	return func(text string) *watest.Sent {
		p.Addressed(types.AddressingModePN, true)
		return send(text)
	}
}

// secret is a message that carries a key for later ones.
func secret(r *rig, p *watest.Person) func(string) *watest.Sent {
	return func(text string) *watest.Sent { return p.To(r.phone).Poll(text, "yes", "no") }
}

var arrivals = map[string]arrival{
	"first message of a person":         direct,
	"message of somebody known":         known(direct),
	"first message of a group":          inGroup,
	"message of a known group":          known(inGroup),
	"copy of the phone's first message": byPhone,
	"copy of the phone's next message":  known(byPhone),
	"message that joins two addresses":  joining,
	"message with a secret":             known(secret),
}

// Whatever operation of the database fails while a message arrives, the message
// arrives in the end, and WhatsApp hears only then that it did.
func TestNoDatabaseErrorLosesAMessage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		r := newRig(t, cfg)
		when := []bool{false, true}
		if cfg.URL != "" {
			when = when[:1] // the library does not know the difference, and it takes longer
		}
		for _, name := range slices.Sorted(maps.Keys(arrivals)) {
			for _, late := range when {
				n := 1
				for r.arrives(arrivals[name], n, late) {
					n++
				}
				t.Logf("%s (late %t): each of %d operations failed", name, late, n-1)
				if n < 10 {
					t.Errorf("%s: only %d operations failed", name, n-1)
				}
			}
		}
	})
}

// arrives lets a message of a new person arrive while the n-th operation fails.
// It reports whether one did.
func (r *rig) arrives(a arrival, n int, late bool) (failed bool) {
	r.t.Helper()
	r.people++
	p := r.s.Contact(strconv.Itoa(491520000000+r.people), watest.LID(strconv.Itoa(88000000000000+r.people)), watest.Name("Ada"))
	send := a(r, p)
	r.quiet()
	text := fmt.Sprintf("hello %d", r.people)
	r.gremlin.arm(n, late)
	m := send(text)
	ended := r.delivered(m)
	got, failed := r.received()[m.ID], r.gremlin.disarm()
	if failed && ended == 0 { // of what the library does on the side, or did for the connection before
		r.await("the end of the connection", r.line.ctx.Done(), r.gremlin.givenUp())
		if r.line.ctx.Err() != nil {
			r.redial()
		}
	}
	if got != text {
		r.t.Errorf("operation %d (late %t) fails: acknowledged is %q, want %q", n, late, got, text)
	}
	if lost := r.lost(); len(lost) > 0 {
		r.t.Fatalf("operation %d (late %t) fails: %v can not be decrypted", n, late, lost)
	}
	return failed
}

// givenUp is closed once whoever wanted the operation that failed wants it no more.
func (g *gremlin) givenUp() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hit.Done()
}

// Without Broke the library acknowledges messages that it could not decrypt:
// were this test to fail, the one above would prove nothing.
func TestTheLibraryLosesMessagesOfConnectionsThatGoOn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		r := newRig(t, cfg)
		r.redialDeaf()
		ada := r.s.Contact("491510000002", watest.LID("77000000000002"), watest.Name("Ada"))
		send := known(direct)(r, ada)
		r.quiet()
		r.gremlin.arm(3, false)
		m := send("hello")
		r.must(m.Acked(r.ctx))
		if got := r.received()[m.ID]; got != "" || len(r.lost()) == 0 {
			t.Errorf("it was received as %q, and %v are lost", got, r.lost())
		}
	})
}
