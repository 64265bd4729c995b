// Package spend keeps agents within their limits: so many runs an hour in one
// conversation, so many tokens a day. What is reached stops a run before any
// model is asked.
//
// What was spent stands in SQL, in the runs themselves, so that replicas count
// together and a crash forgets nothing. Limits are guards, not a ledger: runs in
// hand are not counted yet, and a sum may be a second old.
//
// That most of a day's tokens are used, and that all of them are, is told as the
// next run begins; nothing is spent in between.
package spend

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// Store knows what agents spent, and where they are.
type Store interface {
	// SpentTokens returns what an agent's runs read and wrote that ended since a
	// moment: before another one, and from that on.
	SpentTokens(ctx context.Context, agent gateway.AgentID, since, until time.Time) (before, after int64, err error)
	// RecentRuns returns how many runs of an agent in a context ended since then,
	// those that a limit stopped left out.
	RecentRuns(ctx context.Context, agent gateway.AgentID, contextKey string, since time.Time) (int, error)
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
}

// The names of limits, as metrics and the log have them.
const (
	limitRuns   = "runs_per_conversation_hour"
	limitTokens = "tokens_per_day"
)

// An agent's tokens are summed at most once in sumAge, from where the last sum
// can be believed: what ended longer than lateBy before it, by whichever clock,
// was on record. What was not, since the database was away, is found within
// wholeAge, when the day is summed anew.
const (
	sumAge   = time.Second
	lateBy   = 10 * time.Second
	wholeAge = 10 * time.Minute
)

// A Guard watches the limits. It is safe for concurrent use.
type Guard struct {
	// Tell is told, at least once a day for each, that an agent used most of its
	// tokens of the day, or all; who is told may be told again by another process.
	// Where it fails it is called again. It must be set before the Guard is used;
	// nil: nobody is told.
	Tell func(ctx context.Context, e *gateway.QuotaEvent) error

	store   Store
	log     *slog.Logger
	reached *prometheus.CounterVec

	mu   sync.Mutex
	sums map[gateway.AgentID]*sum
}

// A sum is the tokens that an agent spent in a day, as of a moment ago.
type sum struct {
	turn chan struct{} // of one place: whoever is in it has what follows, and others wait for what it finds

	day     time.Time // since when
	tokens  int64     // all of them
	at      time.Time // when they were known
	settled int64     // those of runs that ended before until
	until   time.Time
	whole   time.Time // when the day was summed from its beginning

	told string // the last event of the day that was told
}

// New returns a Guard; a nil reg keeps its metric to itself.
func New(store Store, log *slog.Logger, reg prometheus.Registerer) *Guard {
	g := &Guard{store: store, log: log, sums: map[gateway.AgentID]*sum{}}
	g.reached = promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_spend_limits_reached_total",
		Help: "Runs that a spend limit of their agent stopped, by which.",
	}, []string{"limit"})
	for _, l := range []string{limitRuns, limitTokens} {
		g.reached.WithLabelValues(l)
	}
	return g
}

// Reached returns which limit of its agent a run that just began must not pass,
// in words fit for the run's error; empty if there is none. An error is the
// store's.
func (g *Guard) Reached(ctx context.Context, r *gateway.Run, a *gateway.Agent) (string, error) {
	limit, msg, err := g.limit(ctx, r, a)
	if limit == "" || err != nil {
		return "", err
	}
	return g.stop(ctx, r, limit, msg), nil
}

// Within reports whether an agent may still answer a run, which somebody has yet to
// choose it for. An error is the store's.
func (g *Guard) Within(ctx context.Context, r *gateway.Run, a *gateway.Agent) (bool, error) {
	limit, _, err := g.limit(ctx, r, a)
	return limit == "", err
}

// limit returns which limit is reached, and how that is said.
func (g *Guard) limit(ctx context.Context, r *gateway.Run, a *gateway.Agent) (limit, msg string, err error) {
	if n := a.Spend.RunsPerHour; n > 0 && r.ContextKey() != "" {
		runs, err := g.store.RecentRuns(ctx, a.ID, r.ContextKey(), r.StartedAt.Add(-time.Hour))
		if err != nil {
			return "", "", fmt.Errorf("count runs before run %s: %w", r.ID, err)
		}
		if runs >= n {
			return limitRuns, fmt.Sprintf("the agent's limit of %d runs an hour in one conversation is reached", n), nil
		}
	}
	if n := a.Spend.TokensPerDay; n > 0 {
		tokens, err := g.tokensToday(ctx, r, a)
		if err != nil {
			return "", "", err
		}
		if tokens >= int64(n) {
			return limitTokens, fmt.Sprintf("the agent's limit of %d tokens a day is reached", n), nil
		}
	}
	return "", "", nil
}

func (g *Guard) stop(ctx context.Context, r *gateway.Run, limit, msg string) string {
	g.reached.WithLabelValues(limit).Inc()
	g.log.WarnContext(ctx, "spend limit reached", "run", r.ID, "agent", r.Agent, "limit", limit)
	return msg
}

// tokensToday returns what the agent spent since midnight at its account.
func (g *Guard) tokensToday(ctx context.Context, r *gateway.Run, a *gateway.Agent) (int64, error) {
	now := r.StartedAt.UTC()
	if a.Account != "" {
		account, err := g.store.Account(ctx, a.Account)
		if err != nil {
			return 0, fmt.Errorf("find account of agent %s: %w", a.ID, err)
		}
		now = r.StartedAt.In(account.Location())
	}
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	s := g.sum(a.ID)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("sum tokens before run %s: %w", r.ID, context.Cause(ctx))
	}
	if s.day.Equal(day) && time.Since(s.at) < sumAge {
		return s.tokens, nil
	}
	if !s.day.Equal(day) {
		s.told = ""
	}
	if err := s.renew(ctx, g.store, a.ID, day); err != nil {
		return 0, fmt.Errorf("sum tokens before run %s: %w", r.ID, err)
	}
	g.tell(ctx, s, a)
	return s.tokens, nil
}

// tell tells of what an agent used, if that was not told. That it cannot be
// told now stops no run.
func (g *Guard) tell(ctx context.Context, s *sum, a *gateway.Agent) {
	e := gateway.QuotaEvent{Agent: a.ID, Name: a.Name, Account: a.Account, Day: s.day, Used: s.tokens, Limit: int64(a.Spend.TokensPerDay)}
	what := e.Event()
	if g.Tell == nil || what == "" || what == s.told || s.told == gateway.EventQuotaExceeded {
		return
	}
	if err := g.Tell(ctx, &e); err != nil {
		g.log.WarnContext(ctx, "quota not told yet", "agent", a.ID, "event", what, "err", err)
		return
	}
	s.told = what
}

func (g *Guard) sum(agent gateway.AgentID) *sum {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sums[agent]
	if s == nil {
		s = &sum{turn: make(chan struct{}, 1)}
		g.sums[agent] = s
	}
	return s
}

// renew sums what ended since it was summed last, and what may have been missing
// then.
func (s *sum) renew(ctx context.Context, store Store, agent gateway.AgentID, day time.Time) error {
	since, settled := s.until, s.settled
	whole := !s.day.Equal(day) || time.Since(s.whole) >= wholeAge
	if whole {
		since, settled = day, 0
	}
	until := time.Now().Add(-lateBy)
	if until.Before(since) {
		until = since
	}
	began := time.Now()
	before, after, err := store.SpentTokens(ctx, agent, since, until)
	if err != nil {
		return err
	}
	if whole {
		s.whole = began
	}
	s.day, s.until, s.settled = day, until, settled+before
	s.tokens, s.at = s.settled+after, time.Now()
	return nil
}
