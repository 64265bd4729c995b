package cloudapi

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestSignatures(t *testing.T) {
	body := graphtest.Body(numberA.Entry(ann.Text("wamid.1", "the customer's words")))
	good := graphtest.Sign(secretA, body)
	tests := map[string]struct {
		body      []byte
		signature string
		status    int
		stored    []string
	}{
		"the right one is taken":                  {body, good, 200, []string{"acc_a wamid.1"}},
		"upper case hex is the same value":        {body, "sha256=" + strings.ToUpper(good[7:]), 200, []string{"acc_a wamid.1"}},
		"none is refused":                         {body, "", 401, nil},
		"a wrong one is refused":                  {body, graphtest.Sign("guess", body), 401, nil},
		"an empty key's is refused":               {body, graphtest.Sign("", body), 401, nil},
		"a sandbox's secret is none":              {body, graphtest.Sign("a sandbox's", body), 401, nil},
		"a wrong prefix is refused":               {body, "sha1=" + good[7:], 401, nil},
		"an upper case prefix is refused":         {body, "SHA256=" + good[7:], 401, nil},
		"bare hex is refused":                     {body, good[7:], 401, nil},
		"a shortened one is refused":              {body, good[:len(good)-2], 401, nil},
		"an empty one is refused":                 {body, "sha256=", 401, nil},
		"no hex is refused":                       {body, "sha256=" + strings.Repeat("z", 64), 401, nil},
		"a truncated body is refused":             {body[:len(body)-1], good, 401, nil},
		"one byte more is refused":                {append(slices.Clone(body), ' '), good, 401, nil},
		"an empty body is refused":                {nil, good, 401, nil},
		"another account's signs not this entry":  {body, graphtest.Sign(secretB, body), 200, nil},
		"broken JSON is a bad request":            {body[:len(body)-1], graphtest.Sign(secretA, body[:len(body)-1]), 400, nil},
		"an empty body that is signed is no JSON": {nil, graphtest.Sign(secretA, nil), 400, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if resp := r.post(t, tt.body, tt.signature); resp.status != tt.status {
				t.Errorf("status %d, want %d", resp.status, tt.status)
			}
			if diff := cmp.Diff(tt.stored, r.store.got()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			rejected := "0"
			if tt.status == 401 {
				rejected = "1"
			}
			r.metric(t, "wagent_webhook_signatures_rejected_total "+rejected)
			if tt.status != 200 && r.log.Len() == 0 {
				t.Error("nothing was logged")
			}
			if log := r.log.String(); strings.Contains(log, "customer's words") || strings.Contains(log, ann.Phone) || strings.Contains(log, "secret of") {
				t.Errorf("the log tells content: %s", log)
			}
		})
	}
}

func TestOnlyTheAccountWhoseSecretSignedIsServed(t *testing.T) {
	r := newRig(t)
	body := graphtest.Body(
		numberA.Entry(ann.Text("wamid.a", "x")),
		numberB.Entry(ann.Text("wamid.b1", "x"), ben.Text("wamid.b2", "x")),
		graphtest.Number{PhoneNumberID: "1004"}.Entry(ann.Text("wamid.o", "to the account without a secret")),
		graphtest.Number{PhoneNumberID: "1009"}.Entry(ann.Text("wamid.t", "to the sandbox")),
		graphtest.Number{PhoneNumberID: "4711"}.Entry(ann.Text("wamid.u", "to nobody")),
		numberC.Entry(ben.Text("wamid.c", "x")),
	)
	if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 200 {
		t.Fatalf("status %d", resp.status)
	}
	if diff := cmp.Diff([]string{"acc_a wamid.a", "acc_c wamid.c"}, r.store.got()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	for _, m := range []string{
		"wagent_messages_received_total{account=acc_a,kind=cloud_api,outcome=stored} 1",
		"wagent_messages_received_total{account=acc_c,kind=cloud_api,outcome=stored} 1",
		"wagent_messages_received_total{account=acc_b,kind=cloud_api,outcome=foreign} 2",
		"wagent_messages_received_total{account=acc_open,kind=cloud_api,outcome=foreign} 1",
		"wagent_messages_received_total{account=,kind=cloud_api,outcome=unknown_account} 2",
		"wagent_webhook_signatures_rejected_total 0",
	} {
		r.metric(t, m)
	}
}

func TestEverythingInAPostIsTakenInOrderAndInOneCall(t *testing.T) {
	r := newRig(t)
	a := numberA.Entry(
		ann.Text("wamid.1", "one"), ben.Text("wamid.2", "two"),
		graphtest.Status("wamid.out", ann.Phone, "delivered", "msg_1"),
		numberA.Echo(ann.Phone, "wamid.3", "three"), ann.Text("wamid.4", "four"),
	)
	if n := len(a["changes"].([]any)); n != 3 {
		t.Fatalf("the entry has %d changes, want 3", n)
	}
	body := graphtest.Body(a, numberC.Entry(ann.Text("wamid.5", "five"), graphtest.Status("wamid.x", ann.Phone, "failed", "").Failed(131047, "Re-engagement message")))
	if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 200 {
		t.Fatalf("status %d", resp.status)
	}
	want := []string{"acc_a wamid.1", "acc_a wamid.2", "acc_a wamid.3", "acc_a wamid.4", "acc_c wamid.5"}
	if diff := cmp.Diff(want, r.store.got()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"receive", "statuses"}, r.store.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if o := r.store.received[0][2].Origin; o != gateway.OriginEcho {
		t.Errorf("the echo came as %q", o)
	}
	updates := []gateway.StatusUpdate{
		{Account: "acc_a", ExternalID: "wamid.out", Message: "msg_1", Status: gateway.StatusDelivered},
		{Account: "acc_c", ExternalID: "wamid.x", Status: gateway.StatusFailed, Reason: "131047 Re-engagement message"},
	}
	for i := range r.store.updates[0] {
		r.store.updates[0][i].At = time.Time{}
	}
	if diff := cmp.Diff(updates, r.store.updates[0]); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	r.metric(t, "wagent_message_statuses_total{status=delivered} 1")
	r.metric(t, "wagent_message_statuses_total{status=failed} 1")
	r.metric(t, "wagent_message_statuses_total{status=read} 0")
}

func TestEveryBuilderMakesAMessageOfItsType(t *testing.T) {
	events := map[gateway.MessageType][]graphtest.Event{
		gateway.TypeText:        {ann.Text("1", "x"), ann.Text("1", "x").ReplyingTo("wamid.q"), ann.Text("1", "x").In("g")},
		gateway.TypeImage:       {ann.Media("1", "image", "m", "image/jpeg", "c")},
		gateway.TypeVideo:       {ann.Media("1", "video", "m", "video/mp4", "")},
		gateway.TypeAudio:       {ann.Media("1", "audio", "m", "audio/ogg", "")},
		gateway.TypeDocument:    {ann.Media("1", "document", "m", "application/pdf", "")},
		gateway.TypeSticker:     {ann.Media("1", "sticker", "m", "image/webp", "")},
		gateway.TypeLocation:    {ann.Location("1", 1.5, 2.5, "", ""), ann.Location("1", 1.5, 2.5, "Here", "There")},
		gateway.TypeContact:     {ann.Contact("1", "Cy", "+1 650 555 0000")},
		gateway.TypeReaction:    {ann.Reaction("1", "wamid.q", "👍")},
		gateway.TypeInteractive: {ann.ButtonReply("1", "b", "Yes"), ann.ListReply("1", "r", "Row", "d"), ann.FlowReply("1", `{"a":1}`)},
		gateway.TypeButton:      {ann.Button("1", "p", "Stop")},
		gateway.TypeOrder:       {ann.Order("1", "SKU", 2, 9.5, "EUR", "please")},
		gateway.TypeSystem:      {ann.System("1", "changed")},
		gateway.TypeUnsupported: {ann.Unsupported("1"), ann.Message("1", "hologram", map[string]any{"id": "1"})},
	}
	for kind, list := range events {
		for _, e := range list {
			r := newRig(t)
			body := graphtest.Body(numberA.Entry(e))
			if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 200 || len(r.store.received) != 1 {
				t.Fatalf("%s: status %d, %d calls", kind, resp.status, len(r.store.received))
			}
			m := r.store.received[0][0]
			if m.Type != kind || m.ExternalID != "1" || m.Sender.Phone != "+"+ann.Phone || m.Origin != gateway.OriginLive {
				t.Errorf("%s became %+v", kind, m)
			}
		}
	}
}

func TestWhatCanNotBeStoredIsAskedForAgain(t *testing.T) {
	body := graphtest.Body(numberA.Entry(ann.Text("wamid.1", "x"), graphtest.Status("wamid.out", ann.Phone, "read", "")))
	tests := map[string]struct {
		call  string
		err   error
		calls []string
	}{
		"the database is away":             {"receive", &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}, []string{"receive"}},
		"an error that nobody classified":  {"receive", errors.New("disk"), []string{"receive"}},
		"statuses fail after the messages": {"statuses", errors.New("disk"), []string{"receive", "statuses"}},
		"the accounts can not be read":     {"accounts", errors.New("away"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.store.fail[tt.call] = tt.err
			resp := r.post(t, body, graphtest.Sign(secretA, body))
			if resp.status != 503 || resp.header.Get("Retry-After") != "5" {
				t.Errorf("status %d, Retry-After %q", resp.status, resp.header.Get("Retry-After"))
			}
			if diff := cmp.Diff(tt.calls, r.store.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNobodyMustActWhereMetaDidNotWait(t *testing.T) {
	body := graphtest.Body(numberA.Entry(ann.Text("wamid.1", "x")))
	for name, tt := range map[string]struct {
		gone  bool
		level string
	}{"it waits": {false, "level=ERROR"}, "it went away": {true, "level=WARN"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.store.fail["receive"] = errors.New("disk")
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if tt.gone {
				leave()
			}
			req, err := graphtest.Request(ctx, r.srv.URL, secretA, body)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			r.srv.Config.Handler.ServeHTTP(w, req)
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(r.log.String(), tt.level) || strings.Count(r.log.String(), "\n") != 1 {
				t.Errorf("status %d, want 503; %s is not in the only line of the log:\n%s", w.Code, tt.level, r.log)
			}
		})
	}
}

func TestAPanicIsAnInternalServerErrorWithoutContent(t *testing.T) {
	for _, v := range []any{"the customer's words", errors.New("the customer's words"), runtimeError()} {
		r := newRig(t)
		r.store.panics = v
		body := graphtest.Body(numberA.Entry(ann.Text("wamid.1", "x")))
		if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 500 {
			t.Errorf("status %d, want 500", resp.status)
		}
		if !strings.Contains(r.log.String(), "webhook panicked") || strings.Contains(r.log.String(), "customer's words") {
			t.Errorf("log: %s", r.log)
		}
	}
}

func runtimeError() (err error) {
	defer func() { err, _ = recover().(error) }()
	var none []int
	return errors.New(string(rune(none[len(none)])))
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	for size, status := range map[int]int{maxBody: 200, maxBody + 1: 413} {
		r := newRig(t)
		body := append(graphtest.Body(), bytes.Repeat([]byte(" "), size)...)[:size]
		if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != status {
			t.Errorf("%d bytes: status %d, want %d", size, resp.status, status)
		}
	}
}

func TestAThousandMessagesInAPost(t *testing.T) {
	r := newRig(t)
	events := make([]graphtest.Event, 1000)
	for i := range events {
		events[i] = ann.Text("wamid."+time.Duration(i).String(), "x")
	}
	body := graphtest.Body(numberA.Entry(events...))
	if resp := r.post(t, body, graphtest.Sign(secretA, body)); resp.status != 200 {
		t.Fatalf("status %d", resp.status)
	}
	if n := len(r.store.got()); n != 1000 {
		t.Errorf("%d of 1000 messages were stored", n)
	}
}

func TestVerification(t *testing.T) {
	tests := map[string]struct {
		query  url.Values
		status int
		body   string
	}{
		"the right token gets the challenge": {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify acc_b"}, "hub.challenge": {"<b>1158201444"}}, 200, "<b>1158201444"},
		"a wrong token is refused":           {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"verify acc_x"}, "hub.challenge": {"1"}}, 403, "Forbidden\n"},
		"an empty token is refused":          {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {""}, "hub.challenge": {"1"}}, 403, "Forbidden\n"},
		"a sandbox's token is refused":       {url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"a sandbox's"}}, 403, "Forbidden\n"},
		"another mode is refused":            {url.Values{"hub.mode": {"unsubscribe"}, "hub.verify_token": {"verify acc_b"}}, 403, "Forbidden\n"},
		"nothing is refused":                 {nil, 403, "Forbidden\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.srv.URL+"?"+tt.query.Encode(), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp := r.do(t, req)
			if resp.status != tt.status || resp.body != tt.body {
				t.Errorf("%d %q, want %d %q", resp.status, resp.body, tt.status, tt.body)
			}
			if ct := resp.header.Get("Content-Type"); ct != "text/plain; charset=utf-8" || resp.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("a browser could take %q for a page", ct)
			}
		})
	}
}

func TestVerificationSaysWhenItCanNotTell(t *testing.T) {
	r := newRig(t)
	r.store.fail["accounts"] = errors.New("away")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.srv.URL+"?hub.mode=subscribe&hub.verify_token=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp := r.do(t, req); resp.status != 503 {
		t.Errorf("status %d, want 503", resp.status)
	}
}

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE", "HEAD", "OPTIONS"} {
		r := newRig(t)
		req, err := http.NewRequestWithContext(t.Context(), method, r.srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp := r.do(t, req); resp.status != 405 || resp.header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: status %d, Allow %q", method, resp.status, resp.header.Get("Allow"))
		}
	}
}

func TestTwoEdgesCountInOneCounter(t *testing.T) {
	reg := prometheus.NewRegistry()
	other := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_messages_received_total",
		Help: "Messages that came in, by account and what became of them.",
	}, []string{"account", "kind", "outcome"})
	reg.MustRegister(other)
	m := newHandlerMetrics(reg)
	m.received.WithLabelValues("acc_a", "cloud_api", "stored").Inc()
	if got := testutil.ToFloat64(other.WithLabelValues("acc_a", "cloud_api", "stored")); got != 1 {
		t.Errorf("the counter that was there has %v, want 1", got)
	}
	newChannelMetrics(reg) // beside the handler's
}
