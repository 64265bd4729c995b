//go:build watest

package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"wagent/gateway/whatsapp/watest"
)

// These tests run the built program against a WhatsApp on the real wire. What
// is asserted afterwards is always the same: everybody was answered, once, in
// the order in which they wrote.

func TestLinkedPairReceiveAnswer(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"embedded": true, "postgres and redis": false} {
		t.Run(name, func(t *testing.T) {
			r := newPhoneRig(t, embedded, echo, 0)
			r.link()
			people := r.people(4)
			wrote := map[*watest.Person][]string{}
			for i, who := range people {
				word := fmt.Sprint("hello", i)
				who.Text(word)
				wrote[who] = append(wrote[who], word)
			}
			r.must(r.device.Settled(r.ctx))
			r.settled(time.Minute)
			r.answered(people, wrote)
		})
	}
}

// TestLinkedKilledAgainAndAgain kills the process at random moments while 50
// people write 200 messages.
func TestLinkedKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string]bool{"embedded": true, "postgres and redis": false} {
		t.Run(name, func(t *testing.T) {
			r := newPhoneRig(t, embedded, echo, 0)
			r.link()
			r.storm(50, 200, func(n int) {
				if n%15 == 14 {
					r.pause(time.Duration(rand.IntN(1500)) * time.Millisecond)
					r.crash()
				}
			})
		})
	}
}

func TestLinkedHandlersPanicAndConnectionsAreCut(t *testing.T) {
	r := newPhoneRig(t, true, echo, 7)
	r.link()
	r.storm(50, 200, func(n int) {
		switch n % 20 {
		case 7:
			r.wa.Cut(r.device)
		case 17:
			r.wa.CutBefore(r.device, "receipt")
		}
	})
}

// storm has people write messages, one after another, with trouble between
// them, and checks in the end that everybody was answered.
func (r *phoneRig) storm(people, messages int, trouble func(n int)) {
	r.Helper()
	all := r.people(people)
	wrote := map[*watest.Person][]string{}
	for n := range messages {
		who := all[rand.IntN(len(all))]
		word := fmt.Sprintf("w%03d", n)
		who.Text(word)
		wrote[who] = append(wrote[who], word)
		r.pause(20 * time.Millisecond)
		trouble(n)
	}
	r.must(r.device.Settled(r.ctx))
	r.settled(2 * time.Minute)
	r.answered(all, wrote)
}

// pause lets real processes go on for a while.
func (r *phoneRig) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

func TestLinkedBacklogAndHistory(t *testing.T) {
	r := newPhoneRig(t, true, echo, 0)
	known := r.wa.Contact("491519999999", watest.Name("Known"))
	var old []string
	for i := range 5000 {
		old = append(old, fmt.Sprint("old", i))
	}
	r.phone.Remember(known, old...)
	r.link()
	r.must(r.device.Settled(r.ctx))
	r.settled(time.Minute)
	if n := len(r.model.Requests()); n != 0 {
		t.Fatalf("%d runs were made of history", n)
	}
	r.proc.kill()
	r.must(r.device.Offline(r.ctx))
	people := r.people(25)
	wrote := map[*watest.Person][]string{}
	for n := range 500 {
		who := people[n%len(people)]
		word := fmt.Sprintf("w%03d", n)
		who.Text(word)
		wrote[who] = append(wrote[who], word)
	}
	r.proc = r.start()
	r.must(r.device.Settled(r.ctx))
	r.settled(2 * time.Minute)
	for i, who := range people {
		got := r.answers(who)
		if len(got) != 1 {
			t.Errorf("person %d wrote 20 messages while we were away and was answered %d times: %v", i, len(got), got)
		}
		if w := words(got); len(w) != len(wrote[who]) {
			t.Errorf("person %d was answered to %v, and wrote %v", i, w, wrote[who])
		}
	}
}
