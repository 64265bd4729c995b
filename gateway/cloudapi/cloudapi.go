// Package cloudapi connects accounts to WhatsApp through Meta's Cloud API: a
// [Handler] takes the signed webhook in, a [Channel] sends through the Graph
// API.
//
// It guarantees that nothing is stored that no app secret of ours signed, that
// a change is taken only for the account whose own secret signed it, that
// every entry, change and message of a POST is looked at, and that a POST is
// answered with 200 only after all of it is committed. What is not answered
// with 200 Meta delivers again, for up to seven days.
//
// No state lives here but a snapshot of the accounts, a few seconds old at
// most. After a crash Meta delivers again what was not acknowledged, and the
// outbox settles the sends that were in hand.
//
// The package is a little over our budget of lines: the way in and the way out
// share the accounts, the names of fields and the handling of strangers' bytes.
package cloudapi

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/gateway"
)

const (
	// maxBody is the largest webhook body taken. Meta's own limit is 3 MB
	// (Webhooks for WhatsApp, "payload size").
	maxBody = 3 << 20
	// retryAfter is what a POST that could not be stored is answered with.
	retryAfter = 5 * time.Second
)

// Accounts knows our accounts.
type Accounts interface {
	// Accounts returns the accounts of all kinds.
	Accounts(ctx context.Context) ([]gateway.Account, error)
}

// Inbox takes messages in; gateway.Inbox is one.
type Inbox interface {
	// Receive returns nil once all of ms are safe, with an outcome for each;
	// otherwise none of them is.
	Receive(ctx context.Context, ms ...gateway.Inbound) ([]gateway.Outcome, error)
}

// Statuses takes what WhatsApp tells about messages and templates of ours.
type Statuses interface {
	// ApplyStatuses records updates, which may repeat, be out of order and be
	// about messages that we did not send.
	ApplyStatuses(ctx context.Context, updates []gateway.StatusUpdate) error
	// ApplyTemplateUpdates records updates, which may repeat, be out of order
	// and be about templates that are not on record.
	ApplyTemplateUpdates(ctx context.Context, updates []gateway.TemplateUpdate) error
}

// A Handler serves Meta's webhook: GET is the verification of the endpoint,
// POST brings events. It is safe for concurrent use.
type Handler struct {
	directory *directory
	inbox     Inbox
	statuses  Statuses
	log       *slog.Logger
	metrics   *handlerMetrics
	lobby     lobby
}

// NewHandler returns a Handler. A nil reg registers no metrics.
func NewHandler(accounts Accounts, inbox Inbox, statuses Statuses, log *slog.Logger, reg prometheus.Registerer) *Handler {
	return &Handler{
		directory: newDirectory(accounts),
		inbox:     inbox,
		statuses:  statuses,
		log:       log,
		metrics:   newHandlerMetrics(reg),
		lobby:     newLobby(),
	}
}

// ServeHTTP answers 200 once everything is committed, 400 to a body that is
// no JSON, 401 to one that none of our secrets signed, 403 to a wrong verify
// token, 405, 413, and 503 with Retry-After where nothing can be stored now.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.survive(w, r)
	var status int
	switch r.Method {
	case http.MethodGet:
		var challenge string
		if status, challenge = h.verify(r); status == http.StatusOK {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = io.WriteString(w, challenge)
			return
		}
	case http.MethodPost:
		status = h.receive(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		status = http.StatusMethodNotAllowed
	}
	switch status {
	case http.StatusOK:
		w.WriteHeader(status)
		return
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	http.Error(w, http.StatusText(status), status)
}

// survive turns a panic into a 500, so that Meta delivers again. The panic's
// value is logged only where it can't hold a stranger's words.
func (h *Handler) survive(w http.ResponseWriter, r *http.Request) {
	v := recover()
	switch v := v.(type) {
	case nil:
		return
	case runtime.Error:
		h.log.ErrorContext(r.Context(), "webhook panicked", "err", v, "stack", string(debug.Stack()))
	default:
		if v == http.ErrAbortHandler { //nolint:errorlint // a panic's value is no error chain
			panic(v)
		}
		h.log.ErrorContext(r.Context(), "webhook panicked", "stack", string(debug.Stack()))
	}
	http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
}

// verify answers the GET with which Meta asks whether the endpoint is ours.
func (h *Handler) verify(r *http.Request) (status int, challenge string) {
	q := r.URL.Query()
	token := q.Get("hub.verify_token")
	if q.Get("hub.mode") != "subscribe" || token == "" {
		return http.StatusForbidden, ""
	}
	for _, age := range []time.Duration{bookAge, missAge} {
		b, err := h.directory.look(r.Context(), age)
		if err != nil {
			h.log.Log(r.Context(), loudness(r.Context()), "look up accounts for verification", "err", err)
			return http.StatusServiceUnavailable, ""
		}
		known := 0
		for _, t := range b.tokens {
			known |= subtle.ConstantTimeCompare([]byte(t), []byte(token))
		}
		if known == 1 {
			return http.StatusOK, q.Get("hub.challenge")
		}
	}
	h.log.WarnContext(r.Context(), "webhook verification refused")
	return http.StatusForbidden, ""
}

// receive takes a POST in and returns the status to answer with.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request) int {
	ctx := r.Context()
	mac, ok := parseSignature(r.Header.Get(signatureHeader))
	if !ok {
		h.metrics.rejected.Inc()
		h.log.WarnContext(ctx, "webhook refused", "reason", "no signature")
		return http.StatusUnauthorized
	}
	body, leave, err := h.lobby.read(w, r)
	defer leave()
	if errors.Is(err, errCrowded) {
		h.log.WarnContext(ctx, "webhook put off", "reason", "too many large bodies at once")
		return http.StatusServiceUnavailable
	}
	if err != nil {
		h.log.WarnContext(ctx, "webhook refused", "reason", "unreadable body", "err", err)
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return http.StatusRequestEntityTooLarge
		}
		return http.StatusBadRequest
	}
	book, signers, err := h.signers(ctx, mac, body)
	leave()
	switch {
	case err != nil:
		h.log.Log(ctx, loudness(ctx), "look up accounts for webhook", "err", err)
		return http.StatusServiceUnavailable
	case len(signers) == 0:
		h.metrics.rejected.Inc()
		h.log.WarnContext(ctx, "webhook refused", "reason", "wrong signature", "bytes", len(body))
		return http.StatusUnauthorized
	case !json.Valid(body):
		h.log.WarnContext(ctx, "webhook refused", "reason", "not JSON", "bytes", len(body))
		return http.StatusBadRequest
	}
	if err := h.take(ctx, body, mac, book, signers); err != nil {
		h.log.Log(ctx, loudness(ctx), "webhook not stored", "kind", gateway.KindOf(err).String(), "err", err)
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// loudness is the level of a failure. Where whoever posted went away before it
// was answered, they come again, and nobody must act.
func loudness(ctx context.Context) slog.Level {
	if ctx.Err() != nil {
		return slog.LevelWarn
	}
	return slog.LevelError
}

// signers returns the secrets that signed the body, looking at the accounts
// once more where none of those known did.
func (h *Handler) signers(ctx context.Context, mac, body []byte) (*book, map[gateway.Secret]bool, error) {
	b, err := h.directory.look(ctx, bookAge)
	if err != nil {
		return nil, nil, err
	}
	signers := b.signers(mac, body)
	if len(signers) > 0 {
		return b, signers, nil
	}
	fresh, err := h.directory.look(ctx, missAge)
	if err != nil || fresh == b {
		return b, nil, err
	}
	return fresh, fresh.signers(mac, body), nil
}

// take stores what a signed body says.
func (h *Handler) take(ctx context.Context, body, mac []byte, b *book, signers map[gateway.Secret]bool) error {
	changes, malformed := changesOf(body)
	for i := range changes {
		if b.owns(&changes[i], signers) {
			continue
		}
		// Perhaps the account was made, or got its secret, a moment ago.
		fresh, err := h.directory.look(ctx, missAge)
		if err != nil {
			return err
		}
		if fresh != b {
			b, signers = fresh, fresh.signers(mac, body)
		}
		break
	}
	d := delivery{}
	d.count(gateway.Account{Kind: gateway.CloudAPI}, outcomeMalformed, malformed)
	for i := range changes {
		if c := &changes[i]; c.field == templateField {
			h.sortTemplate(ctx, &d, c, b.business(c.waba, signers))
		} else {
			h.sort(ctx, &d, c, b.account(c.number, signers))
		}
	}
	return h.commit(ctx, &d)
}

// sort adds what one change says to the delivery, or counts why it does not.
func (h *Handler) sort(ctx context.Context, d *delivery, c *change, o owner) {
	switch o.state {
	case unknown:
		h.log.WarnContext(ctx, "change for an unknown number refused", "phone_number_id", short(c.number), "waba_id", short(c.waba))
		d.count(o.account, outcomeUnknown, max(1, c.size()))
		d.refused++
	case foreign:
		h.log.WarnContext(ctx, "change signed with another account's secret refused", "account", o.account.ID)
		d.count(o.account, outcomeForeign, max(1, c.size()))
		d.refused++
	case owned:
		got := c.read(&o.account, time.Now())
		if got.malformed > 0 || len(got.errors) > 0 {
			h.log.WarnContext(ctx, "change with faults", "account", o.account.ID, "malformed", got.malformed, "codes", got.errors)
		}
		d.inbound = append(d.inbound, got.inbound...)
		for range got.inbound {
			d.kinds = append(d.kinds, o.account.Kind)
		}
		d.statuses = append(d.statuses, got.statuses...)
		d.unheeded += got.unheeded
		d.count(o.account, outcomeMalformed, got.malformed)
		d.count(o.account, outcomeSkipped, got.skipped)
	}
}

// atOnce is how many messages, or statuses, of a POST go into one transaction.
// A history's chunk has thousands, which no transaction could write in time: it
// would be delivered, and fail, for seven days, and keep the others waiting.
const atOnce = 100

// commit stores a delivery, messages first, and counts it once it is safe. Where
// it fails in the middle, what is stored already is a duplicate the next time.
func (h *Handler) commit(ctx context.Context, d *delivery) error {
	began := time.Now()
	kinds := d.kinds
	for part := range slices.Chunk(d.inbound, atOnce) {
		outcomes, err := h.inbox.Receive(ctx, part...)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			h.metrics.received.WithLabelValues(string(part[i].Account), string(kinds[i]), string(o)).Inc()
		}
		kinds = kinds[len(part):]
	}
	for part := range slices.Chunk(d.statuses, atOnce) {
		if err := h.statuses.ApplyStatuses(ctx, part); err != nil {
			return err
		}
		for i := range part {
			h.metrics.statuses.WithLabelValues(string(part[i].Status)).Inc()
		}
	}
	if len(d.templates) > 0 {
		if err := h.statuses.ApplyTemplateUpdates(ctx, d.templates); err != nil {
			return err
		}
	}
	h.metrics.statuses.WithLabelValues(statusIgnored).Add(float64(d.unheeded))
	for _, t := range d.tallies {
		h.metrics.received.WithLabelValues(string(t.account), string(t.kind), t.outcome).Add(float64(t.n))
	}
	level := slog.LevelDebug
	if len(d.inbound) > 0 || len(d.templates) > 0 || d.refused > 0 {
		level = slog.LevelInfo
	}
	h.log.Log(ctx, level, "webhook", "messages", len(d.inbound), "statuses", len(d.statuses), "templates", len(d.templates),
		"refused_changes", d.refused, "took", time.Since(began))
	return nil
}

// A delivery is what one POST brought for accounts of ours.
type delivery struct {
	inbound   []gateway.Inbound
	kinds     []gateway.AccountKind // parallel to inbound
	statuses  []gateway.StatusUpdate
	templates []gateway.TemplateUpdate
	unheeded  int // statuses that say nothing we keep
	refused   int // changes
	tallies   []tally
}

type tally struct {
	account gateway.AccountID
	kind    gateway.AccountKind
	outcome string
	n       int
}

func (d *delivery) count(a gateway.Account, outcome string, n int) {
	if n > 0 {
		d.tallies = append(d.tallies, tally{a.ID, a.Kind, outcome, n})
	}
}

// short keeps a stranger's id fit for the log.
func short(id string) string { return id[:min(len(id), 32)] }
