// Package circuit keeps models from being asked that can not answer anyway, so
// that whoever has another one asks that at once.
//
// Of each provider it knows three things. One that failed again and again is
// not asked for a while, then by one request at a time until one succeeds:
//
//	          5 failures in a row, or half of the requests of a minute
//	closed ────────────────────────────────────────────► open
//	   ▲                                                  │ 10 s
//	   │  success                              failure    ▼
//	   └──────────────────────── half-open ─────────────► open
//
// One that says when to come back (429 with Retry-After) is not asked for that
// model before; limits are each model's own with most providers. And one that
// refuses our key is asked once in 30 seconds for each model, which is how it is
// noticed that the key was mended. That too is by model: a key may be good for
// some of a provider's models, and who names another must not keep everybody
// from theirs.
//
// All of it lives in memory, in each process for itself. After a restart a
// provider is taken to be well until it shows otherwise.
package circuit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/sony/gobreaker/v2"

	"wagent/gateway"
)

const (
	inARow      = 5                // failures that open a circuit
	enough      = 20               // requests of which half may not fail
	window      = time.Minute      // in which those are counted
	openFor     = 10 * time.Second // until the next request is let through
	probeFor    = time.Second      // when to come back while that one is under way
	keyEvery    = 30 * time.Second // between requests with a key that was refused
	longestHold = time.Minute      // whatever Retry-After says: limits are raised, and clocks are wrong
)

// ErrNotAsked is wrapped by the errors of requests that were not made.
var ErrNotAsked = errors.New("not asked")

// Breakers know how providers fare. They are safe for concurrent use.
type Breakers struct {
	log          *slog.Logger
	open         *prometheus.GaugeVec
	unauthorized *prometheus.GaugeVec

	mu        sync.Mutex
	providers map[string]*provider
}

// New returns Breakers that think well of everybody; a nil reg keeps their
// metrics to themselves.
func New(log *slog.Logger, reg prometheus.Registerer) *Breakers {
	f := promauto.With(reg)
	return &Breakers{
		log: log, providers: map[string]*provider{},
		open: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wagent_llm_provider_open",
			Help: "1 while a provider of models is hardly asked, since it failed again and again; else 0.",
		}, []string{"provider"}),
		unauthorized: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wagent_llm_provider_unauthorized",
			Help: "1 from when a provider of models refused our key until a request to it succeeds; else 0.",
		}, []string{"provider"}),
	}
}

// Do makes a request, whose errors are those of llm.Model, and returns its
// error. Where the provider's model can not answer, the request is not made and
// the error is a gateway.Error that wraps ErrNotAsked: Unavailable, RateLimited
// or Unauthorized, with when it may be asked again as RetryAfter. ctx is the
// request's own: one that was cancelled says nothing of the provider, one whose
// deadline passed does.
func (b *Breakers) Do(ctx context.Context, providerName, model string, request func() error) error {
	p := b.provider(providerName)
	if err := p.held(model); err != nil {
		return err
	}
	var out error
	_, err := p.breaker.Execute(func() (struct{}, error) {
		out = request()
		b.learn(ctx, p, model, out)
		return struct{}{}, worth(ctx, out)
	})
	wait := probeFor
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		// The library lets nobody through at this time exactly, but after it.
		wait = time.Until(time.Unix(0, p.until.Load())) + time.Millisecond
	case !errors.Is(err, gobreaker.ErrTooManyRequests):
		return out
	}
	return &gateway.Error{
		Kind: gateway.Unavailable, Msg: p.name + " failed too often and is left alone for a moment",
		RetryAfter: max(wait, time.Millisecond), Err: ErrNotAsked,
	}
}

// errSaysNothing stands for errors that tell nothing of a provider's health.
var errSaysNothing = errors.New("says nothing")

// worth returns what a request's error is worth to the breaker: nil if the
// provider answered, whatever it was.
func worth(ctx context.Context, err error) error {
	kind := gateway.KindOf(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled), kind == gateway.RateLimited:
		return errSaysNothing
	case kind == gateway.Unavailable:
		return err
	default:
		return nil
	}
}

// A provider is what is known of one.
type provider struct {
	name    string
	breaker *gobreaker.CircuitBreaker[struct{}]
	until   atomic.Int64 // when an open circuit ends, in nanoseconds since 1970

	mu      sync.Mutex
	holds   map[string]hold // by model
	refused bool            // our key, and no request has succeeded since
	told    bool            // the log says so
}

// A hold keeps a model from being asked.
type hold struct {
	kind  gateway.Kind // RateLimited or Unauthorized
	until time.Time
}

func (b *Breakers) provider(name string) *provider {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.providers[name]
	if !ok {
		p = &provider{name: name, holds: map[string]hold{}}
		p.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name: name, MaxRequests: 1, Interval: window, BucketPeriod: window / 6, Timeout: openFor,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				n := c.TotalFailures + c.TotalSuccesses
				return c.ConsecutiveFailures >= inARow || n >= enough && 2*c.TotalFailures >= n
			},
			IsExcluded:    func(err error) bool { return errors.Is(err, errSaysNothing) },
			OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(p, from, to) },
		})
		b.open.WithLabelValues(name)
		b.unauthorized.WithLabelValues(name)
		b.providers[name] = p
	}
	return p
}

// changed is called with the breaker locked: it must not ask it anything.
func (b *Breakers) changed(p *provider, from, to gobreaker.State) {
	switch to {
	case gobreaker.StateOpen:
		p.until.Store(time.Now().Add(openFor).UnixNano())
		if from == gobreaker.StateClosed {
			b.open.WithLabelValues(p.name).Set(1)
			b.log.Warn("provider of models failed too often and is hardly asked until it answers", "provider", p.name)
		}
	case gobreaker.StateClosed:
		b.open.WithLabelValues(p.name).Set(0)
		b.log.Info("provider of models answers again", "provider", p.name)
	case gobreaker.StateHalfOpen:
	}
}

// held returns why a model is not asked now, or nil if it may be. Who is told
// that a refused key may be tried is the only one to be told so for a while.
func (p *provider) held(model string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.holds[model]
	if !ok {
		return nil
	}
	if left := time.Until(h.until); left > 0 {
		msg := p.name + " refused our key and is left alone for a moment"
		if h.kind == gateway.RateLimited {
			msg = p.name + " said when to come back, and it is not yet time"
		}
		return &gateway.Error{Kind: h.kind, Msg: msg, RetryAfter: left, Err: ErrNotAsked}
	}
	if h.kind == gateway.RateLimited {
		delete(p.holds, model)
	} else {
		h.until = time.Now().Add(keyEvery)
		p.holds[model] = h
	}
	return nil
}

// learn takes note of what a request that was made came to.
func (b *Breakers) learn(ctx context.Context, p *provider, model string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, held := p.holds[model]
	refused := held && h.kind == gateway.Unauthorized
	e, _ := errors.AsType[*gateway.Error](err)
	switch {
	case err == nil:
		if refused {
			delete(p.holds, model)
		}
		if p.refused {
			p.refused = false
			b.unauthorized.WithLabelValues(p.name).Set(0)
		}
		if p.told {
			p.told = false
			b.log.InfoContext(ctx, "provider of models takes our key again", "provider", p.name, "model", model)
		}
	case e == nil:
	case e.Kind == gateway.Unauthorized:
		p.holds[model] = hold{kind: gateway.Unauthorized, until: time.Now().Add(keyEvery)}
		if !refused && !p.refused {
			// Once, however many runs meet it: also where a key is good for some
			// models and these keep succeeding.
			p.told = true
			b.log.ErrorContext(ctx, "provider of models refuses our key", "provider", p.name, "model", model, "reason", e.Msg)
		}
		p.refused = true
		b.unauthorized.WithLabelValues(p.name).Set(1)
	case e.Kind == gateway.RateLimited && e.RetryAfter > 0 && !refused:
		if until := time.Now().Add(min(e.RetryAfter, longestHold)); until.After(h.until) {
			p.holds[model] = hold{kind: gateway.RateLimited, until: until}
		}
	}
}
