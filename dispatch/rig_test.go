package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/debounce"
	"wagent/debounce/redistest"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/dispatch/route/pick"
	"wagent/dispatch/spend"
	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account  gateway.AccountID = "acc_try"
	ada                        = "+4915550001"
	bob                        = "+4915550002"
	lease                      = 30 * time.Second
	fallback                   = "One moment, please."
)

// settings are what a test may have otherwise.
type settings struct {
	agent  gateway.Agent
	others []gateway.Agent // younger ones
	place  gateway.Account // time zone, hours and router of the account
	config dispatch.Config
	parts  func(*dispatch.Parts) // puts doubles before the store; may be nil
}

// A rig is a Dispatcher on an empty store, with a model that a test writes. All
// of it lives in a bubble.
type rig struct {
	*testing.T
	d         *dispatch.Dispatcher
	db        *store.Store
	windows   *debounce.Debouncer
	timers    dispatch.Windows                               // on windows
	replica   func() (*debounce.Debouncer, dispatch.Windows) // another process on the same Redis
	flush     func()                                         // makes Redis lose everything
	model     *model
	agent     gateway.Agent // as it is on record
	registry  *prometheus.Registry
	log       *logbook
	start     time.Time
	sent      atomic.Int32 // how often the outbox was woken
	delivered atomic.Int32 // and the webhooks
	ids       int
}

// inRig plays against a rig in virtual time. change may be nil.
func inRig(t *testing.T, answer script, change func(*settings), play func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := settings{
			agent:  gateway.DefaultAgent(),
			place:  gateway.Account{ID: account, Kind: gateway.Sandbox},
			config: dispatch.Config{Concurrency: 4, Timeout: 10 * time.Minute, Lease: lease, MaxAttempts: 3, Drain: 20 * time.Second},
		}
		s.agent.Key, s.agent.Account, s.agent.Name, s.agent.SystemPrompt, s.agent.AutoRun = "concierge", account, "Concierge", "Be kind.", true
		if change != nil {
			change(&s)
		}
		r := &rig{T: t, db: storetest.Open(t), model: &model{answer: answer}, registry: prometheus.NewRegistry(), log: &logbook{}, start: time.Now()}
		hooks := []gateway.Webhook{{Key: "all", URL: "https://example.com/hook", Secret: "s", Active: true}}
		must(t, r.db.Declare(t.Context(), []gateway.Account{s.place}, append([]gateway.Agent{s.agent}, s.others...), hooks, nil))
		r.db.OnDeliveries(func(...int64) { r.delivered.Add(1) })
		r.agent = got(r.db.Agents(t.Context()))(t)[0]
		log := slog.New(slog.NewTextHandler(r.log, nil))
		rdb := redistest.InMemory(t)
		var err error
		r.replica = func() (*debounce.Debouncer, dispatch.Windows) {
			d := got(debounce.New(rdb, debounce.Config{Prefix: "test", Shards: 1, Lease: lease, Concurrency: 4}, log, nil))(t)
			return d, dispatch.Windows{Debouncer: d, Store: r.db, Agents: r.db}
		}
		r.windows, r.timers = r.replica()
		r.flush = func() { must(t, rdb.FlushAll(t.Context()).Err()) }
		guard := spend.New(r.db, log, r.registry)
		parts := dispatch.Parts{
			Runs: r.db, Requests: r.db, Actions: r.db, Directory: r.db, Picker: &pick.Picker{Runs: r.db, Accounts: r.db, Within: guard.Within, Log: log},
			Memory: recall.New(rdb, r.db, "test", log, nil), Spent: guard.Reached, Answerer: r.model,
			Sent:  func() { r.sent.Add(1) },
			Rearm: r.timers.Rearm, Drop: r.timers.Drop,
		}
		if s.parts != nil {
			s.parts(&parts)
		}
		if r.d, err = dispatch.New(parts, s.config, log, r.registry); err != nil {
			t.Fatal(err)
		}
		play(r)
	})
}

// write records a message of a customer's that waits for a run.
func (r *rig) write(phone, text string) gateway.Message {
	r.Helper()
	r.ids++
	who := gateway.Address{Phone: phone}
	in := gateway.Inbound{
		Account: account, Peer: who, Sender: who, SenderName: "Ada", ExternalID: fmt.Sprint("wamid.", r.ids),
		Type: gateway.TypeText, Text: text, SentAt: time.Now(), Origin: gateway.OriginLive,
	}
	return got(r.db.AddMessages(r.Context(), []gateway.Arrival{{Inbound: in, State: gateway.StateWaiting, ReceivedAt: time.Now()}}))(r.T)[0].Message
}

// revoke deletes a message for everybody.
func (r *rig) revoke(m gateway.Message) {
	r.Helper()
	r.ids++
	who := gateway.Address{Phone: ada}
	in := gateway.Inbound{
		Account: account, Peer: who, Sender: who, ExternalID: fmt.Sprint("wamid.", r.ids), Type: gateway.TypeText,
		Change: gateway.Revoke, Target: m.ExternalID, SentAt: time.Now(), Origin: gateway.OriginLive,
	}
	got(r.db.AddMessages(r.Context(), []gateway.Arrival{{Inbound: in, State: gateway.StateIgnored, ReceivedAt: time.Now()}}))(r.T)
}

// handle hands over a batch of the conversation, as debounce does.
func (r *rig) handle(ctx context.Context, id gateway.ConversationID) error {
	return r.d.Handle(ctx, debounce.Batch{Key: string(id), Items: []string{"a hint"}})
}

// begin handles in the background.
func (r *rig) begin(ctx context.Context, id gateway.ConversationID) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.handle(ctx, id) }()
	synctest.Wait()
	return done
}

// answered writes a message and has it answered.
func (r *rig) answered(phone, text string) gateway.Run {
	r.Helper()
	m := r.write(phone, text)
	must(r.T, r.handle(r.Context(), m.Conversation))
	all := r.runs()
	return all[len(all)-1]
}

// serve runs something in the background; the returned function ends it.
func (r *rig) serve(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("Run = %v, want nil", err)
		}
	})
	r.Cleanup(stop)
	synctest.Wait()
	return stop
}

// at waits until a moment of the play.
func (r *rig) at(after time.Duration) {
	time.Sleep(time.Until(r.start.Add(after)))
	synctest.Wait()
}

// runs returns all runs, oldest first.
func (r *rig) runs() []gateway.Run {
	r.Helper()
	newest, _, err := r.db.Runs(r.Context(), gateway.RunFilter{Limit: 1000})
	must(r.T, err)
	out := make([]gateway.Run, len(newest))
	for i := range newest {
		out[len(out)-1-i] = newest[i]
	}
	return out
}

// run returns the only run, which must have ended in a certain way.
func (r *rig) run(status gateway.RunStatus, stop gateway.StopReason, attempt int) gateway.Run {
	r.Helper()
	all := r.runs()
	if len(all) != 1 {
		r.Fatalf("there are %d runs, want 1", len(all))
	}
	if x := &all[0]; x.Status != status || x.StopReason != stop || x.Attempt != attempt {
		r.Errorf("the run is %s (%q) in attempt %d, want %s (%q), %d", x.Status, x.StopReason, x.Attempt, status, stop, attempt)
	}
	return all[0]
}

// says checks what the outbox holds for a conversation: origin, part and text.
func (r *rig) says(id gateway.ConversationID, want ...string) {
	r.Helper()
	var out []string
	for _, s := range got(r.db.Sends(r.Context(), id))(r.T) {
		out = append(out, fmt.Sprintf("%s %d %s", s.Origin, s.Part, s.Text))
	}
	equal(r.T, "sends", out, want)
}

// tells checks what webhooks are told of a run: event and action.
func (r *rig) tells(id gateway.RunID, want ...string) {
	r.Helper()
	var out []string
	for _, d := range got(r.db.Deliveries(r.Context(), id))(r.T) {
		out = append(out, fmt.Sprintf("%s %d", d.Event, d.Action))
	}
	equal(r.T, "deliveries", out, want)
}

// counts checks the series of a counter that are not zero, by the values of
// their labels in the order of the labels' names.
func (r *rig) counts(name string, want map[string]float64) {
	r.Helper()
	out := map[string]float64{}
	for _, f := range got(r.registry.Gather())(r.T) {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if v := m.GetCounter().GetValue(); v != 0 {
				out[strings.Join(labels, " ")] = v
			}
		}
	}
	equal(r.T, name, out, want)
}

// state returns what became of a message.
func (r *rig) state(m gateway.Message) string {
	r.Helper()
	for _, x := range got(r.db.Messages(r.Context(), m.Account, m.Conversation, 1000))(r.T) {
		if x.ID == m.ID {
			return strings.TrimSpace(fmt.Sprint(x.State, " ", x.StateReason))
		}
	}
	r.Fatalf("message %s is gone", m.ID)
	return ""
}

// A script answers the n-th question, counted from 1.
type script func(ctx context.Context, n int) (agent.Answer, error)

// A model is an Answerer that follows a script.
type model struct {
	answer script
	mu     sync.Mutex
	asked  []string // what it read
}

func (m *model) Answer(ctx context.Context, _ *gateway.Agent, p prompt.Prompt) (agent.Answer, error) {
	text := p.System
	for _, t := range p.Turns {
		text += "\n" + t.Text
	}
	m.mu.Lock()
	m.asked = append(m.asked, text)
	n := len(m.asked)
	m.mu.Unlock()
	return m.answer(ctx, n)
}

// questions returns what the model read so far.
func (m *model) questions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.asked...)
}

// says answers with a reply and actions of these types.
func says(reply string, actions ...string) script {
	return func(context.Context, int) (agent.Answer, error) {
		out := gateway.Output{
			Intent: "greet", Confidence: 1, Language: "en", SuggestedReply: reply, ContextSummary: "summary of " + reply, Actions: []gateway.OutputAction{},
		}
		for i, a := range actions {
			out.Actions = append(out.Actions, gateway.OutputAction{Type: a, Payload: map[string]any{"n": float64(i)}})
		}
		return agent.Answer{Output: out, Model: "fake/model", InputTokens: 7, OutputTokens: 5, Latency: time.Second, Notes: []string{"noted"}}, nil
	}
}

// after answers once some time is over, unless its context ends first.
func after(d time.Duration, then script) script {
	return func(ctx context.Context, n int) (agent.Answer, error) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return then(ctx, n)
		case <-ctx.Done():
			return agent.Answer{}, fmt.Errorf("ask model: %w", ctx.Err())
		}
	}
}

// inTurn answers the first question with the first script and so on; the last
// one answers the rest.
func inTurn(scripts ...script) script {
	return func(ctx context.Context, n int) (agent.Answer, error) {
		return scripts[min(n, len(scripts))-1](ctx, n)
	}
}

func fails(err error) script {
	return func(context.Context, int) (agent.Answer, error) { return agent.Answer{}, err }
}

func panics(context.Context, int) (agent.Answer, error) { panic("the model is mad") }

// A logbook keeps log lines. It is safe for concurrent use.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

var (
	errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is not available"}
	errOdd  = errors.New("nobody expected this")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got unwraps a result whose error ends the test.
func got[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func wantKind(t *testing.T, err error, kind gateway.Kind) {
	t.Helper()
	if err == nil || gateway.KindOf(err) != kind {
		t.Fatalf("error is %v (%s), want kind %s", err, gateway.KindOf(err), kind)
	}
}

func equal[T any](t *testing.T, what string, got, want T, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
