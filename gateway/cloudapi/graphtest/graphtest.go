// Package graphtest is a WhatsApp Cloud API to test against: a [Server] that
// takes messages and keeps message templates over HTTP as the Graph API does,
// strict where Meta is strict, with faults on request; and builders of the signed webhook bodies that Meta
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
	"path"
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
	Type          string // empty: text
	Text          string // of another type: its caption, or what stands above buttons
	Link          string // where a file is
	Filename      string // of a document
	Template      string // its name
	Language      string // of a template
	Components    string // of a template, as JSON; empty: none
	Buttons       []Button
	ReplyTo       string // the quoted message's wamid
	CallbackData  string // biz_opaque_callback_data: comes back in statuses
	At            time.Time
}

// A Button is a reply button of a message that the server took.
type Button struct{ ID, Title string }

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
	mu        sync.Mutex        // guards all below
	tokens    map[string]string // by phone number id and by business account's
	templates map[string][]Template
	made      int                 // templates
	owned     map[string][]Number // numbers, by business account
	known     map[string]string   // wa_ids, by the numbers that they are not
	faults    []Fault
	spared    int // requests before the first fault
	sent      []Sent
	requests  int
	changed   chan struct{} // closed and renewed at each change
}

// New returns a Server that knows no number: until one is added, it takes
// messages of any number with any token.
func New() *Server {
	return &Server{tokens: map[string]string{}, templates: map[string][]Template{}, owned: map[string][]Number{}, known: map[string]string{}, changed: make(chan struct{})}
}

// AddNumber makes the server know a phone number id and the token that may
// send from it; others are refused from then on.
func (s *Server) AddNumber(phoneNumberID, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[phoneNumberID] = token
}

// KnowAs makes the server know whoever a number reaches under another, their wa_id,
// as Meta knows people of Brazil, Mexico and Argentina. Both are digits. Their
// messages come from the wa_id, which is the recipient of statuses, too.
func (s *Server) KnowAs(number, waID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[number] = waID
}

// Fail makes the next n requests end in f. Faults are used up in the order in
// which they were given.
func (s *Server) Fail(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, slices.Repeat([]Fault{f}, n)...)
}

// After makes the request after the next n end in f.
func (s *Server) After(n int, f Fault) {
	s.Fail(1, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spared = n
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

// ServeHTTP answers POST /…/{phone-number-id}/messages, GET of a phone number's node
// and of /…/{waba-id}/phone_numbers, and GET, POST and DELETE of
// /…/{waba-id}/message_templates.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client left before it had said everything
	}
	if waba, ok := ownerOf(r.URL.Path, "message_templates"); ok {
		s.serveTemplates(w, r, waba, body)
		return
	}
	number, ok := ownerOf(r.URL.Path, "messages")
	if !ok && r.Method == http.MethodGet {
		id, list := ownerOf(r.URL.Path, "phone_numbers")
		if !list {
			id = path.Base(r.URL.Path)
		}
		s.serveNumber(w, r, id, list)
		return
	}
	if !ok || r.Method != http.MethodPost {
		refuse(w, http.StatusNotFound, graphError{Code: 2500, Message: "Unknown path components: " + r.URL.Path})
		return
	}
	m, status, fault := s.check(r, number, body)
	s.mu.Lock()
	waID, other := s.known[m.To]
	if !other {
		waID = m.To
	}
	scripted := s.begin()
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
		answer(w, &m, waID)
	}
}

// ownerOf finds whose edge a path names, whatever version or prefix stands
// before it.
func ownerOf(path, edge string) (string, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 2 || parts[len(parts)-1] != edge || parts[len(parts)-2] == "" {
		return "", false
	}
	return parts[len(parts)-2], true
}

// begin counts a request and returns how it is to end; nil: by itself. s must
// be locked.
func (s *Server) begin() *Fault {
	s.requests++
	if len(s.faults) == 0 || s.spared > 0 {
		s.spared = max(s.spared-1, 0)
		return nil
	}
	scripted := s.faults[0]
	s.faults = s.faults[1:]
	return &scripted
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
	UserTitle string `json:"error_user_title,omitempty"`
	UserMsg   string `json:"error_user_msg,omitempty"`
	Trace     string `json:"fbtrace_id"`
}

func refuse(w http.ResponseWriter, status int, e graphError) {
	e.Type, e.Trace = "OAuthException", "A"+rand.Text()[:10]
	if e.Message == "" {
		e.Message = "(#" + strconv.Itoa(e.Code) + ") scripted"
	}
	write(w, status, map[string]any{"error": e})
}

func answer(w http.ResponseWriter, m *Sent, waID string) {
	contact := map[string]any{"input": m.To, "wa_id": waID}
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
