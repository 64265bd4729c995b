package api

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"wagent/gateway"
	"wagent/gateway/api/access"
	"wagent/gateway/api/wire"
)

const (
	// perMinute is how many requests a key may make that has no number of its
	// own. It may make them all at once, and then as they come back: one each
	// 100 ms.
	perMinute = 600
	// perMinuteOfClient and perMinuteOfLink are for who opens links at /connect,
	// who have no key: people who read a page, and send a form. The first is also how
	// often a client is told that its key is not known.
	perMinuteOfClient = 60
	perMinuteOfLink   = 30
	// fewBuckets is how many are kept before any is looked at again.
	fewBuckets = 1024
)

// A limiter gives each key, or whoever else it is asked about, its requests, in
// this process. The zero limiter is ready to use. A bucket that is full is as good
// as none, so that only those of who made requests within the last minute are
// kept.
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
		ctx := c.Request().Context()
		if ctx.Value(trusted{}) != nil {
			return next(c)
		}
		k := access.KeyOf(ctx)
		n := k.PerMinute
		if n <= 0 {
			n = perMinute
		}
		if wait := l.take(k.Name, n, time.Now()); wait > 0 {
			return &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests with this API key", RetryAfter: wait}
		}
		return next(c)
	}
}

// limitLinks is the middleware of links: so many requests for each client, and
// for each link, whoever its clients are. The client comes first, so that nobody
// fills the memory with links that there are not.
func limitLinks() echo.MiddlewareFunc {
	clients, links := new(clients), new(limiter)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			now := time.Now()
			wait := clients.takeOf(c.Request(), now)
			if link, ok := wire.PathID(c, "connect"); ok && wait <= 0 {
				wait = links.take(link, perMinuteOfLink, now)
			}
			if wait > 0 {
				return &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests: wait for a moment", RetryAfter: wait}
			}
			return next(c)
		}
	}
}

// clients limits whoever has no key, by where they are.
type clients struct{ limiter }

// takeOf takes a request of a client, or returns when there will be one.
func (l *clients) takeOf(r *http.Request, now time.Time) time.Duration {
	return l.take(clientOf(addressOf(r)), perMinuteOfClient, now)
}

// addressOf is where a request is from: where the connection is, or what a proxy
// of ours says.
var addressOf = echo.ExtractIPFromXFFHeader()

// clientOf is who has an address: of IPv6 a whole /64, since that is what one
// client gets (RFC 6177, section 2).
func clientOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // never fails: it is an IPv6 address
	return p.String()
}

// take takes a request of somebody who may make n in a minute, or returns when
// there will be one.
func (l *limiter) take(who string, n int, now time.Time) time.Duration {
	r := l.bucket(who, n, now).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // it was not made
	}
	return wait
}

func (l *limiter) bucket(who string, n int, now time.Time) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.buckets[who]; ok && b.perMinute == n {
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
	l.buckets[who] = b
	return b
}
