package webhook

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
)

// numbered are deliveries to a webhook, one after the other.
func numbered(hook int64, n int) []gateway.Delivery {
	out := make([]gateway.Delivery, n)
	for i := range out {
		out[i] = testDelivery()
		out[i].ID = gateway.DeliveryID(fmt.Sprintf("del_%d_%03d", hook, i))
		out[i].Webhook = hook
		out[i].CreatedAt = out[i].CreatedAt.Add(time.Duration(i) * time.Microsecond)
	}
	return out
}

// A notebook takes down when deliveries arrived.
type notebook struct {
	mu    sync.Mutex
	start time.Time
	ids   []string
	at    []time.Duration
}

func newNotebook() *notebook { return &notebook{start: time.Now()} }

func (n *notebook) note(r *http.Request) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids = append(n.ids, r.Header.Get("Webhook-Id"))
	n.at = append(n.at, time.Since(n.start))
	return len(n.ids)
}

func (n *notebook) all() ([]string, []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ids), slices.Clone(n.at)
}

// serve starts a Deliverer of some deliveries whose endpoints are served by h.
func serve(t *testing.T, m *memory, change func(*Config), h http.HandlerFunc) *running {
	t.Helper()
	cfg := Defaults()
	cfg.Dial = serving(t, h)
	if change != nil {
		change(&cfg)
	}
	return start(t, m, cfg)
}

// calmly is for tests of days: looking after the lanes every three seconds would take
// most of their time.
func calmly(c *Config) { c.Lease = time.Hour }

func TestAnEndpointThatOnlyFailsRestsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), numbered(1, 100)...)
		n := newNotebook()
		var up sync.Map
		r := serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			n.note(r)
			if _, ok := up.Load("up"); !ok {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		synctest.Wait()
		ids, _ := n.all()
		if len(ids) > Defaults().BreakAfter+Defaults().PerWebhook {
			t.Errorf("%d attempts before it rests", len(ids))
		}
		if h := m.hook(1); h.FailingSince.IsZero() || time.Until(h.RestsUntil) < 4*time.Second {
			t.Errorf("what is known of the webhook: failing since %v, rests until %v", h.FailingSince, h.RestsUntil)
		}
		time.Sleep(time.Hour)
		again, at := n.all()
		if probes := len(again) - len(ids); probes < 10 || probes > 25 {
			t.Errorf("%d probes in an hour, want one every 5 minutes at the end", probes)
		}
		for i := len(ids) + 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < 4*time.Second || gap > 6*time.Minute+time.Second {
				t.Errorf("probe %d came %v after the one before", i-len(ids), gap)
			}
		}
		untouched := 0
		for i := range 100 {
			d := m.delivery(numbered(1, 100)[i].ID)
			if d.State != gateway.DeliveryPending {
				t.Fatalf("%s is %s", d.ID, d.State)
			}
			if d.Attempt == 0 {
				untouched++
			}
		}
		if untouched == 0 {
			t.Error("waiting used up attempts of each delivery")
		}
		up.Store("up", true)
		time.Sleep(40 * time.Minute)
		for i := range 100 {
			if d := m.delivery(numbered(1, 100)[i].ID); d.State != gateway.DeliverySucceeded {
				t.Errorf("%s is %s", d.ID, d.State)
			}
		}
		if h := m.hook(1); !h.FailingSince.IsZero() || !h.RestsUntil.IsZero() {
			t.Errorf("what is known of the webhook: failing since %v, rests until %v", h.FailingSince, h.RestsUntil)
		}
		r.stop()
	})
}

func TestARestOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.FailingSince, hook.RestsUntil = time.Now().Add(-time.Hour), time.Now().Add(time.Minute)
		m := newMemory(hook, numbered(1, 5)...)
		n := newNotebook()
		serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		time.Sleep(2 * time.Minute)
		_, at := n.all()
		if len(at) != 5 || at[0] < time.Minute || at[4] > time.Minute+Defaults().Lease {
			t.Errorf("attempts after %v, want 5 once the minute is over", at)
		}
	})
}

func TestEndpointsThatHangHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		for id := int64(1); id <= 6; id++ {
			h := testHook()
			h.ID, h.URL = id, fmt.Sprintf("http://hook.test/%d", id)
			m.hooks[id] = h
			for _, d := range numbered(id, 40) {
				m.add(d)
			}
		}
		n := newNotebook()
		serve(t, m, func(c *Config) { c.Concurrency = 16 }, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/6" {
				n.note(r)
				return
			}
			silent(w, r)
		})
		time.Sleep(time.Millisecond)
		ids, _ := n.all()
		if len(ids) != 40 {
			t.Errorf("%d arrived at the endpoint that answers, want all 40 at once", len(ids))
		}
	})
}

func TestAnOrderedWebhookIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Ordered = true
		m := newMemory(hook)
		for i, d := range numbered(1, 6) {
			d.Conversation = gateway.ConversationID([]string{"cnv_a", "cnv_b"}[i%2])
			m.add(d)
		}
		n := newNotebook()
		var failed atomic.Bool
		serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			n.note(r)
			if strings.HasSuffix(r.Header.Get("Webhook-Id"), "000") && failed.CompareAndSwap(false, true) {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		time.Sleep(time.Minute)
		ids, at := n.all()
		of := func(remainder int) (out []string) {
			for _, id := range ids {
				if int(id[len(id)-1]-'0')%2 == remainder {
					out = append(out, id)
				}
			}
			return out
		}
		if diff := cmp.Diff([]string{"del_1_001", "del_1_003", "del_1_005"}, of(1)); diff != "" {
			t.Errorf("one conversation (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"del_1_000", "del_1_000", "del_1_002", "del_1_004"}, of(0)); diff != "" {
			t.Errorf("the other (-want +got):\n%s", diff)
		}
		if at[3] != 0 || at[len(at)-1] > 1300*time.Millisecond {
			t.Errorf("they came after %v: the failing conversation held the other up, or waited longer than its retry", at)
		}
	})
}

func TestARateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.PerMinute = 60
		m := newMemory(hook, numbered(1, 10)...)
		n := newNotebook()
		serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		time.Sleep(time.Minute)
		_, at := n.all()
		want := []time.Duration{}
		for i := range 10 {
			want = append(want, time.Duration(i)*time.Second)
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

func TestAWebhookMayHaveAConcurrencyOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Concurrency = 1
		m := newMemory(hook, numbered(1, 3)...)
		n := newNotebook()
		serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) {
			n.note(r)
			time.Sleep(time.Second)
		})
		time.Sleep(time.Minute)
		if _, at := n.all(); !cmp.Equal(at, []time.Duration{0, time.Second, 2 * time.Second}) {
			t.Errorf("attempts after %v", at)
		}
	})
}

func TestAPauseKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Paused = true
		m := newMemory(hook, numbered(1, 3)...)
		n := newNotebook()
		r := serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		time.Sleep(time.Hour)
		if ids, _ := n.all(); len(ids) != 0 {
			t.Errorf("%v were delivered", ids)
		}
		m.change(1, func(h *gateway.Webhook) { h.Paused = false })
		r.Wake()
		synctest.Wait()
		if ids, at := n.all(); len(ids) != 3 || at[2] != time.Hour {
			t.Errorf("%v were delivered, after %v", ids, at)
		}
		m.change(1, func(h *gateway.Webhook) { h.Paused = true })
		r.Wake()
		synctest.Wait()
		for _, d := range numbered(1, 5)[3:] {
			m.add(d)
		}
		r.Wake(1)
		time.Sleep(time.Hour)
		if ids, _ := n.all(); len(ids) != 3 {
			t.Errorf("%v were delivered", ids)
		}
	})
}

func TestAnEndpointThatAsksUsToWaitIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Concurrency = 1
		m := newMemory(hook, numbered(1, 3)...)
		n := newNotebook()
		serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			if n.note(r) == 1 {
				w.Header().Set("Retry-After", "90")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		time.Sleep(time.Hour)
		if _, at := n.all(); len(at) != 4 || at[1] < 90*time.Second || at[3] > 91*time.Second+Defaults().Lease {
			t.Errorf("attempts after %v, want 3 more once 90s are over", at)
		}
	})
}

func TestAWebhookThatOnlyFailsForDaysIsTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		n := newNotebook()
		r := serve(t, m, calmly, func(w http.ResponseWriter, r *http.Request) {
			n.note(r)
			w.WriteHeader(http.StatusUnauthorized)
		})
		begin := time.Now()
		for day := range 7 {
			d := testDelivery()
			d.ID = gateway.DeliveryID(fmt.Sprintf("del_%d", day))
			m.add(d)
			r.Wake(1)
			time.Sleep(24 * time.Hour)
			if off := m.hook(1).Disabled != ""; off != (day >= 5) {
				t.Fatalf("after %d days off is %v", day+1, off)
			}
		}
		if want := "no attempt has succeeded since " + begin.UTC().Format(time.RFC3339); m.hook(1).Disabled != want {
			t.Errorf("turned off since %q, want %q", m.hook(1).Disabled, want)
		}
		if got := testutil.ToFloat64(r.metrics.disabled); got != 1 {
			t.Errorf("%v webhooks were counted as turned off", got)
		}
		if d := m.delivery("del_6"); d.State != gateway.DeliveryDead || d.Attempt != 0 {
			t.Errorf("what came later is %s after %d attempts", d.State, d.Attempt)
		}
	})
}

func TestALaneThatIsAnothersIsLeftToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), numbered(1, 2)...) // lane 1
		other := testHook()
		other.ID = 9 // lane 9
		m.hooks[9] = other
		m.share = 8
		for _, d := range numbered(9, 2) {
			m.add(d)
		}
		n := newNotebook()
		r := serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		time.Sleep(Defaults().Lease)
		r.Wake(9)
		time.Sleep(Defaults().Lease)
		ids, _ := n.all()
		slices.Sort(ids)
		if !cmp.Equal(ids, []string{"del_1_000", "del_1_001"}) {
			t.Errorf("delivered were %v", ids)
		}
		m.mu.Lock()
		released := slices.Clone(m.released)
		m.mu.Unlock()
		slices.Sort(released)
		if !cmp.Equal(released, []int64{8, 9, 10, 11, 12, 13, 14, 15}) {
			t.Errorf("released were %v", released)
		}
		if got := testutil.ToFloat64(r.metrics.lanes); got != 8 {
			t.Errorf("%v lanes are counted", got)
		}
		r.stop()
		if !m.left || len(m.mine) > 0 {
			t.Errorf("it holds %v still", m.mine)
		}
	})
}

func TestALaneIsGivenUpOnceItsAttemptsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.ID = 9
		m := newMemory(hook, numbered(9, 1)...)
		serve(t, m, nil, func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) })
		time.Sleep(time.Second)
		m.mu.Lock()
		m.share = 8
		m.mu.Unlock()
		released := func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return slices.Contains(m.released, 9)
		}
		time.Sleep(3500 * time.Millisecond)
		if released() {
			t.Error("the lane was given up under an attempt")
		}
		time.Sleep(Defaults().Lease)
		if d := m.delivery("del_9_000"); !released() || d.State != gateway.DeliverySucceeded {
			t.Errorf("the delivery is %s, the lane was given up: %v", d.State, released())
		}
	})
}

func TestWhoCanNotKeepItsLanesSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		n := newNotebook()
		r := serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		synctest.Wait()
		m.mu.Lock()
		m.holdErrs = 100
		m.mu.Unlock()
		time.Sleep(Defaults().Lease + time.Second)
		for _, d := range numbered(1, 3) {
			m.add(d)
		}
		r.Wake(1)
		time.Sleep(5 * time.Second)
		if ids, _ := n.all(); len(ids) != 0 {
			t.Errorf("%v were delivered, in lanes that others may have", ids)
		}
		time.Sleep(2 * time.Minute)
		if ids, _ := n.all(); len(ids) != 3 {
			t.Errorf("%d were delivered once the lanes are ours again, want 3", len(ids))
		}
	})
}

// TestLanesThatOthersHadMeanwhile: what was read before is not sent, which they may
// have delivered.
func TestLanesThatOthersHadMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Concurrency = 1
		m := newMemory(hook, numbered(1, 10)...)
		n := newNotebook()
		serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) {
			n.note(r)
			time.Sleep(time.Second)
		})
		time.Sleep(2500 * time.Millisecond)
		m.mu.Lock()
		m.stolen = true
		m.mu.Unlock()
		time.Sleep(5 * time.Second)
		before, _ := n.all()
		for _, d := range numbered(1, 8) {
			d.State = gateway.DeliverySucceeded
			m.add(d)
		}
		m.mu.Lock()
		m.stolen = false
		m.mu.Unlock()
		time.Sleep(time.Minute)
		ids, _ := n.all()
		if len(before) > 4 || !cmp.Equal(ids[len(before):], []string{"del_1_008", "del_1_009"}) {
			t.Errorf("sent were %v, and then %v", before, ids[len(before):])
		}
	})
}

func TestAWebhookThatIsMendedGetsAChance(t *testing.T) {
	for name, mend := range map[string]func(h *gateway.Webhook){
		"turned on again": func(h *gateway.Webhook) { h.Disabled = "" },
		"elsewhere":       func(h *gateway.Webhook) { h.Disabled, h.URL = "", "http://hook.test/new" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hook := testHook()
				hook.FailingSince = time.Now().Add(-6 * 24 * time.Hour)
				m := newMemory(hook, numbered(1, 12)...)
				n := newNotebook()
				var mended atomic.Int32
				r := serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
					n.note(r)
					if mended.Load() == 0 || mended.Add(1) == 2 { // it may fail once still
						w.WriteHeader(http.StatusInternalServerError)
					}
				})
				time.Sleep(time.Minute)
				if m.hook(1).Disabled == "" {
					t.Fatal("it is not turned off, whose attempts fail since 6 days")
				}
				mended.Store(1)
				m.change(1, func(h *gateway.Webhook) {
					mend(h)
					h.FailingSince, h.RestsUntil = time.Time{}, time.Time{} // as the store has it
				})
				d := testDelivery()
				d.ID = "del_new"
				m.add(d)
				r.Wake()
				time.Sleep(time.Minute)
				if got := m.delivery("del_new"); m.hook(1).Disabled != "" || got.State != gateway.DeliverySucceeded {
					t.Errorf("the webhook is off: %q, the delivery %s", m.hook(1).Disabled, got.State)
				}
			})
		})
	}
}

// TestWhatAnOldURLSaysCountsNoMore: a person moved the webhook while it was asked
// where it was.
func TestWhatAnOldURLSaysCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		r := serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/in" {
				time.Sleep(2 * time.Second)
				w.WriteHeader(http.StatusGone)
			}
		})
		time.Sleep(time.Second)
		m.change(1, func(h *gateway.Webhook) { h.URL = "http://hook.test/new" })
		r.Wake()
		time.Sleep(time.Minute)
		if d := m.delivery("del_1"); d.State != gateway.DeliverySucceeded || d.Attempt != 2 || m.hook(1).Disabled != "" || !m.hook(1).FailingSince.IsZero() {
			t.Errorf("delivery = %s after %d attempts, the webhook is %+v", d.State, d.Attempt, m.hook(1))
		}
	})
}

// TestAClockThatIsAhead: what another process made due is not due here yet when it
// says so.
func TestAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		n := newNotebook()
		r := serve(t, m, func(c *Config) { c.Tell = func(...int64) {} }, func(_ http.ResponseWriter, r *http.Request) { n.note(r) })
		time.Sleep(time.Second)
		d := testDelivery()
		d.NextAt = time.Now().Add(20 * time.Millisecond)
		m.add(d)
		r.Hear(1)
		time.Sleep(time.Minute)
		if _, at := n.all(); len(at) != 1 || at[0] > time.Second+skew {
			t.Errorf("delivered after %v", at)
		}
	})
}

func TestOthersAreToldOfWhatIsTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook())
		m.share = 8
		var told [][]int64
		r := serve(t, m, func(c *Config) { c.Tell = func(webhooks ...int64) { told = append(told, webhooks) } }, answers(200))
		time.Sleep(Defaults().Lease)
		r.Wake(1, 9)
		r.Wake(2)
		r.Hear(10)
		r.Wake()
		if diff := cmp.Diff([][]int64{{9}, {}}, told, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestAReplayBeginsTheScheduleAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDelivery()
		d.Attempt, d.Replayed = 10, 10
		m := newMemory(testHook(), d)
		serve(t, m, calmly, answers(http.StatusInternalServerError))
		time.Sleep(30 * time.Hour)
		if all := m.all(); len(all) != 10 || all[0].Number != 11 || all[9].Number != 20 || m.delivery("del_1").State != gateway.DeliveryDead {
			t.Errorf("%d more attempts, the delivery is %s", len(all), m.delivery("del_1").State)
		}
	})
}

func TestHeadersOfAPersonGoAlongAndReplaceNoneOfOurs(t *testing.T) {
	var got http.Header
	synctest.Test(t, func(t *testing.T) {
		hook := testHook()
		hook.Headers = map[string]gateway.Secret{"Authorization": "Bearer hidden-token", "webhook-id": "forged", "Content-Type": "text/plain"}
		m := newMemory(hook, testDelivery())
		r := serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Clone()
			w.Header().Set("Set-Cookie", "session=hidden-cookie")
			w.Header().Set("X-Request-Id", strings.Repeat("r", 300))
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "no")
		})
		synctest.Wait()
		r.stop()
		for name, want := range map[string]string{"Authorization": "Bearer hidden-token", "Webhook-Id": "del_1", "Content-Type": "application/json"} {
			if got.Get(name) != want {
				t.Errorf("%s = %q, want %q", name, got.Get(name), want)
			}
		}
		a := m.all()[0]
		if a.Headers["Set-Cookie"] != "***" || len(a.Headers["X-Request-Id"]) != 203 {
			t.Errorf("headers that are kept: %v", a.Headers)
		}
		if all := r.log.String() + fmt.Sprint(a, m.hook(1)); strings.Contains(all, "hidden-token") || strings.Contains(all, "hidden-cookie") {
			t.Errorf("a secret shows:\n%s", all)
		}
	})
}

func TestAnAttemptKnowsItsPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), testDelivery())
		serve(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(2 * time.Second)
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			time.Sleep(3 * time.Second)
		})
		time.Sleep(time.Minute)
		if diff := cmp.Diff(gateway.Phases{FirstByte: 2 * time.Second, Body: 3 * time.Second}, m.all()[0].Phases); diff != "" {
			t.Errorf("phases (-want +got):\n%s", diff)
		}
	})
}

func TestABacklogIsReadSomeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(testHook(), numbered(1, 1000)...)
		n := newNotebook()
		serve(t, m, nil, func(_ http.ResponseWriter, r *http.Request) {
			n.note(r)
			time.Sleep(10 * time.Millisecond)
		})
		time.Sleep(time.Minute)
		ids, at := n.all()
		if len(ids) != 1000 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1000 {
			t.Errorf("%d were delivered, want each of 1000 once", len(ids))
		}
		if last := at[len(at)-1]; last > 2*time.Second {
			t.Errorf("the last came after %v", last)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, a := range m.asked {
			if a.Limit > aheadOfOne {
				t.Fatalf("asked for %d at once", a.Limit)
			}
		}
	})
}
