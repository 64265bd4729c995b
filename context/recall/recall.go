// Package recall is what an agent remembers of a conversation between runs: the
// summary, the intent and the actions of its last run, for as long as the
// agent's context lives.
//
// The truth is the last completed run in SQL. Redis holds a copy under a real
// TTL, which carries its run's id and counts only if SQL names the same run.
// So a copy that is stale, or the copy of a run that never committed, is never
// believed, and one that is lost is made again with what is left of its life.
// While Redis is away SQL alone answers. A crash between a run's commit and
// [Store.Keep] costs nothing but one copy to be made later.
//
// What does not fit into the agent's budget of tokens a [Compactor] leaves out or
// has summed up by a model. The summary is a row in SQL; a crash before it is
// written costs another.
package recall

import (
	"context"
	"crypto/sha256"
	_ "embed" // the script
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"wagent/gateway"
)

// patience is how long one command may take before SQL answers alone.
const patience = 500 * time.Millisecond

// A Memory is what is remembered of a run.
type Memory struct {
	Run     gateway.RunID
	Summary string
	Intent  string
	Actions []gateway.OutputAction // never nil
	At      time.Time              // when the run completed
	Made    time.Time              // when the run was made: it may know what came after that, too
	Input   json.RawMessage        // that it was given; of a run of the API, its caller's
}

// LastRun knows the runs in SQL.
type LastRun interface {
	// LastRun returns the last completed run of an agent in a context, or an
	// Error of kind NotFound.
	LastRun(ctx context.Context, agent gateway.AgentID, contextKey string) (gateway.Run, error)
}

// A Store remembers. Its methods are safe for concurrent use. Nothing of one
// agent or context is ever read in another.
type Store struct {
	rdb     redis.UniversalClient
	runs    LastRun
	prefix  string
	log     *slog.Logger
	metrics *metrics
	away    atomic.Bool // Redis is, and the log says so
}

//go:embed lua/keep.lua
var keepSource string

var keep = redis.NewScript(keepSource)

// New returns a Store whose keys begin with prefix and a colon. It dials
// nothing. For Redis to be given up on within half a second the client must
// heed deadlines (redis.Options.ContextTimeoutEnabled).
func New(rdb redis.UniversalClient, runs LastRun, prefix string, log *slog.Logger, reg prometheus.Registerer) *Store {
	return &Store{rdb: rdb, runs: runs, prefix: prefix, log: log, metrics: newMetrics(reg)}
}

// Recall returns what an agent remembers in a context, or nil if that is
// nothing: there was no run, or it completed ttl ago or longer. With a ttl of
// zero the agent is stateless, and nothing is read. An error is SQL's, or the
// context's; Redis being away is none.
func (s *Store) Recall(ctx context.Context, agent gateway.AgentID, contextKey string, ttl time.Duration) (*Memory, error) {
	m, how, err := s.recall(ctx, agent, contextKey, ttl)
	s.metrics.context.WithLabelValues(how).Inc()
	return m, err
}

// Peek is Recall for somebody who only looks: no run is counted.
func (s *Store) Peek(ctx context.Context, agent gateway.AgentID, contextKey string, ttl time.Duration) (*Memory, error) {
	m, _, err := s.recall(ctx, agent, contextKey, ttl)
	return m, err
}

func (s *Store) recall(ctx context.Context, agent gateway.AgentID, contextKey string, ttl time.Duration) (m *Memory, how string, err error) {
	if ttl <= 0 {
		return nil, outcomeStateless, nil
	}
	r, err := s.runs.LastRun(ctx, agent, contextKey)
	switch {
	case gateway.KindOf(err) == gateway.NotFound:
		return nil, outcomeNone, nil
	case err != nil:
		return nil, outcomeError, fmt.Errorf("find last run of agent %s: %w", agent, err)
	case r.Output == nil || r.CompletedAt.IsZero():
		return nil, outcomeNone, nil // what it said was erased
	case !r.CompletedAt.Add(ttl).After(time.Now()):
		return nil, outcomeExpired, nil
	}
	key := s.key(agent, contextKey)
	if m := s.read(ctx, key); m != nil && m.Run == r.ID {
		m.At, m.Made, m.Input = r.CompletedAt, r.CreatedAt, r.Input
		return m, outcomeHit, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, outcomeError, fmt.Errorf("recall run %s: %w", r.ID, err)
	}
	m = &Memory{Run: r.ID, Summary: r.Output.ContextSummary, Intent: r.Output.Intent, Actions: r.Output.Actions, At: r.CompletedAt, Made: r.CreatedAt, Input: r.Input}
	if m.Actions == nil {
		m.Actions = []gateway.OutputAction{}
	}
	if err := s.write(ctx, key, m, ttl); err != nil {
		s.log.DebugContext(ctx, "memory not put back", "run", r.ID, "err", err)
	}
	return m, outcomeRestored, nil
}

// Keep remembers a finished run for ttl from its completion on. A memory of a
// later run, or a longer-lived one of the same run, is left alone. It is best
// effort: an error may be logged and forgotten, since Recall then asks SQL.
func (s *Store) Keep(ctx context.Context, agent gateway.AgentID, contextKey string, m Memory, ttl time.Duration) error {
	if ttl <= 0 {
		return nil
	}
	if err := s.write(ctx, s.key(agent, contextKey), &m, ttl); err != nil {
		return fmt.Errorf("keep memory of run %s: %w", m.Run, err)
	}
	return nil
}

// Forget deletes the copy in Redis. What SQL still has is remembered again, so
// to erase a context its runs' outputs go first.
func (s *Store) Forget(ctx context.Context, agent gateway.AgentID, contextKey string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.seen(ctx, s.rdb.Del(ctx, s.key(agent, contextKey)).Err()); err != nil {
		return fmt.Errorf("forget context of agent %s: %w", agent, err)
	}
	return nil
}

// key names a context. It is hashed, since callers of the API choose it and
// may well put a phone number there.
func (s *Store) key(agent gateway.AgentID, contextKey string) string {
	sum := sha256.Sum256([]byte(contextKey))
	return s.prefix + ":context:" + string(agent) + ":" + hex.EncodeToString(sum[:16])
}

// value is a Memory as Redis holds it, after its time and a newline.
type value struct {
	Run     gateway.RunID          `json:"run"`
	Summary string                 `json:"summary"`
	Intent  string                 `json:"intent"`
	Actions []gateway.OutputAction `json:"actions"`
}

// read returns the copy in Redis, or nil if there is none that can be had.
func (s *Store) read(ctx context.Context, key string) *Memory {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := s.rdb.Get(limited, key).Result()
	if s.seen(ctx, err) != nil || err != nil {
		return nil
	}
	_, text, _ = strings.Cut(text, "\n")
	var v value
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil // somebody else's, or another version's: it is written anew
	}
	m := &Memory{Run: v.Run, Summary: v.Summary, Intent: v.Intent, Actions: v.Actions}
	if m.Actions == nil {
		m.Actions = []gateway.OutputAction{}
	}
	return m
}

// write puts m into Redis for what is left of its life.
func (s *Store) write(ctx context.Context, key string, m *Memory, ttl time.Duration) error {
	life := time.Until(m.At.Add(ttl)).Milliseconds()
	if life <= 0 {
		return nil
	}
	body, err := json.Marshal(value{Run: m.Run, Summary: m.Summary, Intent: m.Intent, Actions: m.Actions})
	if err != nil {
		return fmt.Errorf("encode memory: %w", err)
	}
	at := strconv.FormatInt(m.At.UnixMicro(), 10)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.seen(ctx, keep.Run(limited, s.rdb, []string{key}, at, at+"\n"+string(body), life).Err())
}

// seen takes notice of how a command ended, and logs where an outage begins
// and ends. A key that is not there is no error; a caller who went away says
// nothing about Redis.
func (s *Store) seen(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		if s.away.CompareAndSwap(true, false) {
			s.log.InfoContext(ctx, "redis is back: memories are kept there again")
		}
		return nil
	case ctx.Err() == nil && s.away.CompareAndSwap(false, true):
		s.log.WarnContext(ctx, "redis is away: memories come from SQL alone", "err", err)
	}
	return err
}
