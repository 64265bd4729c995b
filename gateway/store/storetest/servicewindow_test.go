package storetest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestTheServiceWindowStopsAllButTemplates: a day after the customer's last message
// the Cloud API takes templates only; the sandbox has no window.
func TestTheServiceWindowStopsAllButTemplates(t *testing.T) {
	const day = gateway.ServiceWindow
	for name, tt := range map[string]struct {
		account gateway.AccountID
		wrote   time.Duration // before now; 0: never
		kind    gateway.MessageType
		stopped bool
	}{
		"a text, in time":                    {cloud, day - time.Minute, gateway.TypeText, false},
		"a text, too late":                   {cloud, day + time.Second, gateway.TypeText, true},
		"a text to whom never wrote":         {cloud, 0, gateway.TypeText, true},
		"an image, too late":                 {cloud, day + time.Second, gateway.TypeImage, true},
		"buttons, too late":                  {cloud, day + time.Second, gateway.TypeInteractive, true},
		"a template, too late":               {cloud, day + time.Second, gateway.TypeTemplate, false},
		"a template to whom never wrote":     {cloud, 0, gateway.TypeTemplate, false},
		"a text in the sandbox, of any time": {sandbox, day + time.Second, gateway.TypeText, false},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				must(t, s.Declare(t.Context(), []gateway.Account{
					{ID: sandbox, Kind: gateway.Sandbox, Takeover: time.Hour}, {ID: cloud, Kind: gateway.CloudAPI, Takeover: time.Hour},
				}, nil, nil, nil))
				if tt.wrote > 0 {
					in := from(tt.account, alice, "wamid.in")
					in.SentAt = time.Now().Add(-tt.wrote)
					add(t, s, in)
				}
				m := queued(t, s, tt.account, alice, gateway.Send{Type: tt.kind, Text: "hello", Content: []byte(`{}`)})
				claimed, settled, _, err := s.ClaimSends(t.Context(), "", false, 9)
				must(t, err)
				now := message(t, s, m)
				if !tt.stopped {
					if len(claimed) != 1 || len(settled) != 0 || now.Status != gateway.StatusQueued {
						t.Errorf("claimed %d, settled %+v, the message is %+v", len(claimed), settled, now)
					}
					return
				}
				if len(claimed) != 0 || len(settled) != 1 || settled[0].ID != m.ID || settled[0].State != gateway.SendRefused {
					t.Errorf("claimed %d, settled %+v", len(claimed), settled)
				}
				if now.Status != gateway.StatusFailed || !strings.Contains(now.Progress.Failure, "service window closed") {
					t.Errorf("the message is %+v", now)
				}
				if n := len(pauses(t, s, tt.account, false)); n != 0 {
					t.Errorf("%d pauses for words that nobody reads", n)
				}
			})
		})
	}
}

// TestATemplateThatWaitedForADayIsNotSent: it would go out days later, and all that
// is said after it would wait for it.
func TestATemplateThatWaitedForADayIsNotSent(t *testing.T) {
	for name, account := range map[string]gateway.AccountID{"on the Cloud API": cloud, "in the sandbox": sandbox} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				add(t, s, from(account, alice, "wamid.1"), from(account, bob, "wamid.2"))
				template := func(who string, age time.Duration) gateway.PeerMessage {
					return queued(t, s, account, who, gateway.Send{Type: gateway.TypeTemplate, Content: []byte(`{}`), CreatedAt: time.Now().Add(-age)})
				}
				old, young := template(alice, gateway.ServiceWindow), template(bob, gateway.ServiceWindow-time.Minute)
				text := queued(t, s, account, alice, gateway.Send{Text: "hello"})
				claimed, settled, _ := claim(t, s, true)
				var sends []gateway.MessageID
				for i := range claimed {
					sends = append(sends, claimed[i].Send.ID)
				}
				slices.Sort(sends)
				want := []gateway.MessageID{young.ID, text.ID}
				slices.Sort(want)
				equal(t, "claimed", sends, want)
				if len(settled) != 1 || settled[0].ID != old.ID || settled[0].State != gateway.SendRefused {
					t.Errorf("settled %+v", settled)
				}
				if m := message(t, s, old); m.Status != gateway.StatusFailed || m.Progress.Failure != "not sent within a day" {
					t.Errorf("the message is %s: %q", m.Status, m.Progress.Failure)
				}
			})
		})
	}
}
