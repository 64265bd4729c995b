package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/debounce"
	"wagent/dispatch/several"
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
	epoch  string       // of the windows at the last sweep that went through
	failed atomic.Int64 // Adds of this sweep
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
			s.log.WarnContext(ctx, "sweep did not go through; it is repeated until it does", "err", err)
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

// sweep adds what is overdue, or everything where the windows were lost. What fails is
// said at the end, and then all of it is tried again by the next sweep: a node of a
// cluster that is away keeps no other's windows from coming back.
func (s *Sweeper) sweep(ctx context.Context, now time.Time) error {
	epoch, lost := s.timer.Epoch(ctx)
	if lost != nil {
		lost = fmt.Errorf("ask for the epoch of the windows: %w", lost)
	}
	before := now.Add(-sweepAge)
	if lost == nil && epoch != s.epoch {
		before = now.AddDate(1, 0, 0) // everything, whatever the clocks' steps
	}
	s.failed.Store(0)
	if err := errors.Join(lost, s.runs(ctx), s.messages(ctx, now, before)); err != nil {
		return err
	}
	s.epoch = epoch
	return nil
}

func (s *Sweeper) runs(ctx context.Context) error {
	runs, err := s.store.StrandedRuns(ctx)
	if err != nil {
		return fmt.Errorf("list stranded runs: %w", err)
	}
	return several.Each(runs, func(r *gateway.Run) error {
		return s.add(ctx, "run", r.Account, r.Conversation, string(r.ID), debounce.Window{})
	})
}

func (s *Sweeper) messages(ctx context.Context, now, before time.Time) (failed error) {
	agents := map[gateway.AccountID]gateway.Agent{}
	for after := int64(0); ; {
		page, err := s.store.Stranded(ctx, before, after, sweepPage)
		if err != nil {
			return fmt.Errorf("list stranded messages: %w", err)
		}
		of := map[gateway.ConversationID]int{}
		var piles [][]gateway.Message // of a conversation each
		for i := range page {
			m := &page[i]
			if _, ok := agents[m.Account]; !ok {
				if agents[m.Account], err = agentOf(ctx, s.agents, m.Account); err != nil {
					return err
				}
			}
			n, ok := of[m.Conversation]
			if !ok {
				n = len(piles)
				of[m.Conversation], piles = n, append(piles, nil)
			}
			piles[n] = append(piles[n], *m)
			after = m.Seq
		}
		err = several.Each(piles, func(pile *[]gateway.Message) error {
			a := agents[(*pile)[0].Account]
			return s.pile(ctx, &a, *pile, now)
		})
		if failed == nil {
			failed = err
		}
		if len(page) < sweepPage || errors.Is(err, several.ErrHopeless) {
			return failed
		}
	}
}

// pile adds messages of one conversation to its window, in their order.
func (s *Sweeper) pile(ctx context.Context, a *gateway.Agent, ms []gateway.Message, now time.Time) error {
	id := ms[0].Conversation
	x, err := s.agents.Windowing(ctx, id)
	if err != nil {
		return fmt.Errorf("find window of message %s: %w", ms[0].ID, err)
	}
	waiting, err := s.store.WaitingIn(ctx, id) // the newest say how long it is quiet
	if err != nil {
		return fmt.Errorf("list what waits with message %s: %w", ms[0].ID, err)
	}
	w := debounceWindow(left(a.Window(&x), waiting, now))
	waits := make(map[gateway.MessageID]bool, len(waiting))
	for i := range waiting {
		waits[waiting[i].ID] = true
	}
	for i := range ms {
		if !waits[ms[i].ID] { // a run took it meanwhile
			continue
		}
		if err := s.add(ctx, "message", ms[i].Account, id, string(ms[i].ID), w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sweeper) add(ctx context.Context, what string, account gateway.AccountID, id gateway.ConversationID, item string, w debounce.Window) error {
	patience := addPatience
	if s.failed.Load() >= several.Hopeless {
		patience = addHaste
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.timer.Add(ctx, string(account), string(id), item, w); err != nil {
		s.failed.Add(1)
		return fmt.Errorf("add %s %s to its window: %w", what, item, err)
	}
	s.swept.WithLabelValues(what).Inc()
	return nil
}

// How long an Add may take, and after many failures, as where a node of a cluster hangs
// that has its share of the windows.
const (
	addPatience = 3 * time.Second
	addHaste    = 100 * time.Millisecond
)
