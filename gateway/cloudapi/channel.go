package cloudapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/gateway"
)

// maxAnswer is how much of an answer of the Graph API is read.
const maxAnswer = 64 << 10

// A Channel sends messages through the Graph API. It is safe for concurrent
// use, and retries nothing: that is the outbox's.
type Channel struct {
	client  *http.Client
	log     *slog.Logger
	metrics *channelMetrics
}

// NewChannel returns a Channel that sends with client, of which it uses
// everything but its redirect policy: none is followed. A nil client is
// http.DefaultClient, a nil reg registers no metrics.
func NewChannel(client *http.Client, log *slog.Logger, reg prometheus.Registerer) *Channel {
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Channel{client: &own, log: log, metrics: newChannelMetrics(reg)}
}

// Transmit sends s, of whatever type, and returns WhatsApp's id of it. Status
// updates carry s.ID, sent along as biz_opaque_callback_data. It sets s.Met: some
// people's wa_id, under which they write, is not the number that reaches them.
//
// The error is a gateway.Error, and its text holds neither the token nor the
// message nor the number. Ambiguous: the request was handed to the network and
// nobody said what became of it. Unavailable, RateLimited and Unauthorized: it
// was not taken and may be later. WindowClosed and Invalid: it never will be.
func (c *Channel) Transmit(ctx context.Context, a *gateway.Account, s *gateway.Send) (string, error) {
	body, err := encodeSend(s)
	if err != nil {
		return "", err
	}
	if a.Cloud.AccessToken == "" {
		return "", &gateway.Error{Kind: gateway.Unauthorized, Msg: "the account has no access token"}
	}
	began := time.Now()
	id, met, err := c.post(ctx, a, body)
	if s.To.Group == "" {
		s.Met = met
	}
	took := time.Since(began)
	outcome := outcomeOK
	if err != nil {
		outcome = gateway.KindOf(err).String()
	}
	c.metrics.requests.WithLabelValues(outcome).Inc()
	c.metrics.seconds.Observe(took.Seconds())
	c.log.DebugContext(ctx, "graph request", "account", a.ID, "send", s.ID, "outcome", outcome, "took", took)
	return id, err
}

// post returns the message's id, and whom Meta says that it is for.
func (c *Channel) post(ctx context.Context, a *gateway.Account, body []byte) (id string, met gateway.Address, err error) {
	target := strings.TrimRight(a.Cloud.GraphURL, "/") + "/" + url.PathEscape(a.Cloud.PhoneNumberID) + "/messages"
	g := &gate{}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, g.open(body))
	if err != nil {
		return "", met, &gateway.Error{Kind: gateway.Invalid, Msg: "the account's graph_url is no URL"}
	}
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) {
		// The transport asks only where the server saw nothing of the first.
		g.reset()
		return g.open(body), nil
	}
	req.Header.Set("Authorization", "Bearer "+string(a.Cloud.AccessToken))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return "", met, lost(g, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", met, answered(resp.StatusCode, resp.Header, answer)
	}
	said := objectOf(answer)
	if people := said.list("contacts"); len(people) == 1 {
		one := objectOf(people[0])
		met = addressOf(one.text("wa_id"), one.text("user_id"))
	}
	if messages := said.list("messages"); len(messages) > 0 {
		if id = objectOf(messages[0]).text("id"); id != "" {
			return id, met, nil
		}
	}
	return "", met, &gateway.Error{
		Kind: gateway.Ambiguous,
		Msg:  fmt.Sprintf("HTTP %d without a message id", resp.StatusCode),
		Err:  err,
	}
}

// lost says what is known of a request that got no answer.
func lost(g *gate, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the outer one repeats the URL
	}
	if g.shut() {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "the Graph API was not reached", Err: err}
	}
	return &gateway.Error{Kind: gateway.Ambiguous, Msg: "the Graph API did not answer", Err: err}
}

// A gate hands out a request's body and knows whether it did: without its
// body no request is one. Shutting it settles the question for good, which a
// trace of what was written can't: the connection may still be writing when
// the client has given up.
type gate struct{ state atomic.Int32 }

const (
	gateUntouched int32 = iota
	gatePassed
	gateShut
)

var errShut = errors.New("the request was given up")

func (g *gate) open(body []byte) io.ReadCloser {
	return &gatedBody{gate: g, body: bytes.NewReader(body)}
}

func (g *gate) reset() { g.state.CompareAndSwap(gatePassed, gateUntouched) }

// shut lets no more through and reports whether nothing got through before.
func (g *gate) shut() bool { return g.state.CompareAndSwap(gateUntouched, gateShut) }

type gatedBody struct {
	gate *gate
	body *bytes.Reader
}

func (b *gatedBody) Read(p []byte) (int, error) {
	if !b.gate.state.CompareAndSwap(gateUntouched, gatePassed) && b.gate.state.Load() == gateShut {
		return 0, errShut
	}
	return b.body.Read(p)
}

func (b *gatedBody) Close() error { return nil }
