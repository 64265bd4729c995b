// Package graphtest is a WhatsApp Cloud API to test against: a [Server] that
// takes messages over HTTP as the Graph API does, strict where Meta is strict,
// with faults on request; and builders of the signed webhook bodies that Meta
// would post.
//
// It speaks the real wire and does not import testing, so that demos and
// benchmarks can use it. Its state is in memory and gone with the process.
package graphtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sent is a message that the server took.
type Sent struct {
	ID            string // the wamid that it was given
	PhoneNumberID string // whom it left from
	To            string // digits, or a group's id; empty if Recipient is set
	Recipient     string // a business-scoped user id
	Group         bool
	Text          string
	ReplyTo       string // the quoted message's wamid
	CallbackData  string // biz_opaque_callback_data: comes back in statuses
	At            time.Time
}

// A Fault is how the server answers one request in place of taking its
// message. The zero Fault is an answer of HTTP 500 without a body.
type Fault struct {
	Code       int    // of the Graph error in the body; 0: the body is Raw
	Subcode    int    // of the Graph error
	Message    string // of the Graph error
	Transient  bool   // is_transient of the Graph error
	Status     int    // of HTTP; 0: 400, or 500 where Code and Raw are empty
	RetryAfter string // header; empty: none
	Raw        string // the body without a Code, such as garbage
	Take       bool   // the message is taken all the same, so a resend is a double
	Hang       bool   // no answer until the client gives up
	Cut        bool   // the connection ends without an answer
}

// A Server is a fake Graph API: an http.Handler, and what it saw. It is safe
// for concurrent use.
type Server struct {
	mu       sync.Mutex // guards all below
	tokens   map[string]string
	faults   []Fault
	sent     []Sent
	requests int
	changed  chan struct{} // closed and renewed at each change
}

// New returns a Server that knows no number: until one is added, it takes
// messages of any number with any token.
func New() *Server {
	return &Server{tokens: map[string]string{}, changed: make(chan struct{})}
}

// AddNumber makes the server know a phone number id and the token that may
// send from it; others are refused from then on.
func (s *Server) AddNumber(phoneNumberID, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[phoneNumberID] = token
}

// Fail makes the next n requests end in f. Faults are used up in the order in
// which they were given.
func (s *Server) Fail(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, slices.Repeat([]Fault{f}, n)...)
}

// Sent returns the messages taken, in order.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// Requests returns how many requests arrived whole, refused ones included.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Wait blocks until at least n messages were taken, and returns them all, or
// until ctx is done.
func (s *Server) Wait(ctx context.Context, n int) ([]Sent, error) {
	for {
		s.mu.Lock()
		sent, changed := slices.Clone(s.sent), s.changed
		s.mu.Unlock()
		if len(sent) >= n {
			return sent, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return sent, fmt.Errorf("wait for %d messages, have %d: %w", n, len(sent), context.Cause(ctx))
		}
	}
}

// ServeHTTP answers POST /…/{phone-number-id}/messages.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client left before it had said everything
	}
	number, ok := numberOf(r.URL.Path)
	if !ok || r.Method != http.MethodPost {
		refuse(w, http.StatusNotFound, graphError{Code: 2500, Message: "Unknown path components: " + r.URL.Path})
		return
	}
	m, status, fault := s.check(r, number, body)
	s.mu.Lock()
	s.requests++
	var scripted *Fault
	if len(s.faults) > 0 {
		scripted, s.faults = &s.faults[0], s.faults[1:]
	}
	taken := fault == nil && (scripted == nil || scripted.Take)
	if taken {
		m.ID, m.At = "wamid."+rand.Text(), time.Now()
		s.sent = append(s.sent, m)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	switch {
	case scripted != nil:
		scripted.answer(w, r)
	case fault != nil:
		refuse(w, status, *fault)
	default:
		answer(w, &m)
	}
}

// numberOf finds the phone number id in a path, whatever version or prefix
// stands before it.
func numberOf(path string) (string, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 2 || parts[len(parts)-1] != "messages" || parts[len(parts)-2] == "" {
		return "", false
	}
	return parts[len(parts)-2], true
}

func (f *Fault) answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler) // net/http ends the connection without a word
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	status := f.Status
	switch {
	case status == 0 && f.Code == 0 && f.Raw == "":
		status = http.StatusInternalServerError
	case status == 0:
		status = http.StatusBadRequest
	}
	if f.Code == 0 {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, f.Raw)
		return
	}
	refuse(w, status, graphError{Code: f.Code, Subcode: f.Subcode, Message: f.Message, Transient: f.Transient})
}

// A graphError is the error object of the Graph API.
type graphError struct {
	Message   string `json:"message"`
	Type      string `json:"type"`
	Code      int    `json:"code"`
	Subcode   int    `json:"error_subcode,omitempty"`
	Transient bool   `json:"is_transient,omitempty"`
	Trace     string `json:"fbtrace_id"`
}

func refuse(w http.ResponseWriter, status int, e graphError) {
	e.Type, e.Trace = "OAuthException", "A"+rand.Text()[:10]
	if e.Message == "" {
		e.Message = "(#" + strconv.Itoa(e.Code) + ") scripted"
	}
	write(w, status, map[string]any{"error": e})
}

func answer(w http.ResponseWriter, m *Sent) {
	contact := map[string]any{"input": m.To, "wa_id": m.To}
	if m.Recipient != "" {
		contact = map[string]any{"input": m.Recipient, "user_id": m.Recipient}
	}
	write(w, http.StatusOK, map[string]any{
		"messaging_product": "whatsapp",
		"contacts":          []any{contact},
		"messages":          []any{map[string]any{"id": m.ID}},
	})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
