package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/debounce"
	"wagent/gateway"
)

// The sweeper's times. A message that waits longer than sweepAge is added to
// its window again, which changes nothing where the window still has it.
const (
	sweepEvery = 10 * time.Second
	sweepAge   = 15 * time.Second
	sweepPage  = 500
)

// Timer is where windows are kept: debounce, or a double of it.
type Timer interface {
	Add(ctx context.Context, group, key, item string, w debounce.Window) error
	// Epoch returns an id that changes when the windows were lost.
	Epoch(ctx context.Context) (string, error)
}

// SweepStore knows what still has to be answered.
type SweepStore interface {
	// Stranded returns at most limit waiting messages that were received
	// before a time, by their seq, after the one given.
	Stranded(ctx context.Context, before time.Time, afterSeq int64, limit int) ([]gateway.Message, error)
	// StrandedRuns returns the unfinished runs whose lease ended, of
	// conversations where no message waits: the window of one that does brings
	// the run back, and is not to be cut short.
	StrandedRuns(ctx context.Context) ([]gateway.Run, error)
	// WaitingIn returns what waits in a conversation, in its order.
	WaitingIn(ctx context.Context, id gateway.ConversationID) ([]gateway.Message, error)
}

// A Sweeper brings SQL and the windows together again: messages that were
// stored but not added, windows that Redis lost, and runs whose process died.
type Sweeper struct {
	store  SweepStore
	agents gateway.AgentFinder
	timer  Timer
	log    *slog.Logger
	swept  *prometheus.CounterVec
	epoch  string // of the windows at the last sweep that went through
}

// NewSweeper returns a Sweeper; d lends it its metrics.
func NewSweeper(d *Dispatcher, store SweepStore, agents gateway.AgentFinder, timer Timer, log *slog.Logger) *Sweeper {
	return &Sweeper{store: store, agents: agents, timer: timer, log: log, swept: d.metrics.swept}
}

// Run sweeps at once and then every 10 s until ctx is done. It may be called
// once.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	down := false
	for {
		err := s.sweep(ctx, time.Now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !down:
			s.log.WarnContext(ctx, "sweep stopped; it is repeated until it goes through", "err", err)
		case err == nil && down:
			s.log.InfoContext(ctx, "sweep goes through again")
		}
		down = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweep adds what is overdue, or everything where the windows were lost.
func (s *Sweeper) sweep(ctx context.Context, now time.Time) error {
	epoch, err := s.timer.Epoch(ctx)
	if err != nil {
		return fmt.Errorf("ask for the epoch of the windows: %w", err)
	}
	before := now.Add(-sweepAge)
	if epoch != s.epoch {
		before = now.Add(time.Second) // everything, whatever the clocks' steps
	}
	if err := s.messages(ctx, now, before); err != nil {
		return err
	}
	runs, err := s.store.StrandedRuns(ctx)
	if err != nil {
		return fmt.Errorf("list stranded runs: %w", err)
	}
	for i := range runs {
		if err := s.add(ctx, "run", runs[i].Account, runs[i].Conversation, string(runs[i].ID), debounce.Window{}); err != nil {
			return err
		}
	}
	s.epoch = epoch
	return nil
}

func (s *Sweeper) messages(ctx context.Context, now, before time.Time) error {
	agents := map[gateway.AccountID]gateway.Agent{}
	for after := int64(0); ; {
		page, err := s.store.Stranded(ctx, before, after, sweepPage)
		if err != nil {
			return fmt.Errorf("list stranded messages: %w", err)
		}
		windowings := map[gateway.ConversationID]gateway.Windowing{}
		for i := range page {
			m := &page[i]
			a, ok := agents[m.Account]
			if !ok {
				if a, err = agentOf(ctx, s.agents, m.Account); err != nil {
					return err
				}
				agents[m.Account] = a
			}
			x, ok := windowings[m.Conversation]
			if !ok {
				if x, err = s.agents.Windowing(ctx, m.Conversation); err != nil {
					return fmt.Errorf("find window of message %s: %w", m.ID, err)
				}
				windowings[m.Conversation] = x
			}
			w := debounceWindow(left(a.Window(&x), m, now))
			if err := s.add(ctx, "message", m.Account, m.Conversation, string(m.ID), w); err != nil {
				return err
			}
			after = m.Seq
		}
		if len(page) < sweepPage {
			return nil
		}
	}
}

func (s *Sweeper) add(ctx context.Context, what string, account gateway.AccountID, id gateway.ConversationID, item string, w debounce.Window) error {
	if err := s.timer.Add(ctx, string(account), string(id), item, w); err != nil {
		return fmt.Errorf("add %s %s to its window: %w", what, item, err)
	}
	s.swept.WithLabelValues(what).Inc()
	return nil
}
