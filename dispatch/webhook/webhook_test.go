package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"wagent/gateway"
)

func TestADeliveryArrivesSignedWithItsBytes(t *testing.T) {
	var got http.Header
	var body []byte
	synctest.Test(t, func(t *testing.T) {
		m, r := deliver(t, func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Clone()
			body, _ = io.ReadAll(r.Body)
			fmt.Fprint(w, "thanks")
		})
		synctest.Wait()
		wh, err := standardwebhooks.NewWebhook(string(testHook().Secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(body, got); err != nil {
			t.Errorf("Verify = %v", err)
		}
		if want := string(testDelivery().Body); string(body) != want {
			t.Errorf("body = %s, want %s", body, want)
		}
		for name, want := range map[string]string{
			"Webhook-Id": "del_1", "X-Webhook-Event": "agent_run.completed", "Content-Type": "application/json", "User-Agent": "wagent",
			"X-Webhook-Timestamp": strconv.FormatInt(time.Now().Unix(), 10),
		} {
			if got.Get(name) != want {
				t.Errorf("%s = %q, want %q", name, got.Get(name), want)
			}
		}
		if d := m.delivery("del_1"); d.State != gateway.DeliverySucceeded || d.Attempt != 1 {
			t.Errorf("delivery = %s after %d attempts", d.State, d.Attempt)
		}
		want := []gateway.Attempt{{Delivery: "del_1", Number: 1, At: time.Now(), StatusCode: 200, Answer: "thanks"}}
		if diff := cmp.Diff(want, m.all(), cmpopts.IgnoreFields(gateway.Attempt{}, "Headers")); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if n := testutil.ToFloat64(r.metrics.deliveries.WithLabelValues(outcomeSucceeded)); n != 1 {
			t.Errorf("%v deliveries were counted as succeeded", n)
		}
	})
}

func TestAFailingDeliveryFollowsTheScheduleAndDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		r := serve(t, m, calmly, answers(http.StatusInternalServerError))
		time.Sleep(30 * time.Hour)
		all := m.all()
		schedule := Defaults().Schedule
		if len(all) != len(schedule)+1 {
			t.Fatalf("%d attempts were made, want %d", len(all), len(schedule)+1)
		}
		jittered := false
		for i, wait := range schedule {
			took := all[i+1].At.Sub(all[i].At)
			if low, high := wait*8/10, wait*12/10; took < low || took > high {
				t.Errorf("wait %d took %v, want %v to %v", i+1, took, low, high)
			}
			jittered = jittered || took != wait
			if all[i+1].Number != i+2 || all[i+1].StatusCode != 500 {
				t.Errorf("attempt %d = %+v", i+2, all[i+1])
			}
		}
		if !jittered {
			t.Error("no wait was spread")
		}
		if d := m.delivery("del_1"); d.State != gateway.DeliveryDead || d.Attempt != len(all) {
			t.Errorf("delivery = %s after %d attempts", d.State, d.Attempt)
		}
		for outcome, want := range map[string]float64{outcomeRetried: 9, outcomeDead: 1, outcomeSucceeded: 0} {
			if got := testutil.ToFloat64(r.metrics.deliveries.WithLabelValues(outcome)); got != want {
				t.Errorf("%s = %v, want %v", outcome, got, want)
			}
		}
	})
}

func TestOnly2xxIsSuccess(t *testing.T) {
	for status, want := range map[int]gateway.DeliveryState{
		200: gateway.DeliverySucceeded, 201: gateway.DeliverySucceeded, 202: gateway.DeliverySucceeded, 204: gateway.DeliverySucceeded, 299: gateway.DeliverySucceeded,
		300: gateway.DeliveryPending, 301: gateway.DeliveryPending, 302: gateway.DeliveryPending, 304: gateway.DeliveryPending, 307: gateway.DeliveryPending, 308: gateway.DeliveryPending,
		400: gateway.DeliveryPending, 401: gateway.DeliveryPending, 404: gateway.DeliveryPending, 429: gateway.DeliveryPending,
		500: gateway.DeliveryPending, 503: gateway.DeliveryPending, 599: gateway.DeliveryPending, 410: gateway.DeliveryDead,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			var hits atomic.Int32
			synctest.Test(t, func(t *testing.T) {
				m, _ := deliver(t, func(w http.ResponseWriter, _ *http.Request) {
					hits.Add(1)
					w.Header().Set("Location", "http://hook.test/elsewhere")
					w.WriteHeader(status)
				})
				synctest.Wait()
				if d := m.delivery("del_1"); d.State != want || hits.Load() != 1 {
					t.Errorf("delivery = %s after %d requests, want %s after 1", d.State, hits.Load(), want)
				}
			})
		})
	}
}

func TestGoneDisablesTheWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := deliver(t, answers(http.StatusGone))
		synctest.Wait()
		if m.hook(1).Disabled == "" {
			t.Error("the webhook is still on")
		}
		if n := testutil.ToFloat64(r.metrics.deliveries.WithLabelValues(outcomeDisabled)); n != 1 {
			t.Errorf("%v deliveries were counted as disabled", n)
		}
		second := testDelivery()
		second.ID = "del_2"
		m.add(second)
		r.Wake(1)
		time.Sleep(Defaults().Lease)
		if d := m.delivery("del_2"); d.State != gateway.DeliveryDead || len(m.all()) != 1 {
			t.Errorf("delivery = %s, attempts %+v", d.State, m.all())
		}
	})
}

func TestADeletedWebhooksDeliveriesDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(gateway.Webhook{ID: 99}, testDelivery())
		start(t, m, Defaults())
		synctest.Wait()
		if d := m.delivery("del_1"); d.State != gateway.DeliveryDead || len(m.all()) != 0 {
			t.Errorf("delivery = %s, attempts %+v", d.State, m.all())
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	tests := map[string]struct {
		header    func() string
		low, high time.Duration
	}{
		"in seconds":                      {func() string { return "90" }, 90 * time.Second, 90 * time.Second},
		"as a date":                       {func() string { return time.Now().Add(5 * time.Minute).UTC().Format(http.TimeFormat) }, 5 * time.Minute, 5 * time.Minute},
		"but never sooner than scheduled": {func() string { return "0" }, 800 * time.Millisecond, 1200 * time.Millisecond},
		"nor later than in a day":         {func() string { return "999999999" }, 24 * time.Hour, 24 * time.Hour},
		"nor by a number that overflows":  {func() string { return "99999999999999999999999" }, 24 * time.Hour, 24 * time.Hour},
		"nor by a date in the past":       {func() string { return "Fri, 31 Dec 1999 23:59:59 GMT" }, 800 * time.Millisecond, 1200 * time.Millisecond},
		"nor if it is nonsense":           {func() string { return "-5 later" }, 800 * time.Millisecond, 1200 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, _ := deliver(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", tt.header())
					w.WriteHeader(http.StatusTooManyRequests)
				})
				synctest.Wait()
				if wait := time.Until(m.delivery("del_1").NextAt); wait < tt.low || wait > tt.high {
					t.Errorf("the next attempt comes in %v, want %v to %v", wait, tt.low, tt.high)
				}
			})
		})
	}
}

func TestWhatCanNotBeSettledIsSettledLater(t *testing.T) {
	var requests atomic.Int32
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		m.settleErrs = 5
		cfg := Defaults()
		cfg.Dial = serving(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
		start(t, m, cfg)
		time.Sleep(time.Minute)
		if all := m.all(); requests.Load() != 1 || len(all) != 1 || m.delivery("del_1").State != gateway.DeliverySucceeded {
			t.Errorf("%d requests, attempts %+v, want one", requests.Load(), all)
		}
	})
}

func TestAnAttemptThatAnotherProcessOvertookIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m, r := deliver(t, func(http.ResponseWriter, *http.Request) { <-release })
		synctest.Wait()
		m.mu.Lock()
		d := m.deliveries["del_1"]
		d.State = gateway.DeliverySucceeded
		m.deliveries["del_1"] = d
		m.mu.Unlock()
		close(release)
		synctest.Wait()
		if n := testutil.ToFloat64(r.metrics.deliveries.WithLabelValues(outcomeSucceeded)); n != 0 || len(m.all()) != 0 {
			t.Errorf("%v deliveries were counted, attempts %+v", n, m.all())
		}
		if strings.Contains(r.log.String(), "ERROR") {
			t.Errorf("logged as an error:\n%s", r.log)
		}
	})
}

func TestADatabaseThatIsAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		m.readErrs, m.holdErrs = 1, 1
		cfg := Defaults()
		cfg.Dial = serving(t, answers(200))
		start(t, m, cfg)
		synctest.Wait()
		if len(m.all()) != 0 {
			t.Errorf("attempts = %+v, want none yet", m.all())
		}
		time.Sleep(2 * again)
		synctest.Wait()
		if d := m.delivery("del_1"); d.State != gateway.DeliverySucceeded || d.Attempt != 1 {
			t.Errorf("delivery = %s after %d attempts", d.State, d.Attempt)
		}
	})
}

func TestTheTimeoutCoversEverything(t *testing.T) {
	tests := map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"an endpoint that does not answer": {silent, "first byte: timed out"},
		"an endpoint that does not end": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(200)
			for r.Context().Err() == nil {
				fmt.Fprint(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}, "body: timed out"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := deliver(t, tt.serve)
				time.Sleep(Defaults().Timeout + time.Millisecond)
				all := m.all()
				if len(all) != 1 || all[0].Error != tt.want || all[0].Latency != Defaults().Timeout {
					t.Errorf("attempts = %+v, want one that ends with %q after %v", all, tt.want, Defaults().Timeout)
				}
				if d := m.delivery("del_1"); d.State != gateway.DeliveryPending {
					t.Errorf("delivery = %s, want pending", d.State)
				}
				r.stop()
			})
		})
	}
}

func TestAShutdownLetsAttemptsInHandFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := deliver(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			w.WriteHeader(200)
		})
		synctest.Wait()
		r.stop()
		if d := m.delivery("del_1"); d.State != gateway.DeliverySucceeded {
			t.Errorf("delivery = %s, want succeeded", d.State)
		}
	})
}

func TestAnAttemptThatAShutdownCutsIsNotHeldAgainstTheEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		cfg := Defaults()
		cfg.Drain = time.Second
		cfg.Dial = serving(t, silent)
		r := start(t, m, cfg)
		synctest.Wait()
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the shutdown took %v, want the drain of 1s", took)
		}
		if d := m.delivery("del_1"); d.State != gateway.DeliveryPending || len(m.all()) != 0 {
			t.Errorf("delivery = %s, attempts %+v, want pending after none", d.State, m.all())
		}
	})
}

func TestASlowEndpointTakesNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		for i := range 20 {
			d := testDelivery()
			d.ID = gateway.DeliveryID(fmt.Sprintf("del_%d", i))
			m.deliveries[d.ID] = d
		}
		var now, most atomic.Int32
		cfg := Defaults()
		cfg.PerWebhook = 3
		cfg.Dial = serving(t, func(http.ResponseWriter, *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
		})
		start(t, m, cfg)
		time.Sleep(time.Minute)
		if most.Load() != 3 || len(m.all()) != 20 {
			t.Errorf("%d at once and %d in all, want 3 and 20", most.Load(), len(m.all()))
		}
	})
}

func TestLogsHoldNoSecretAndNoQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := deliver(t, answers(500))
		synctest.Wait()
		r.stop()
		for _, hidden := range []string{"hidden-query", "dGVzdC1zZWNyZXQ", `agent_run.completed\"`} {
			if strings.Contains(r.log.String(), hidden) {
				t.Errorf("the log holds %q:\n%s", hidden, r.log)
			}
		}
		if n := strings.Count(r.log.String(), `msg="delivery attempt"`); n != 1 {
			t.Errorf("one attempt made %d lines:\n%s", n, r.log)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Fatalf("the defaults are not valid: %v", err)
	}
	for name, broken := range map[string]func(*Config){
		"no concurrency":     func(c *Config) { c.Concurrency = 0 },
		"no share":           func(c *Config) { c.PerWebhook = 0 },
		"no timeout":         func(c *Config) { c.Timeout = 0 },
		"no failure":         func(c *Config) { c.BreakAfter = 0 },
		"no rest":            func(c *Config) { c.Rest = 0 },
		"a shorter rest":     func(c *Config) { c.LongestRest = c.Rest - 1 },
		"days before it is":  func(c *Config) { c.DisableAfter = -1 },
		"no lease":           func(c *Config) { c.Lease = 0 },
		"a negative drain":   func(c *Config) { c.Drain = -1 },
		"a wait of nothing":  func(c *Config) { c.Schedule = []time.Duration{0} },
		"a wait of days":     func(c *Config) { c.Schedule = []time.Duration{48 * time.Hour} },
		"an address of none": func(c *Config) { c.AllowAddresses = make([]netip.Prefix, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Defaults()
			broken(&cfg)
			if err := New(newMemory(testHook()), cfg, slog.New(slog.DiscardHandler), nil).Run(context.Background()); err == nil {
				t.Error("Run = nil")
			}
		})
	}
}

func TestAnOldSecretSignsUntilItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.PreviousSecret, hook.PreviousUntil = "whsec_b2xkLXNlY3JldA==", time.Now().Add(3*time.Second)
		old, err := standardwebhooks.NewWebhook(string(hook.PreviousSecret))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var verified []bool
		cfg := Defaults()
		cfg.Schedule = []time.Duration{time.Second, 5 * time.Second}
		cfg.Dial = serving(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			verified = append(verified, old.VerifyIgnoringTimestamp(body, r.Header) == nil)
			mu.Unlock()
			w.WriteHeader(http.StatusInternalServerError)
		})
		start(t, newMemory(hook, testDelivery()), cfg)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff([]bool{true, true, false}, verified); diff != "" {
			t.Errorf("the old secret verifies (-want +got):\n%s", diff)
		}
	})
}
