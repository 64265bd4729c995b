//go:build watest

package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/whatsapp/watest"
)

// A pauseOf is the API's view of a pause.
type pauseOf struct {
	ID     int64  `json:"id"`
	Phone  string `json:"phone_number"`
	Reason string `json:"reason"`
}

func TestLinkedTakeover(t *testing.T) {
	r := newPhoneRig(t, true, echo, 0)
	r.link()
	who := r.people(2)[0]
	turn := func(word string) []string {
		t.Helper()
		r.must(who.Text(word).Acked(r.ctx))
		r.settled(time.Minute)
		return words(r.answers(who))
	}
	if got := turn("one"); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("before the takeover the answer is %q", got)
	}
	const path = "/business_accounts/acc_a/conversation_pauses"
	pauses := func() (all []pauseOf) {
		t.Helper()
		if code := r.call(r.proc, http.MethodGet, path, nil, &all); code != http.StatusOK {
			t.Fatalf("the API answered %d to a question for pauses", code)
		}
		return all
	}
	if all := pauses(); len(all) != 0 {
		t.Fatalf("our own answer paused the conversation: %+v", all)
	}
	r.must(r.phone.To(who).Text("it is me, the owner").Acked(r.ctx))
	r.until("a pause", 10*time.Second, func() bool { return len(pauses()) > 0 })
	all := pauses()
	if len(all) != 1 || all[0].Reason != string(gateway.PauseOutbound) || all[0].Phone != "+"+who.PN().User {
		t.Fatalf("the pauses are %+v", all)
	}
	asked := len(r.model.Requests())
	if got := turn("two"); len(got) != 0 {
		t.Errorf("while the owner writes the agent answers %q", got)
	}
	wrote := time.Now()
	r.until("twice the window to pass", 10*time.Second, func() bool {
		if n := r.wa.Expect(who).Unread() + len(r.model.Requests()) - asked; n != 0 {
			t.Fatal("the agent works in a conversation that the owner took over")
		}
		return time.Since(wrote) > 2*time.Second
	})
	if code := r.call(r.proc, http.MethodDelete, fmt.Sprintf("%s/%d", path, all[0].ID), nil, nil); code >= 300 {
		t.Fatalf("the API answered %d to the end of a pause", code)
	}
	if all := pauses(); len(all) != 0 {
		t.Errorf("after its end there is still the pause %+v", all)
	}
	if got := turn("three"); len(got) == 0 || got[len(got)-1] != "three" {
		t.Errorf("after the pause the answer is %q", got)
	}
}

func TestLinkedMedia(t *testing.T) {
	r := newPhoneRig(t, false, echo, 0)
	r.link()
	people := r.people(2)
	voice, image := make([]byte, 20_000), make([]byte, 300_000)
	for i := range image {
		image[i] = byte(rand.Uint32())
	}
	copy(voice, image)
	sent := map[*watest.Sent][]byte{
		people[0].To(r.phone).Voice(voice, 3*time.Second): voice,
		people[1].To(r.phone).Image(image, "look"):        image,
	}
	r.must(r.device.Settled(r.ctx))
	r.settled(time.Minute)
	for i, who := range people {
		got := r.answers(who)
		t.Logf("person %d was answered %v", i, got)
		if len(got) != 1 {
			t.Errorf("person %d was answered %d times: %v", i, len(got), got)
		}
	}
	for m, want := range sent {
		var id, kind string
		r.must(r.db.QueryRowContext(r.ctx, `SELECT id, type FROM messages WHERE direction = 'in' AND external_id = $1`, m.ID).Scan(&id, &kind))
		var got []byte
		var code int
		r.until("the file of "+kind, 20*time.Second, func() bool {
			code, got = r.file(id)
			return code == http.StatusOK
		})
		if !bytes.Equal(got, want) {
			t.Errorf("the file of %s has %d bytes, want those %d that were sent", kind, len(got), len(want))
		}
	}
}

// file asks for what came with a message.
func (r *phoneRig) file(message string) (int, []byte) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.proc.url+"/api/v1/sessions/acc_a/media/"+message, http.NoBody)
	r.must(err)
	req.Header.Set("Authorization", "Bearer key-of-the-crash-test")
	resp, err := describedClient(r).Do(req)
	r.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	r.must(err)
	return resp.StatusCode, data
}
