// Package circuit keeps models from being asked that can not answer anyway, so
// that whoever has another one asks that at once.
//
// Who failed again and again is not asked for a while, then by one request at a
// time until one succeeds. That is a provider, where connections to it fail or
// nothing comes in time, and a single model, where its server answers that it has
// failed: many models may stand behind one provider's name, and one that is down
// says nothing of the others.
//
//	          5 failures in a row, or half of the requests of a minute
//	closed ────────────────────────────────────────────► open
//	   ▲                                                  │ 10 s
//	   │  success                              failure    ▼
//	   └──────────────────────── half-open ─────────────► open
//
// Failures count once they go on: a connection that is cut fails hundreds of
// requests at once, and the next moment all may be well.
//
// A model that says when to come back (429 with Retry-After) is not asked before;
// limits are each model's own with most providers. And one that refuses our key is
// asked once in 30 seconds, which is how it is noticed that the key was mended.
// That too is by model: a key may be good for some of a provider's models, and who
// names another must not keep everybody from theirs. A refusal that may be about
// one prompt only ([llm.ErrThisPrompt]) is taken for one of the key, and shown as one,
// when it comes three times in a row; but the model is asked on, for else a customer
// whose words a firewall dislikes could take it from all others.
//
// All of it lives in memory, in each process for itself. After a restart a
// provider is taken to be well until it shows otherwise; so is a model that nobody
// asked for an hour.
package circuit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/sony/gobreaker/v2"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

const (
	patience    = 25 * time.Second // who waited for less and then gave up says nothing: the haste was ours
	inDoubt     = 3                // refusals in a row that may each be about one prompt
	keyEvery    = 30 * time.Second // between requests with a key that was refused
	longestHold = time.Minute      // whatever Retry-After says: limits are raised, and clocks are wrong
	forgetAfter = time.Hour        // a model that is not asked any more
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
			Help: "1 while a provider of models, or one of its models, is hardly asked, since it failed again and again; else 0.",
		}, []string{"provider"}),
		unauthorized: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wagent_llm_provider_unauthorized",
			Help: "1 from when a provider of models refused our key until it takes it for each model that it refused; else 0.",
		}, []string{"provider"}),
	}
}

// Do makes a request, whose errors are those of llm.Model, and returns its
// error. Where the provider's model can not answer, the request is not made and
// the error is a gateway.Error that wraps ErrNotAsked: Unavailable, RateLimited
// or Unauthorized, with when it may be asked again as RetryAfter. ctx is the
// request's own: one that was cancelled says nothing of the provider, nor does one
// whose deadline passed too soon to blame it.
func (b *Breakers) Do(ctx context.Context, providerName, modelName string, request func() error) error {
	p, m := b.find(providerName, modelName)
	if err := p.held(m); err != nil {
		return err
	}
	given := patience
	if deadline, ok := ctx.Deadline(); ok {
		given = time.Until(deadline)
	}
	var out error
	err := p.through(func() error {
		ofProvider := errSaysNothing
		err := m.through(func() (ofModel error) {
			out = request()
			b.learn(ctx, p, m, out)
			ofProvider, ofModel = worth(ctx, given, out)
			return ofModel
		})
		if err != nil {
			out = err
		}
		return ofProvider
	})
	if err != nil {
		return err
	}
	return out
}

// errSaysNothing stands for errors that tell nothing of somebody's health.
var errSaysNothing = errors.New("says nothing")

// worth returns what the error of a request that had so much time is worth to the
// gates: nil to whoever answered, whatever it was.
func worth(ctx context.Context, given time.Duration, err error) (ofProvider, ofModel error) {
	kind := gateway.KindOf(err)
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(ctx.Err(), context.Canceled), ctx.Err() != nil && given < patience, kind == gateway.RateLimited:
		return errSaysNothing, errSaysNothing
	case kind == gateway.Unavailable && errors.Is(err, llm.ErrThisModel):
		return nil, err
	case kind == gateway.Unavailable:
		return err, errSaysNothing
	default:
		return nil, nil
	}
}

// A provider is what is known of one.
type provider struct {
	*gate
	name   string
	mu     sync.Mutex
	models map[string]*model
}

// A model is what is known of one of a provider's. What is not the gate's is
// guarded by the provider's mu.
type model struct {
	*gate
	name    string
	hold    hold
	asked   time.Time // when somebody wanted it last
	refused bool      // our key, and no request for it has succeeded since
	surely  bool      // and not one of the prompts
	doubts  int       // refusals since then that may each be about one prompt
}

// A hold keeps a model from being asked. The zero hold does not.
type hold struct {
	kind  gateway.Kind // RateLimited or Unauthorized
	until time.Time
}

func (b *Breakers) find(providerName, modelName string) (*provider, *model) {
	b.mu.Lock()
	p, ok := b.providers[providerName]
	if !ok {
		p = &provider{name: providerName, models: map[string]*model{}}
		log := b.log.With("provider", providerName)
		p.gate = newGate(providerName, func(from, to gobreaker.State) { b.changed(log, p, from, to) })
		b.providers[providerName] = p
		b.show(p)
	}
	b.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.models[modelName]
	if !ok {
		m = &model{name: modelName}
		log := b.log.With("provider", providerName, "model", modelName)
		m.gate = newGate(providerName+"/"+modelName, func(from, to gobreaker.State) { b.changed(log, p, from, to) })
		p.models[modelName] = m
	}
	m.asked = time.Now()
	return p, m
}

// changed is called with a gate locked: it must not ask it anything.
func (b *Breakers) changed(log *slog.Logger, p *provider, from, to gobreaker.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.show(p)
	switch {
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		log.Warn("provider of models failed too often and is hardly asked until it answers")
	case to == gobreaker.StateClosed:
		log.Info("provider of models answers again")
	}
}

// show sets a provider's gauges, of which a model that nobody wants any more is no
// longer part. Its mu is held, but where nobody else knows it yet.
func (b *Breakers) show(p *provider) {
	open, unauthorized := p.shut.Load(), false
	for name, m := range p.models {
		if time.Since(m.asked) > forgetAfter {
			delete(p.models, name)
			continue
		}
		open = open || m.shut.Load()
		unauthorized = unauthorized || m.refused
	}
	set := func(v *prometheus.GaugeVec, on bool) {
		n := 0.0
		if on {
			n = 1
		}
		v.WithLabelValues(p.name).Set(n)
	}
	set(b.open, open)
	set(b.unauthorized, unauthorized)
}

// held returns why a model is not asked now, or nil if it may be. Who is told
// that a refused key may be tried is the only one to be told so for a while.
func (p *provider) held(m *model) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := time.Until(m.hold.until); left > 0 {
		msg := p.name + " refused our key and is left alone for a moment"
		if m.hold.kind == gateway.RateLimited {
			msg = p.name + " said when to come back, and it is not yet time"
		}
		return &gateway.Error{Kind: m.hold.kind, Msg: msg, RetryAfter: left, Err: ErrNotAsked}
	}
	m.hold = hold{}
	if m.surely {
		m.hold = hold{kind: gateway.Unauthorized, until: time.Now().Add(keyEvery)}
	}
	return nil
}

// learn takes note of what a request that was made came to.
func (b *Breakers) learn(ctx context.Context, p *provider, m *model, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, _ := errors.AsType[*gateway.Error](err)
	switch {
	case err == nil:
		m.doubts = 0
		if m.refused {
			m.refused, m.surely, m.hold = false, false, hold{}
			b.log.InfoContext(ctx, "provider of models takes our key again", "provider", p.name, "model", m.name)
		}
		b.show(p)
	case e == nil:
	case e.Kind == gateway.Unauthorized:
		doubtful := errors.Is(err, llm.ErrThisPrompt)
		if m.doubts++; !m.refused && m.doubts < inDoubt && doubtful {
			return
		}
		if !m.refused {
			b.alert(ctx, p, m, e.Msg)
		}
		m.refused = true
		if !doubtful {
			m.surely, m.hold = true, hold{kind: gateway.Unauthorized, until: time.Now().Add(keyEvery)}
		}
		b.show(p)
	case e.Kind == gateway.RateLimited && e.RetryAfter > 0 && !m.surely:
		if until := time.Now().Add(min(e.RetryAfter, longestHold)); until.After(m.hold.until) {
			m.hold = hold{kind: gateway.RateLimited, until: until}
		}
	}
}

// alert logs that a key was refused: once as an error, however many runs and
// models meet it.
func (b *Breakers) alert(ctx context.Context, p *provider, m *model, reason string) {
	level := slog.LevelError
	for _, other := range p.models {
		if other.refused {
			level = slog.LevelWarn
		}
	}
	b.log.Log(ctx, level, "provider of models refuses our key", "provider", p.name, "model", m.name, "reason", reason)
}
