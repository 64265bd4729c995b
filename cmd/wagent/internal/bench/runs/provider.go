package runs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// A span is when a request was with the provider, by the clock of this
// machine, in nanoseconds since 1970.
type span struct {
	From int64 `json:"from"` // its header had come
	To   int64 `json:"to"`   // its answer was handed to the system
}

func (s span) took() time.Duration { return time.Duration(s.To - s.From) }

// spansPath is where a provider tells what it held requests for.
const spansPath = "/bench/spans"

// Provide plays a model that takes so long to answer, until in ends. It prints
// its address on out first. Requests that a real provider would refuse are
// refused.
func Provide(ctx context.Context, latency time.Duration, in io.Reader, out io.Writer) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: newModel(latency), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, in) // nothing is ever written there
		ended <- errors.Join(err, srv.Close())
	}()
	fmt.Fprintf(out, "%s\n", ln.Addr())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the model: %w", err)
	}
	return <-ended
}

// A model answers, and remembers how long it took.
type model struct {
	double *llmtest.Server
	mu     sync.Mutex // guards spans
	spans  map[int]span
}

func newModel(latency time.Duration) *model {
	answer := answerText()
	return &model{
		double: &llmtest.Server{Discard: true, Answer: func(llmtest.Request) llmtest.Reply { return llmtest.Reply{Text: answer, Delay: latency} }},
		spans:  map[int]span{},
	}
}

const actionType = "hospitality.room_service.request"

// answerText is what the model says, whatever it is asked.
func answerText() string {
	b, err := json.Marshal(gateway.Output{
		Intent: "room_service", Confidence: 0.97, Language: "en",
		Actions:        []gateway.OutputAction{{Type: actionType, Payload: map[string]any{"room_number": "204", "description": "Clean the room"}}},
		SuggestedReply: "Of course! Housekeeping will clean room 204 before the evening.",
		ContextSummary: "The guest of room 204 asked for it to be cleaned before the evening.", AnalysisSummary: "A request for housekeeping.",
	})
	if err != nil {
		panic(fmt.Sprintf("runs: encode an answer: %v", err)) // strings and numbers always encode
	}
	return string(b)
}

// ServeHTTP satisfies http.Handler.
func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == spansPath {
		m.mu.Lock()
		defer m.mu.Unlock()
		_ = json.NewEncoder(w).Encode(m.spans) // an error says that the client left
		return
	}
	from := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the client left
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.double.ServeHTTP(w, r)
	_ = http.NewResponseController(w).Flush() // an error says that the client left
	if i, ok := number(string(body)); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.spans[i] = span{From: from.UnixNano(), To: time.Now().UnixNano()}
	}
}

// A provider is a process that provides.
type provider struct {
	url string // the base of its API
	cmd *exec.Cmd
	in  io.Closer
}

func startProvider(ctx context.Context, program []string, latency time.Duration) (*provider, error) {
	args := append(append([]string{}, program[1:]...), "--latency", latency.String())
	cmd := exec.CommandContext(ctx, program[0], args...) //nolint:gosec // it is this program
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	p := &provider{url: "http://" + strings.TrimSpace(line) + "/v1", cmd: cmd, in: in}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("it printed no address: %w", err), p.stop(), fmt.Errorf("it said %q", said.String()))
	}
	return p, nil
}

// spans asks what requests were held for, by the number of their message.
func (p *provider) spans(ctx context.Context) (out map[int]span, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.url, "/v1")+spansPath, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the provider what it held requests for: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("read what the provider held requests for: %w", err)
	}
	return out, nil
}

func (p *provider) stop() error {
	_ = p.in.Close() // at which it stops
	return p.cmd.Wait()
}
