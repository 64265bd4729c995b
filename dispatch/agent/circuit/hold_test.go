package circuit

import (
	"sync"
	"testing"
	"time"

	"wagent/gateway"
)

func TestALimitHoldsItsModelOff(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = limitedFor(7 * time.Second)
		r.wantAsked("m")
		r.says = nil
		time.Sleep(3 * time.Second)
		r.wantLeftAlone("m", gateway.RateLimited, 4*time.Second, 4*time.Second)
		r.wantAsked("other")
		time.Sleep(4 * time.Second)
		r.wantAsked("m")
		r.wantGauges(0, 0)
	})
}

func TestALimitOfADayIsTriedEveryMinute(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = limitedFor(24 * time.Hour)
		r.wantAsked("m")
		r.wantLeftAlone("m", gateway.RateLimited, longestHold, longestHold)
		time.Sleep(longestHold)
		r.wantAsked("m")
		r.wantLeftAlone("m", gateway.RateLimited, longestHold, longestHold)
	})
}

func TestAShorterLimitDoesNotEndALongerOne(t *testing.T) {
	bubble(t, func(r *rig) {
		// Both were under way when the first limit came.
		_ = r.Do(r.t.Context(), "p", "m", func() error {
			r.says = limitedFor(30 * time.Second)
			r.wantAsked("m")
			return limitedFor(time.Second)
		})
		r.wantLeftAlone("m", gateway.RateLimited, 30*time.Second, 30*time.Second)
	})
}

// TestARefusedKeyIsToldOnce has a hundred runs whose key is refused: whoever
// watches the log or the gauge hears of it once, and the provider is asked
// every 30 seconds until it takes the key.
func TestARefusedKeyIsToldOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = errKey
		r.wantAsked("m")
		r.wantGauges(0, 1)
		for range 100 {
			r.wantLeftAlone("m", gateway.Unauthorized, keyEvery, keyEvery)
		}
		for range 5 {
			time.Sleep(keyEvery)
			r.wantAsked("m")
			r.wantLeftAlone("m", gateway.Unauthorized, keyEvery, keyEvery)
			r.wantGauges(0, 1)
		}
		r.wantLines("ERROR", 1)
		time.Sleep(keyEvery)
		r.says = nil
		r.wantAsked("m")
		r.wantAsked("m")
		r.wantGauges(0, 0)
		r.wantLines("INFO", 1)

		r.says = errKey
		r.wantAsked("m")
		r.wantLines("ERROR", 2)
	})
}

func TestAKeyThatAllModelsRefuseIsToldOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = errKey
		r.wantAsked("a")
		r.wantAsked("b")
		r.wantLines("ERROR", 1)
		r.wantLines("WARN", 1)
		r.wantGauges(0, 1)
	})
}

func TestALimitDoesNotMendAKey(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = errKey
		r.wantAsked("m")
		time.Sleep(keyEvery)
		r.says = limitedFor(longestHold)
		r.wantAsked("m")
		r.wantLeftAlone("m", gateway.Unauthorized, keyEvery, keyEvery)
		r.wantGauges(0, 1)
	})
}

func TestARefusedKeyIsTriedByOneRequest(t *testing.T) {
	bubble(t, func(r *rig) {
		r.says = errKey
		r.wantAsked("m")
		time.Sleep(keyEvery)
		before := r.n.Load()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_ = r.Do(r.t.Context(), "p", "m", func() error { r.n.Add(1); time.Sleep(time.Second); return errKey })
			})
		}
		wg.Wait()
		if n := r.n.Load() - before; n != 1 {
			r.t.Errorf("%d requests, want 1", n)
		}
	})
}

// TestAKeyThatIsGoodForOneModelKeepsIt has two models, of which a key lost one:
// that stays to be seen while the other goes on, and is mended once it is.
func TestAKeyThatIsGoodForOneModelKeepsIt(t *testing.T) {
	bubble(t, func(r *rig) {
		for range 10 {
			r.says = errKey
			r.wantAsked("forbidden")
			r.says = nil
			r.wantAsked("m")
			r.wantGauges(0, 1)
			r.wantLeftAlone("forbidden", gateway.Unauthorized, keyEvery, keyEvery)
			time.Sleep(keyEvery)
		}
		r.wantLines("ERROR", 1)
		r.wantLines("INFO", 0)
		r.wantAsked("forbidden")
		r.wantLines("INFO", 1)
		r.wantGauges(0, 0)
	})
}

// TestARefusalThatMayBeAboutAPrompt has a firewall that does not like what some
// customers write: the others are answered.
func TestARefusalThatMayBeAboutAPrompt(t *testing.T) {
	bubble(t, func(r *rig) {
		for range 10 {
			for range inDoubt - 1 {
				r.says = err403
				r.wantAsked("m")
			}
			r.says = nil
			r.wantAsked("m")
		}
		r.wantGauges(0, 0)
		r.wantLines("ERROR", 0)
		for range inDoubt {
			r.says = err403
			r.wantAsked("m")
		}
		r.wantGauges(0, 1)
		r.wantLines("ERROR", 1)
		r.wantAsked("m") // by the next customer, whose words nobody minds
		r.says = nil
		r.wantAsked("m")
		r.wantGauges(0, 0)
		r.says = err403
		r.wantAsked("m")
		r.says = errKey
		r.wantAsked("m")
		r.wantLeftAlone("m", gateway.Unauthorized, keyEvery, keyEvery)
		r.says = err403
		time.Sleep(keyEvery)
		r.wantAsked("m")
		r.wantLeftAlone("m", gateway.Unauthorized, keyEvery, keyEvery)
	})
}
