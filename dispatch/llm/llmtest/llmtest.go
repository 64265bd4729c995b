// Package llmtest is a language model's server for tests, benches and the
// demo: it speaks OpenAI's Chat Completions and Anthropic's Messages over HTTP,
// answers what it is told to, fails as real servers fail, and refuses whatever the published
// shape of the request would make them refuse.
//
// State lives in memory: the requests seen, and what was wrong with them. It
// imports no testing package. Nothing outlives the process.
package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Reply is how the server answers one request. The zero Reply is an answer
// without content.
type Reply struct {
	Text         string        // the message's content
	Refusal      string        // the message's refusal; empty: null
	FinishReason string        // empty: stop
	Delay        time.Duration // waited before anything else, unless the client leaves first

	Status  int         // 0 or 200: a completion; else an error with Code, Param and Message
	Code    string      // of the error
	Param   string      // of the error; empty: null
	Message string      // of the error
	Header  http.Header // added to any answer, such as Retry-After
	Fault   Fault
}

// A Fault is a way to answer that no client likes.
type Fault uint8

// The faults. They take the place of a completion.
const (
	NoFault   Fault = iota
	Hang            // nothing, until the client leaves
	Garbage         // 200 with what is no JSON
	Cut             // 200, and the connection ends in the middle of the body
	Empty           // 200 without a body
	NoChoices       // 200 with an empty list of choices
	Huge            // 200 with a body of 5 MiB
)

// A Message is one of a request's messages.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// A Request is what a client asked.
type Request struct {
	Path        string
	Header      http.Header
	Body        []byte // as it came
	Model       string
	Messages    []Message
	Format      string          // the type of response_format; empty if it has none
	Strict      bool            // of a json_schema; Anthropic's always are
	Schema      json.RawMessage // of a json_schema
	Temperature *float64        // nil: not sent
	MaxTokens   int             // by either name; 0: not sent
	Cached      bool            // Anthropic's: the system prompt is marked to be cached
	At          time.Time
}

// A Server is an http.Handler that answers POST …/chat/completions and, in
// Anthropic's protocol, POST …/v1/messages. Its fields are set before its first request; its methods are safe for concurrent use.
type Server struct {
	Key    string              // the key that requests must carry; empty: any, or none
	OpenAI bool                // as strict as api.openai.com: max_completion_tokens only, no unknown parameters
	Answer func(Request) Reply // called concurrently; nil: an empty answer

	mu       sync.Mutex
	requests []Request
	problems []string
	now, max int
}

// Queue returns an Answer that gives the replies one after the other, and the
// last one from then on. It panics without replies.
func Queue(replies ...Reply) func(Request) Reply {
	if len(replies) == 0 {
		panic("llmtest: a queue needs replies")
	}
	var mu sync.Mutex
	left := slices.Clone(replies)
	return func(Request) Reply {
		mu.Lock()
		defer mu.Unlock()
		r := left[0]
		if len(left) > 1 {
			left = left[1:]
		}
		return r
	}
}

// Requests returns the requests so far that were well-formed, in order of
// arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Problems returns what was wrong with requests that a real server would
// refuse. A test that expects none checks that it is empty.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// MaxConcurrent returns how many requests were in hand at once, at most.
func (s *Server) MaxConcurrent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.max
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the client left
	}
	if s.Key != "" && !carries(r, s.Key) {
		s.note("the request does not carry the key that was issued")
		code := "invalid_api_key"
		if isMessages(r) {
			code = "authentication_error"
		}
		writeError(w, r, http.StatusUnauthorized, &Reply{Code: code, Message: "Incorrect API key provided."})
		return
	}
	var req Request
	var wrong *problem
	if isMessages(r) {
		if req, wrong = parseMessages(r, body); wrong != nil {
			wrong.code = "invalid_request_error"
		}
	} else {
		req, wrong = parse(r, body, s.OpenAI)
	}
	if wrong != nil {
		s.note(wrong.message)
		writeError(w, r, wrong.status, &Reply{Code: wrong.code, Param: wrong.param, Message: wrong.message})
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	s.mu.Unlock()
	var reply Reply
	if s.Answer != nil {
		reply = s.Answer(req)
	}
	s.reply(w, r, &req, &reply)
}

// carries reports whether a request has the key where its protocol wants it.
func carries(r *http.Request, key string) bool {
	if isMessages(r) {
		return r.Header.Get("X-Api-Key") == key
	}
	return r.Header.Get("Authorization") == "Bearer "+key
}

func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now++
	s.max = max(s.max, s.now)
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
}

func (s *Server) note(problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, problem)
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, req *Request, p *Reply) {
	if p.Delay > 0 {
		t := time.NewTimer(p.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	maps.Copy(w.Header(), p.Header)
	if p.Status != 0 && p.Status != http.StatusOK {
		writeError(w, r, p.Status, p)
		return
	}
	body := completion(req, p)
	if isMessages(r) {
		body = message(req, p)
	}
	w.Header().Set("Content-Type", "application/json")
	switch p.Fault {
	case NoFault:
		write(w, body)
	case Hang:
		<-r.Context().Done()
	case Garbage:
		write(w, []byte("<html>502 Bad Gateway</html>"))
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		write(w, body[:len(body)/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler) // how net/http is told to drop a connection
	case Empty:
		w.WriteHeader(http.StatusOK)
	case NoChoices:
		write(w, []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[]}`))
	case Huge:
		write(w, append(append([]byte(`{"x":"`), make([]byte, 5<<20)...), `"}`...))
	}
}

// completion is the body of a good answer, in the published form.
func completion(req *Request, p *Reply) []byte {
	reason := p.FinishReason
	if reason == "" {
		reason = "stop"
	}
	var refusal any
	if p.Refusal != "" {
		refusal = p.Refusal
	}
	in := len(req.Body) / 4
	out := len(p.Text)/4 + 1
	body, err := json.Marshal(map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": req.Model,
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": reason, "logprobs": nil,
			"message": map[string]any{"role": "assistant", "content": p.Text, "refusal": refusal},
		}},
		"usage": map[string]any{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out},
	})
	if err != nil {
		panic(fmt.Sprintf("llmtest: encode completion: %v", err)) // strings and numbers always encode
	}
	return body
}

func writeError(w http.ResponseWriter, r *http.Request, status int, p *Reply) {
	w.Header().Set("Content-Type", "application/json")
	if isMessages(r) {
		w.WriteHeader(status)
		write(w, messagesError(p))
		return
	}
	var param any
	if p.Param != "" {
		param = p.Param
	}
	body, err := json.Marshal(map[string]any{"error": map[string]any{
		"message": p.Message, "type": "invalid_request_error", "param": param, "code": p.Code,
	}})
	if err != nil {
		panic(fmt.Sprintf("llmtest: encode error: %v", err)) // strings always encode
	}
	w.WriteHeader(status)
	write(w, body)
}

// write ignores the error: it says that the client left, and a client that
// leaves is something that tests do on purpose.
func write(w io.Writer, b []byte) { _, _ = w.Write(b) }
