// Package llmtest is a language model's server for tests, benches and the
// demo: it speaks OpenAI's Chat Completions and Responses and Anthropic's
// Messages over HTTP, in one piece or as a stream, answers what it is told to,
// fails as real servers fail, and refuses whatever the published shape of the
// request would make them refuse.
//
// State lives in memory: the requests seen, and what was wrong with them. It
// imports no testing package. Nothing outlives the process. A request that waits
// costs a timer and the goroutine of its connection, so that a thousand may.
package llmtest

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Reply is how the server answers one request. The zero Reply is an answer
// without content.
type Reply struct {
	Text         string        // the message's content; of a request with a tool, what the tool is called with
	Plain        bool          // Text is content although there is a tool
	Calls        int           // how often the tool is called; 0: once
	Refusal      string        // the message's refusal; empty: null
	FinishReason string        // as Chat Completions or Messages has it; empty: that of an answer which is whole
	CachedTokens int           // of the prompt, how many came from the cache
	Delay        time.Duration // waited before anything else, unless the client leaves first

	Status  int         // 0 or 200: a completion; else an error with Code, Param and Message
	Code    string      // of the error; Groq's json_validate_failed carries Text
	Param   string      // of the error; empty: null
	Message string      // of the error
	Header  http.Header // added to any answer, such as Retry-After
	Fault   Fault
	After   int // of a Cut: the bytes of the body before it; 0: half of them
}

// A Fault is a way to answer that no client likes.
type Fault uint8

// The faults. They take the place of a completion.
const (
	Hang      Fault = iota + 1 // nothing, until the client leaves
	Garbage                    // 200 with what is no JSON
	Cut                        // 200, and the connection ends in the middle of the body
	Empty                      // 200 without a body
	NoChoices                  // 200 with nothing in it that could be an answer
	Huge                       // 200 with a body of 5 MiB
	Stall                      // 200 with half of a body, and nothing more until the client leaves
	Unended                    // 200, and the body ends in order, but too early: half of it
	Late                       // 200 with half of a stream, and then the error with Code and Message
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
	Messages    []Message       // the system's, whatever the protocol calls it, comes first
	Format      string          // the type of the format that is asked for, tool where a tool is to carry it; empty if it has none
	Strict      bool            // of a json_schema or a tool; Anthropic's formats always are
	Schema      json.RawMessage // of a json_schema or a tool
	Choice      string          // of tools: auto, required, or any other that a protocol has
	Temperature *float64        // nil: not sent
	MaxTokens   int             // by any name; 0: not sent
	Cached      bool            // Anthropic's: the system prompt is marked to be cached
	CacheKey    string          // OpenAI's prompt_cache_key
	Stream      bool
	Usage       bool // of a stream: its usage is asked for, or comes anyhow
	At          time.Time

	protocol protocol
	tool     string // its name
}

// A Server is an http.Handler that answers POST …/chat/completions, POST
// …/responses and, in Anthropic's protocol, POST …/v1/messages. Its fields are set
// before its first request; its methods are safe for concurrent use.
type Server struct {
	Key     string              // the key that requests must carry; empty: any, or none
	OpenAI  bool                // as strict as api.openai.com: max_completion_tokens only, no temperature for thinkers
	Extra   []string            // parameters of Chat Completions that this server takes and OpenAI's does not
	Answer  func(Request) Reply // called concurrently; nil: an empty answer
	Discard bool                // Requests stays empty, as a bench wants it

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

// A protocol is one of those that the server speaks.
type protocol interface {
	carries(h http.Header, key string) bool
	parse(s *Server, req *Request) *problem // reads req.Body
	answer(req *Request, p *Reply) []byte   // in one piece
	events(req *Request, p *Reply) []event  // as a stream
	failure(p *Reply) []byte                // the body of an error
	late(p *Reply) event                    // an error in a stream
	hollow() (body []byte, events []event)  // nothing to read
	wrongKey() (code string)
	invalid() (code string) // of every request that is wrong; empty: each has its own
}

func protocolOf(r *http.Request) protocol {
	switch {
	case r.Method != http.MethodPost:
		return nil
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		return chat{}
	case strings.HasSuffix(r.URL.Path, "/responses"):
		return responses{}
	case strings.HasSuffix(r.URL.Path, "/v1/messages"):
		return messages{}
	}
	return nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the client left
	}
	proto := protocolOf(r)
	if proto == nil {
		s.note("nothing is at " + r.Method + " " + r.URL.Path)
		refuse(w, chat{}, http.StatusNotFound, &Reply{Code: "unknown_url", Message: "Invalid URL (" + r.Method + " " + r.URL.Path + ")"})
		return
	}
	if s.Key != "" && !proto.carries(r.Header, s.Key) {
		s.note("the request does not carry the key that was issued")
		refuse(w, proto, http.StatusUnauthorized, &Reply{Code: proto.wrongKey(), Message: "Incorrect API key provided."})
		return
	}
	req := Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: body, At: time.Now(), protocol: proto}
	wrong := contentType(r.Header)
	if wrong == nil {
		wrong = proto.parse(s, &req)
	}
	if wrong != nil {
		wrong.code = cmp.Or(proto.invalid(), wrong.code)
		s.note(wrong.message)
		refuse(w, proto, wrong.status, &Reply{Code: wrong.code, Param: wrong.param, Message: wrong.message})
		return
	}
	if !s.Discard {
		s.mu.Lock()
		s.requests = append(s.requests, req)
		s.mu.Unlock()
	}
	var reply Reply
	if s.Answer != nil {
		reply = s.Answer(req)
	}
	s.reply(w, r, &req, &reply)
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
		refuse(w, req.protocol, p.Status, p)
		return
	}
	if req.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
		send(w, r, p, stream(req, p))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	send(w, r, p, whole(req, p))
}

// whole is the body of an answer in one piece.
func whole(req *Request, p *Reply) []byte {
	switch p.Fault {
	case Garbage:
		return []byte("<html>502 Bad Gateway</html>")
	case NoChoices:
		body, _ := req.protocol.hollow()
		return body
	case Huge:
		return slices.Concat([]byte(`{"x":"`), make([]byte, 5<<20), []byte(`"}`))
	case Empty:
		return nil
	default:
		return req.protocol.answer(req, p)
	}
}

// send writes a body as far as the fault lets it.
func send(w http.ResponseWriter, r *http.Request, p *Reply, body []byte) {
	half := p.After
	if half == 0 || half > len(body) {
		half = len(body) / 2
	}
	flush := func() {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	switch p.Fault {
	case Hang:
		<-r.Context().Done()
	case Cut:
		write(w, body[:half])
		flush()
		panic(http.ErrAbortHandler) // how net/http is told to drop a connection
	case Stall:
		write(w, body[:half])
		flush()
		<-r.Context().Done()
	case Unended:
		write(w, body[:half])
	default:
		write(w, body)
	}
}

func refuse(w http.ResponseWriter, proto protocol, status int, p *Reply) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	write(w, proto.failure(p))
}

// write ignores the error: it says that the client left, and a client that
// leaves is something that tests do on purpose.
func write(w io.Writer, b []byte) { _, _ = w.Write(b) }

// object is a JSON object as it is written.
type object = map[string]any

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("llmtest: encode: " + err.Error()) // strings, numbers and lists of them always encode
	}
	return b
}
