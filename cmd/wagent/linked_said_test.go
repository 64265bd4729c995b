//go:build watest

package main

import (
	"net/http"
	"testing"
	"time"
)

// TestLinkedPeopleWriteOverTheAPI: to somebody who never wrote, and how far it got
// is told.
func TestLinkedPeopleWriteOverTheAPI(t *testing.T) {
	r := newPhoneRig(t, false, echo, 0)
	r.link()
	who := r.people(1)[0]
	var m sentMessage
	say := func(fields map[string]any) int {
		t.Helper()
		fields["to"] = "+" + who.PN().User
		return r.call(r.proc, http.MethodPost, "/sessions/acc_a/messages", map[string]any{"message": fields}, &m)
	}
	if code := say(map[string]any{"message_type": "image", "content": "https://example.com/a.jpg"}); code != http.StatusUnprocessableEntity {
		t.Errorf("an image: %d", code)
	}
	if code := say(map[string]any{"message_type": "text", "content": "your room is ready"}); code != http.StatusCreated || m.Status != "queued" {
		t.Fatalf("a text: %d, %+v", code, m)
	}
	got, err := r.wa.Expect(who).Message(r.ctx)
	r.must(err)
	if got.Text() != "your room is ready" {
		t.Errorf("they got %q", got.Text())
	}
	now := m
	r.until("the message to be sent", 10*time.Second, func() bool {
		r.call(r.proc, http.MethodGet, "/sessions/acc_a/messages/"+m.ID, nil, &now)
		return now.Status != "queued"
	})
	if now.Status == "failed" || now.WAMID != got.ID || now.Sent == "" {
		t.Errorf("on record it is %+v, and they got it as %s", now, got.ID)
	}
	who.To(r.phone).Receipt("read", got.ID)
	r.until("the message to be read", 10*time.Second, func() bool {
		r.call(r.proc, http.MethodGet, "/sessions/acc_a/messages/"+m.ID, nil, &now)
		return now.Status == "read"
	})
	if now.Read == "" || now.Delivered == "" {
		t.Errorf("once read it is %+v", now)
	}
}
