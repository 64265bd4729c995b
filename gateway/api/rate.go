package api

import (
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"wagent/gateway"
	"wagent/gateway/api/access"
)

const (
	// perMinute is how many requests a key may make that has no number of its
	// own. It may make them all at once, and then as they come back: one each
	// 100 ms.
	perMinute = 600
	// fewBuckets is how many are kept before any is looked at again.
	fewBuckets = 1024
)

// A limiter gives each key its requests, in this process. The zero limiter is
// ready to use. A bucket that is full is as good as none, so that only those of
// keys that made requests within the last minute are kept.
type limiter struct {
	mu      sync.Mutex // guards the others
	buckets map[string]*bucket
	sweepAt int // how many buckets are too many
}

type bucket struct {
	*rate.Limiter
	perMinute int
}

// limit is the middleware. Whoever needs no key has no limit.
func (l *limiter) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		k := access.KeyOf(c.Request().Context())
		if k.Name == localName {
			return next(c)
		}
		if wait := l.take(&k, time.Now()); wait > 0 {
			return &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests with this API key", RetryAfter: wait}
		}
		return next(c)
	}
}

// take takes a request of the key's, or returns when there will be one.
func (l *limiter) take(k *gateway.APIKey, now time.Time) time.Duration {
	r := l.bucket(k, now).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // it was not made
	}
	return wait
}

func (l *limiter) bucket(k *gateway.APIKey, now time.Time) *bucket {
	n := k.PerMinute
	if n <= 0 {
		n = perMinute
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.buckets[k.Name]; ok && b.perMinute == n {
		return b
	}
	if len(l.buckets) >= max(l.sweepAt, fewBuckets) {
		for name, b := range l.buckets {
			if b.TokensAt(now) >= float64(b.perMinute) {
				delete(l.buckets, name)
			}
		}
		l.sweepAt = 2 * len(l.buckets)
	}
	if l.buckets == nil {
		l.buckets = map[string]*bucket{}
	}
	b := &bucket{rate.NewLimiter(rate.Limit(float64(n)/time.Minute.Seconds()), n), n}
	l.buckets[k.Name] = b
	return b
}
