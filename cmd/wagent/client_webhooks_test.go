package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway/client"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/events"
	"wagent/gateway/client/webhooks"
)

// listener keeps what is delivered to it as it came.
type listener struct {
	*sdkRig
	url  string
	mu   sync.Mutex
	came []posted
}

type posted struct {
	header http.Header
	body   []byte
}

func (s *sdkRig) listen() *listener {
	l := &listener{sdkRig: s}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.came = append(l.came, posted{r.Header, body})
		w.WriteHeader(http.StatusNoContent)
	}))
	s.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// about waits for the delivery about a run.
func (l *listener) about(run string) (found posted) {
	l.Helper()
	l.until("a delivery about "+run, 20*time.Second, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		i := slices.IndexFunc(l.came, func(d posted) bool { return strings.Contains(string(d.body), run) })
		if i >= 0 {
			found = l.came[i]
		}
		return i >= 0
	})
	return found
}

func TestClientWebhooks(t *testing.T) {
	for name, embedded := range map[string]bool{"embedded": true, "postgres and redis": false} {
		t.Run(name, func(t *testing.T) {
			s := newSDKRig(t, embedded, threeRooms)
			ctx, l := t.Context(), s.listen()
			w, err := s.c.Webhooks.Create(ctx, webhooks.Params{URL: l.url, Events: []string{"agent_run.completed"}})
			if err != nil {
				t.Fatal(err)
			}
			old := w.Secret
			if !strings.HasPrefix(old, "whsec_") || !w.Active || w.ID == 0 || !slices.Equal(w.Events, []string{"agent_run.completed"}) {
				t.Errorf("created %+v", w)
			}
			w.Secret = "" // it is told only once
			if got, err := s.c.Webhooks.Retrieve(ctx, w.ID); err != nil || !cmp.Equal(got, w) {
				t.Errorf("Retrieve = %+v, %v, want %+v", got, err, w)
			}
			urls := map[string]string{}
			for w, err := range s.c.Webhooks.All(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				urls[w.URL] = w.Secret
			}
			if secret, ok := urls[l.url]; !ok || secret != "" || len(urls) != 3 {
				t.Errorf("webhooks and secrets %v", urls)
			}

			agent := s.agent(agents.Params{})
			run, err := agent.Run(ctx, "Clean 101")
			if err != nil {
				t.Fatal(err)
			}
			d := l.about(run.ID)
			for _, header := range []string{"X-Webhook-Signature", "X-Whatsrb-Signature"} {
				if err := events.VerifyWebhook(d.body, old, d.header.Get(header), d.header.Get("X-Webhook-Timestamp")); err != nil {
					t.Errorf("VerifyWebhook by %s = %v", header, err)
				}
			}
			if err := events.VerifyWebhook(append(d.body, ' '), old, d.header.Get("X-Webhook-Signature"), d.header.Get("X-Webhook-Timestamp")); !errors.Is(err, events.ErrSignature) {
				t.Errorf("VerifyWebhook of another body = %v", err)
			}
			e, err := events.Parse(d.body)
			if err != nil || e.Event != "agent_run.completed" || d.header.Get("X-Webhook-Event") != e.Event || e.Timestamp.IsZero() {
				t.Errorf("the event is %+v, %v", e, err)
			}
			told, err := agent.Runs().FromEvent(e.Data)
			if err != nil || told.ID != run.ID || told.Status != run.Status || told.InputTokens != run.InputTokens || !cmp.Equal(told.Output, run.Output) {
				t.Errorf("the webhook tells %+v, %v, want %+v", told, err, run)
			}

			rotated, err := s.c.Webhooks.RotateSecret(ctx, w.ID)
			if err != nil || !strings.HasPrefix(rotated.Secret, "whsec_") || rotated.Secret == old {
				t.Fatalf("RotateSecret = %+v, %v", rotated, err)
			}
			if run, err = agent.Run(ctx, "Clean 102"); err != nil {
				t.Fatal(err)
			}
			d = l.about(run.ID)
			for _, secret := range []string{old, rotated.Secret} { // for a day, either is good
				if err := events.Verify(d.header, d.body, secret); err != nil {
					t.Errorf("after the rotation, Verify by %.12s… = %v", secret, err)
				}
			}
			if err := events.VerifyWebhook(d.body, rotated.Secret, d.header.Get("X-Webhook-Signature"), d.header.Get("X-Webhook-Timestamp")); err != nil {
				t.Errorf("after the rotation, VerifyWebhook by the new secret = %v", err)
			}

			s.operated(ctx, l, w.ID)

			changed, err := s.c.Webhooks.Update(ctx, w.ID, webhooks.Params{Active: new(false), Events: []string{}, Actions: []string{"hotel.*.*"}})
			if err != nil || changed.Active || len(changed.Events) != 0 || !slices.Equal(changed.Actions, []string{"hotel.*.*"}) || changed.URL != l.url || changed.Secret != "" {
				t.Errorf("Update = %+v, %v", changed, err)
			}
			if err := s.c.Webhooks.Delete(ctx, w.ID); err != nil {
				t.Error(err)
			}
			if _, err := s.c.Webhooks.Retrieve(ctx, w.ID); !errors.Is(err, client.ErrNotFound) {
				t.Errorf("a deleted webhook = %v", err)
			}
			list, err := s.c.Webhooks.List(ctx)
			if err != nil || list.Total != 2 {
				t.Fatalf("List = %+v, %v", list, err)
			}
			if _, err := s.c.Webhooks.Update(ctx, list.Items[0].ID, webhooks.Params{Active: new(false)}); !errors.Is(err, client.ErrConflict) {
				t.Errorf("changing a webhook of the configuration file = %v", err)
			}
			if _, err := s.c.Webhooks.Create(ctx, webhooks.Params{URL: "nowhere", Events: []string{"no.event"}}); !errors.Is(err, client.ErrValidation) {
				t.Errorf("a webhook to nowhere = %v", err)
			}
		})
	}
}

// operated looks after a webhook as people do.
func (s *sdkRig) operated(ctx context.Context, l *listener, id int64) {
	s.Helper()
	test, err := s.c.Webhooks.Test(ctx, id)
	if err != nil || test.Event != "webhook.test" || test.State != webhooks.Succeeded || len(test.Log) != 1 || test.Log[0].Status != http.StatusNoContent {
		s.Errorf("Test = %+v, %v", test, err)
	}
	if d := l.about("webhook.test"); d.header.Get("X-Webhook-Event") != "webhook.test" || d.header.Get("Webhook-Id") != test.ID {
		s.Errorf("the test came with %v", d.header)
	}
	if _, err := s.c.Webhooks.Replay(ctx, id, test.ID); err != nil {
		s.Error(err)
	}
	s.until("the replay", 20*time.Second, func() bool {
		d, err := s.c.Webhooks.Delivery(ctx, id, test.ID)
		return err == nil && d.State == webhooks.Succeeded && len(d.Log) == 2
	})
	if err := s.c.Webhooks.Pause(ctx, id, true); err != nil {
		s.Error(err)
	}
	if _, err := s.c.Webhooks.Test(ctx, id); !errors.Is(err, client.ErrConflict) {
		s.Errorf("a test of a webhook that is paused = %v", err)
	}
	if err := s.c.Webhooks.Pause(ctx, id, false); err != nil {
		s.Error(err)
	}
	listed := 0
	for d, err := range s.c.Webhooks.Deliveries(ctx, id, webhooks.Filter{State: webhooks.Succeeded, Since: time.Now().Add(-time.Hour)}) {
		if err != nil || d.WebhookID != id || d.LastStatus != http.StatusNoContent {
			s.Fatalf("listed %+v, %v", d, err)
		}
		listed++
	}
	if n, err := s.c.Webhooks.ReplayDead(ctx, id, time.Now().Add(-time.Hour)); err != nil || n.Replayed != 0 || listed < 3 {
		s.Errorf("ReplayDead = %+v, %v; %d deliveries are listed", n, err, listed)
	}
}
