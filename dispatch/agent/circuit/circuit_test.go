package circuit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

// A rig is Breakers with their log, in front of a provider that is a variable.
type rig struct {
	*Breakers
	t    *testing.T
	log  bytes.Buffer
	mu   sync.Mutex // guards log
	says error      // what the provider answers
	n    atomic.Int64
}

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t}
	r.Breakers = New(slog.New(slog.NewTextHandler(r, nil)), prometheus.NewRegistry())
	return r
}

var (
	errDown    = &gateway.Error{Kind: gateway.Unavailable, Msg: "p can not be reached", Err: errors.New("refused")}
	err503     = &gateway.Error{Kind: gateway.Unavailable, Msg: "p answered 503", Err: llm.ErrThisModel}
	err403     = &gateway.Error{Kind: gateway.Unauthorized, Msg: "p answered 403", Err: llm.ErrThisPrompt}
	errKey     = &gateway.Error{Kind: gateway.Unauthorized, Msg: "p answered 401"}
	errBad     = &gateway.Error{Kind: gateway.Invalid, Msg: "p answered 400"}
	errLimited = &gateway.Error{Kind: gateway.RateLimited, Msg: "p answered 429"}
)

func limitedFor(d time.Duration) error {
	return &gateway.Error{Kind: gateway.RateLimited, Msg: "p answered 429", RetryAfter: d}
}

// ask asks the provider p once for a model.
func (r *rig) ask(model string) error {
	return r.Do(r.t.Context(), "p", model, func() error { r.n.Add(1); return r.says })
}

// wantAsked asks once and checks that the provider was asked.
func (r *rig) wantAsked(model string) {
	r.t.Helper()
	before := r.n.Load()
	if err := r.ask(model); err != r.says { //nolint:errorlint // it is to be the very same
		r.t.Errorf("error = %v, want the provider's: %v", err, r.says)
	}
	if r.n.Load() == before {
		r.t.Error("the provider was not asked")
	}
}

// down asks a model until its circuit opens.
func (r *rig) down(model string, says error) {
	r.t.Helper()
	r.says = says
	for i := range inARow {
		if i > 0 {
			time.Sleep(goesOn / (inARow - 1))
		}
		r.wantAsked(model)
	}
}

// wantLeftAlone asks once, checks that the provider was not asked, and returns
// when it may be.
func (r *rig) wantLeftAlone(model string, kind gateway.Kind, from, to time.Duration) time.Duration {
	r.t.Helper()
	before := r.n.Load()
	err := r.ask(model)
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || !errors.Is(err, ErrNotAsked) || e.Kind != kind || e.RetryAfter < from || e.RetryAfter > to {
		r.t.Fatalf("error = %+v, want one of kind %v, to be repeated after %v to %v", err, kind, from, to)
	}
	if r.n.Load() != before {
		r.t.Error("the provider was asked")
	}
	return e.RetryAfter
}

func (r *rig) wantGauges(open, unauthorized float64) {
	r.t.Helper()
	if o, u := testutil.ToFloat64(r.open.WithLabelValues("p")), testutil.ToFloat64(r.unauthorized.WithLabelValues("p")); o != open || u != unauthorized {
		r.t.Errorf("open %v, unauthorized %v, want %v and %v", o, u, open, unauthorized)
	}
}

func (r *rig) wantLines(level string, want int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := strings.Count(r.log.String(), "level="+level); n != want {
		r.t.Errorf("%d lines of level %s, want %d:\n%s", n, level, want, r.log.String())
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newRig(t)) })
}

func TestACircuitOpensAndCloses(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("m", errDown)
		r.wantGauges(1, 0)
		r.wantLeftAlone("m", gateway.Unavailable, openFor, openFor+time.Millisecond)
		r.wantLeftAlone("other", gateway.Unavailable, openFor, openFor+time.Millisecond)
		time.Sleep(4 * time.Second)
		left := r.wantLeftAlone("m", gateway.Unavailable, openFor-4*time.Second, openFor-4*time.Second+time.Millisecond)

		// Whoever waits as long as it was told is let through, and finds it down.
		time.Sleep(left)
		r.wantAsked("m")
		r.wantGauges(1, 0)
		r.wantLeftAlone("m", gateway.Unavailable, openFor, openFor+time.Millisecond)

		time.Sleep(openFor + time.Millisecond)
		r.says = nil
		r.wantAsked("m")
		r.wantAsked("m")
		r.wantGauges(0, 0)
		r.wantLines("WARN", 1)
		r.wantLines("INFO", 1)
		r.wantLines("ERROR", 0)
	})
}

func TestOneRequestAtATimeLooksWhetherAProviderIsBack(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("m", errDown)
		time.Sleep(openFor + time.Millisecond)
		done := make(chan error)
		go func() {
			done <- r.Do(r.t.Context(), "p", "m", func() error { time.Sleep(5 * time.Second); return nil })
		}()
		synctest.Wait()
		r.wantLeftAlone("m", gateway.Unavailable, probeFor, probeFor)
		if err := <-done; err != nil {
			r.t.Error(err)
		}
		r.says = nil
		r.wantAsked("m")
	})
}

func TestHalfOfManyRequestsOpenACircuit(t *testing.T) {
	tests := map[string]struct {
		everyNth int // request succeeds
		open     bool
	}{
		"every second one succeeds": {2, true},
		"two of three fail":         {3, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				for i := range enough {
					r.says = errDown
					if i%tt.everyNth == 0 {
						r.says = nil
					}
					r.wantAsked("m")
					time.Sleep(time.Second / 2)
				}
				r.wantGauges(1, 0)
			})
		})
	}
	t.Run("a third that fails does not", func(t *testing.T) {
		bubble(t, func(r *rig) {
			for i := range 10 * enough {
				r.says = nil
				if i%3 == 2 {
					r.says = errDown
				}
				r.wantAsked("m")
				time.Sleep(time.Second / 2)
			}
			r.wantGauges(0, 0)
		})
	})
	t.Run("nor do those that failed at once", func(t *testing.T) {
		bubble(t, func(r *rig) {
			for _, r.says = range []error{errDown, nil} {
				for range 10 * enough {
					r.wantAsked("m")
				}
				time.Sleep(goesOn)
			}
			r.says = errDown
			r.wantAsked("m")
			r.wantGauges(0, 0)
		})
	})
	t.Run("nor does what failed an hour ago", func(t *testing.T) {
		bubble(t, func(r *rig) {
			for range 10 {
				r.says = errDown
				for range inARow - 1 {
					r.wantAsked("m")
				}
				r.says = nil
				r.wantAsked("m")
				time.Sleep(time.Hour)
			}
			r.wantGauges(0, 0)
		})
	})
}

func TestWhatSaysNothingOfAProvider(t *testing.T) {
	tests := map[string]error{
		"a request that is wrong":      errBad,
		"a limit":                      errLimited,
		"an error that nobody knows":   errors.New("odd"),
		"a prompt that is too long":    &gateway.Error{Kind: gateway.TooLong, Msg: "x"},
		"a model that does not exist":  &gateway.Error{Kind: gateway.NotFound, Msg: "x"},
		"a success, as a matter of it": nil,
	}
	for name, err := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.says = err
				for range 10 * enough {
					r.wantAsked("m")
				}
				r.wantGauges(0, 0)
			})
		})
	}
	t.Run("runs that were cancelled", func(t *testing.T) {
		bubble(t, func(r *rig) {
			ctx, cancel := context.WithCancel(r.t.Context())
			cancel()
			for range 10 * enough {
				if err := r.Do(ctx, "p", "m", func() error { return errDown }); !errors.Is(err, errDown) {
					r.t.Fatal(err)
				}
			}
			r.wantGauges(0, 0)
		})
	})
	t.Run("runs that did not wait long", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.late(patience-time.Millisecond, 10*enough)
			r.wantGauges(0, 0)
		})
	})
	t.Run("but those that did do", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.late(patience, inARow)
			r.wantGauges(1, 0)
		})
	})
}

// late asks so often, a second apart, without an answer within so long.
func (r *rig) late(d time.Duration, times int) {
	var wg sync.WaitGroup
	for range times {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.t.Context(), d)
			defer cancel()
			_ = r.Do(ctx, "p", "m", func() error { <-ctx.Done(); return errDown })
		})
		time.Sleep(time.Second)
	}
	wg.Wait()
}

func TestOneModelOfAProviderIsDown(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("dead", err503)
		r.wantGauges(1, 0)
		r.wantLeftAlone("dead", gateway.Unavailable, openFor, openFor+time.Millisecond)
		r.says = nil
		r.wantAsked("m")
		r.wantGauges(1, 0)
		time.Sleep(openFor + time.Millisecond)
		r.wantAsked("dead")
		r.wantGauges(0, 0)
		if !strings.Contains(r.log.String(), "model=dead") {
			r.t.Errorf("the log does not name the model:\n%s", r.log.String())
		}
	})
}

func TestWhatNobodyAsksAnyMoreIsForgotten(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("dead", err503)
		r.says = errKey
		r.wantAsked("forbidden")
		time.Sleep(forgetAfter + time.Second)
		r.wantGauges(1, 1)
		r.says = nil
		r.wantAsked("m")
		r.wantGauges(0, 0)
	})
}

func TestACancelledProbeDoesNotKeepTheCircuitOpen(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("m", errDown)
		time.Sleep(openFor + time.Millisecond)
		ctx, cancel := context.WithCancel(r.t.Context())
		_ = r.Do(ctx, "p", "m", func() error { cancel(); return errDown })
		r.says = nil
		r.wantAsked("m")
		r.wantGauges(0, 0)
	})
}

func TestAProbeThatPanicsDoesNotKeepTheCircuitOpen(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("m", errDown)
		time.Sleep(openFor + time.Millisecond)
		func() {
			defer func() { _ = recover() }()
			_ = r.Do(r.t.Context(), "p", "m", func() error { panic("odd") })
		}()
		r.wantLeftAlone("m", gateway.Unavailable, openFor, openFor+time.Millisecond)
		time.Sleep(openFor + time.Millisecond)
		r.says = nil
		r.wantAsked("m")
	})
}

func TestALimitBetweenFailuresIsNoSuccess(t *testing.T) {
	bubble(t, func(r *rig) {
		for i := range inARow {
			r.says = errDown
			r.wantAsked("m")
			time.Sleep(goesOn / (inARow - 1))
			if i < inARow-1 {
				r.says = errLimited
				r.wantAsked("m")
			}
		}
		r.wantGauges(1, 0)
	})
}

func TestProvidersDoNotMix(t *testing.T) {
	bubble(t, func(r *rig) {
		r.down("m", errDown)
		asked := false
		if err := r.Do(r.t.Context(), "q", "m", func() error { asked = true; return nil }); err != nil || !asked {
			r.t.Errorf("asked %v, %v", asked, err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				err := [...]error{nil, errDown, errKey, limitedFor(time.Second), errBad}[i%5]
				for range 20 {
					_ = r.Do(r.t.Context(), "p", "m", func() error { time.Sleep(time.Millisecond); return err })
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute + openFor)
		r.says = nil
		r.wantAsked("m")
		r.wantGauges(0, 0)
	})
}
