package events

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The contract's test vector.
const (
	secret    = "whsec_test"
	body      = `{"event":"agent_run.completed","data":{"id":"run_1"}}`
	signature = "sha256=6a40c5461750992a8d4403cbbc10a8a81f11e6727737f0d5d4199d0c3fec6b3f"
)

func stamp(age time.Duration) string { return strconv.FormatInt(time.Now().Add(-age).Unix(), 10) }

func TestVerifyWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		body, secret, signature string
		age                     time.Duration
		timestamp               string // "": by age
		want                    string // "": it is authentic
		other                   bool   // the error is the caller's mistake
	}{
		"the contract's test vector":      {},
		"300 s old":                       {age: 300 * time.Second},
		"301 s old":                       {age: 301 * time.Second, want: "300 s"},
		"300 s ahead":                     {age: -300 * time.Second},
		"301 s ahead":                     {age: -301 * time.Second, want: "300 s"},
		"no timestamp":                    {timestamp: " ", want: "no number"},
		"a timestamp in ISO 8601":         {timestamp: "2026-01-02T03:04:05Z", want: "no number"},
		"a timestamp that overflows":      {timestamp: "9223372036854775807", want: "300 s"},
		"another body":                    {body: body + " ", want: "another's"},
		"another secret":                  {secret: "whsec_other", want: "another's"},
		"half a signature":                {signature: signature[:len(signature)/2+1], want: "sha256"},
		"a shorter one":                   {signature: signature[:len(signature)-2], want: "another's"},
		"a signature without its scheme":  {signature: signature[len(scheme):], want: "sha256"},
		"a signature of another scheme":   {signature: "sha1=" + signature[len(scheme):], want: "sha256"},
		"a signature that is only scheme": {signature: scheme, want: "another's"},
		"no signature":                    {signature: " ", want: "sha256"},
		"no secret":                       {secret: " ", want: "secret is empty", other: true},
	} {
		t.Run(name, func(t *testing.T) {
			or := func(s, standard string) string {
				if s == "" {
					return standard
				}
				return strings.TrimSpace(s)
			}
			b := body
			if c.body != "" {
				b = c.body
			}
			synctest.Test(t, func(t *testing.T) { // the clock stands still
				err := VerifyWebhook([]byte(b), or(c.secret, secret), or(c.signature, signature), or(c.timestamp, stamp(c.age)))
				if c.want == "" {
					if err != nil {
						t.Errorf("VerifyWebhook = %v", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrSignature) == c.other {
					t.Errorf("VerifyWebhook = %v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestHandlerAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		header  string
		body    string
		secrets []string
		fail    error
		status  int
		events  int
	}{
		"what the secret signed":             {header: "X-Webhook-Signature", body: body, secrets: []string{secret}, status: 204, events: 1},
		"the other header's":                 {header: "X-Whatsrb-Signature", body: body, secrets: []string{secret}, status: 204, events: 1},
		"what the old secret signed":         {header: "X-Webhook-Signature", body: body, secrets: []string{"whsec_new", secret}, status: 204, events: 1},
		"what another signed":                {header: "X-Webhook-Signature", body: body, secrets: []string{"whsec_new"}, status: 401},
		"what nobody signed":                 {header: "X-Other", body: body, secrets: []string{secret}, status: 401},
		"what changed on the way":            {header: "X-Webhook-Signature", body: `{"event":"x"}`, secrets: []string{secret}, status: 401},
		"where there is no secret":           {header: "X-Webhook-Signature", body: body, status: 401},
		"what a handler fails on":            {header: "X-Webhook-Signature", body: body, secrets: []string{secret}, fail: errors.New("the password is hunter2"), status: 500, events: 1},
		"what is larger than any webhook is": {header: "X-Webhook-Signature", body: strings.Repeat("x", maxBody+1), secrets: []string{secret}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Event
			var r Registry
			r.On("agent_run.completed", func(_ context.Context, e Event) error {
				got = append(got, e)
				return c.fail
			})
			req := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(c.body))
			req.Header.Set(c.header, signature)
			req.Header.Set("X-Webhook-Timestamp", stamp(0))
			req.Header.Set("webhook-id", "msg_1")
			w := httptest.NewRecorder()
			r.Handler(c.secrets...).ServeHTTP(w, req)
			if w.Code != c.status || len(got) != c.events {
				t.Fatalf("answered %d %s, and %d events, want %d and %d", w.Code, w.Body, len(got), c.status, c.events)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Errorf("the answer tells the handler's error: %s", w.Body)
			}
			if len(got) > 0 && (got[0].ID != "msg_1" || string(got[0].Data) != `{"id":"run_1"}`) {
				t.Errorf("event %+v", got[0])
			}
		})
	}
}

// Both schemes, with the published library as the sender of one.
func TestVerifyTakesWhatEitherSchemeSigned(t *testing.T) {
	const old, current = "whsec_b2xkIHNlY3JldCBvZiB0aGUgaG9vaw==", "whsec_bmV3IHNlY3JldCBvZiB0aGUgaG9vaw=="
	standard := func(id string, at time.Time, secrets ...string) http.Header {
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		var all []string
		for _, s := range secrets {
			w, err := standardwebhooks.NewWebhook(s)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := w.Sign(id, at, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, signature)
		}
		h.Set("webhook-signature", strings.Join(all, " "))
		return h
	}
	with := func(h http.Header, name, value string) http.Header {
		h.Set(name, value)
		return h
	}
	now := time.Now()
	for name, c := range map[string]struct {
		header  http.Header
		secrets []string
		ok      bool
	}{
		"one signature":                        {standard("msg_1", now, current), []string{current}, true},
		"who has the old secret, in a change":  {standard("msg_1", now, current, old), []string{old}, true},
		"who has the new secret, in a change":  {standard("msg_1", now, current, old), []string{current}, true},
		"who has both":                         {standard("msg_1", now, old), []string{current, old}, true},
		"another's secret":                     {standard("msg_1", now, old), []string{current}, false},
		"another id":                           {with(standard("msg_1", now, current), "webhook-id", "msg_2"), []string{current}, false},
		"another time":                         {with(standard("msg_1", now, current), "webhook-timestamp", stamp(time.Minute)), []string{current}, false},
		"a time long ago":                      {standard("msg_1", now.Add(-time.Hour), current), []string{current}, false},
		"a scheme that is not known":           {with(standard("msg_1", now, current), "webhook-signature", "v2,AAAA"), []string{current}, false},
		"an empty secret":                      {standard("msg_1", now, current), []string{""}, false},
		"a broken one beside the other scheme": {with(with(with(standard("msg_1", now, current), "webhook-signature", "v1,AAAA"), "X-Webhook-Signature", signature), "X-Webhook-Timestamp", stamp(0)), []string{secret}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Verify(c.header, []byte(body), c.secrets...); (err == nil) != c.ok {
				t.Errorf("Verify = %v", err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	e, err := Parse([]byte(`{"event":"message.received","data":{"id":"msg_1"},"timestamp":"2026-01-02T03:04:05Z","more":1}`))
	if err != nil || e.Event != "message.received" || !e.Timestamp.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("Parse = %+v, %v", e, err)
	}
	for _, bad := range []string{"", "{", "[]", "{}", `{"event":""}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q was an event", bad)
		}
	}
}

func TestAllHandlersOfAnEventRun(t *testing.T) {
	var r Registry
	var did []string
	first := errors.New("the first is broken")
	r.On("b", func(context.Context, Event) error { did = append(did, "first"); return first })
	r.On("b", func(context.Context, Event) error { did = append(did, "second"); return nil })
	r.On("a", func(context.Context, Event) error { return nil })
	if ok, err := r.Dispatch(t.Context(), Event{Event: "b"}); !ok || !errors.Is(err, first) || !slices.Equal(did, []string{"first", "second"}) {
		t.Errorf("Dispatch = %v, %v, did %q", ok, err, did)
	}
	if ok, err := r.Dispatch(t.Context(), Event{Event: "c"}); ok || err != nil {
		t.Errorf("Dispatch of an event without a handler = %v, %v", ok, err)
	}
	if got := r.EventTypes(); !slices.Equal(got, []string{"a", "b"}) || !r.IsRegistered("a") || r.IsRegistered("c") {
		t.Errorf("events %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(body))
	f.Add([]byte(`{"event":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := Parse(b); err == nil && e.Event == "" {
			t.Errorf("%q is an event without a name", b)
		}
	})
}
