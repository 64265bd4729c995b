package runs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wagent/context/prompt"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
)

// A life is when things happened to a message. Each is set once, but where a
// run is claimed again.
type life struct {
	wrote, acked      time.Time // by the customer; its acknowledgement
	claiming, claimed time.Time // its window was handed over; its run is in hand
	asked, answered   time.Time // what answers was called; it returned
	finishing         time.Time // what came of it is written down
	finished, sent    time.Time // that is committed; the reply was accepted
}

// phaseNames are what the time of a message is told by, in their order. What
// they mean stands in dispatch/README.md.
var phaseNames = [...]string{"receive", "window", "claim", "input", "model client", "conclude", "finish", "send"}

// phases splits what passed, but for the window's quiet and what the provider
// took.
func (l *life) phases(model time.Duration) [len(phaseNames)]time.Duration {
	return [...]time.Duration{
		l.acked.Sub(l.wrote),
		l.claiming.Sub(l.acked) - quiet, // a little less than nothing where Redis began to count before we knew
		l.claimed.Sub(l.claiming),
		l.asked.Sub(l.claimed),
		l.answered.Sub(l.asked) - model,
		l.finishing.Sub(l.answered),
		l.finished.Sub(l.finishing),
		l.sent.Sub(l.finished),
	}
}

// A tape notes what happens to messages, by their number.
type tape struct {
	mu        sync.Mutex // guards what follows
	lives     []life
	runs      map[gateway.RunID]int
	left      int // messages that have no reply yet
	now, most int // runs in hand
	failed    error
	over      chan struct{} // closed when none is left, or one failed
}

func newTape(messages int) *tape {
	return &tape{lives: make([]life, messages), runs: make(map[gateway.RunID]int, messages), left: messages, over: make(chan struct{})}
}

func (t *tape) note(i int, what func(*life)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i < len(t.lives) {
		what(&t.lives[i])
	}
}

// about notes what happens to what a text is about.
func (t *tape) about(text string, what func(*life)) {
	if i, ok := number(text); ok {
		t.note(i, what)
	}
}

// watch puts the tape between a dispatcher and what it works with.
func (t *tape) watch(p *dispatch.Parts) {
	p.Runs = tapedRuns{p.Runs, t}
	p.Answerer = tapedAnswerer{p.Answerer, t}
}

type tapedRuns struct {
	dispatch.RunStore
	tape *tape
}

// ClaimRun satisfies dispatch.RunStore.
func (r tapedRuns) ClaimRun(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error) {
	began := time.Now()
	c, err := r.RunStore.ClaimRun(ctx, id, lease)
	if err == nil && len(c.Messages) > 0 {
		r.tape.claimed(&c, began)
	}
	return c, err
}

func (t *tape) claimed(c *gateway.Claim, began time.Time) {
	i, ok := number(c.Messages[len(c.Messages)-1].Text)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now++
	t.most = max(t.most, t.now)
	t.runs[c.Run.ID] = i
	if i < len(t.lives) {
		t.lives[i].claiming, t.lives[i].claimed = began, time.Now()
	}
}

// FinishRun satisfies dispatch.RunStore.
func (r tapedRuns) FinishRun(ctx context.Context, f *gateway.Finish) error {
	began := time.Now()
	err := r.RunStore.FinishRun(ctx, f)
	r.tape.finished(f, began, err)
	return err
}

func (t *tape) finished(f *gateway.Finish, began time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.runs[f.Run.ID]
	if !ok || err != nil {
		return // it is tried again, or waited for in vain
	}
	t.now--
	t.lives[i].finishing, t.lives[i].finished = began, time.Now()
	if f.Run.Status != gateway.RunCompleted || len(f.Sends) != 1 {
		t.fail(fmt.Errorf("run %s of message %d ended %s with %d replies: %s %s", f.Run.ID, i, f.Run.Status, len(f.Sends), f.Run.StopReason, f.Run.Error))
	}
}

// fail needs mu.
func (t *tape) fail(err error) {
	if t.failed == nil && t.left > 0 {
		t.failed = err
		close(t.over)
	}
}

// sent notes a send that was settled.
func (t *tape) sent(s *gateway.Send) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.runs[gateway.RunID(s.OriginID)]
	if !ok || t.failed != nil {
		return
	}
	if s.State != gateway.SendAccepted {
		t.fail(fmt.Errorf("the reply to message %d became %s: %s", i, s.State, s.Error))
		return
	}
	if l := &t.lives[i]; l.sent.IsZero() {
		l.sent = time.Now()
		if l.finished.IsZero() { // it was committed, though the answer to that was lost
			l.finishing, l.finished = l.answered, l.sent
			t.now--
		}
		if t.left--; t.left == 0 {
			close(t.over)
		}
	}
}

// answeredSoFar is how many messages have their reply.
func (t *tape) answeredSoFar() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lives) - t.left
}

// wait returns when every message has its reply.
func (t *tape) wait(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	case <-t.over:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil && t.left > 0 {
		return fmt.Errorf("%d of %d messages had no reply %v after the last was written", t.left, len(t.lives), most)
	}
	return t.failed
}

type tapedAnswerer struct {
	dispatch.Answerer
	tape *tape
}

// Answer satisfies dispatch.Answerer.
func (a tapedAnswerer) Answer(ctx context.Context, who *gateway.Agent, p prompt.Prompt) (agent.Answer, error) {
	began := time.Now()
	out, err := a.Answerer.Answer(ctx, who, p)
	ended := time.Now()
	a.tape.about(p.Turns[len(p.Turns)-1].Text, func(l *life) { l.asked, l.answered = began, ended })
	return out, err
}
