package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// inHand are n answers that name a time to come back, and one more.
func inHand(n, last int) []int { return append(slices.Repeat([]int{http.StatusConflict}, n), last) }

func TestWhatIsInHandElsewhereIsWaitedForUntilTheContextEnds(t *testing.T) {
	for name, c := range map[string]struct {
		retries int
		most    time.Duration
	}{"with one repetition": {1, time.Minute}, "with none": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			served(t, c.retries, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusConflict)
			}, func(t *testing.T, client *Client) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := client.Do(ctx, Call{Method: http.MethodPost, Path: []string{"agents"}}, nil)
				var r *refusal
				if took := time.Since(start); !errors.As(err, &r) || took > c.most || took < c.most-2*time.Second {
					t.Errorf("Do = %v after %v, want the refusal after %v", err, took, c.most)
				}
			})
		})
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, c := range map[string]struct {
			want time.Duration
			ok   bool
		}{
			"": {}, "soon": {}, "-5": {}, "1.5": {}, "99999999999999999999": {}, "0": {0, true}, "120": {2 * time.Minute, true},
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): {time.Minute, true},
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):  {0, true},
		} {
			if got, ok := RetryAfter(http.Header{"Retry-After": {value}}); got != c.want || ok != c.ok {
				t.Errorf("RetryAfter of %q = %v, %v, want %v, %v", value, got, ok, c.want, c.ok)
			}
		}
	})
}

func TestTheBackoffDiffersAndIsBounded(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		d, again := retry(40, http.MethodGet, &answer{status: 503}, nil)
		if !again || d < 0 || d >= maxBackoff {
			t.Fatalf("retry = %v, %v", d, again)
		}
		seen[d] = true
	}
	if len(seen) < 90 {
		t.Errorf("of 100 waits only %d differ", len(seen))
	}
}
