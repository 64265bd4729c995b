package deliveries

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/bench/machine"
	"wagent/gateway"
)

// perCommit is how many deliveries one transaction commits where it is measured how
// many a second there are.
const perCommit = 50

// committers are how many commit at the same time.
const committers = 4

// atOnce is how many bare loops post at once.
const atOnce = 64

// commit has deliveries with these numbers committed in one transaction, to hooks in
// turn. Who used what is an event that no run causes.
func (p *place) commit(ctx context.Context, hooks []int64, from, to int) error {
	e := gateway.QuotaEvent{Agent: "bench", Limit: 1, Used: 1}
	return p.TellOfQuota(ctx, &e, func(_ []gateway.Webhook, e *gateway.QuotaEvent, now time.Time) []gateway.Delivery {
		ds := make([]gateway.Delivery, 0, to-from)
		for n := from; n < to; n++ {
			ds = append(ds, gateway.Delivery{
				ID: gateway.DeliveryID(p.prefix + strconv.Itoa(n)), Webhook: hooks[n%len(hooks)], Event: e.Event(), Action: n,
				Conversation: gateway.ConversationID("cnv_" + strconv.Itoa(n%500)), Body: body, NextAt: now, CreatedAt: now,
			})
		}
		return ds
	})
}

// throughput measures deliveries to n endpoints, as fast as they go.
func (b *Bench) throughput(ctx context.Context, p *place, n int) (t Throughput, err error) {
	p.begin()
	recv, err := receive(p.prefix, b.Deliveries, b.Hang)
	if err != nil {
		return t, err
	}
	defer recv.close()
	if t.Bare, err = recv.bare(ctx, b.Deliveries, 1); err == nil {
		t.Loops, err = recv.bare(ctx, b.Deliveries, atOnce)
	}
	if err != nil {
		return t, fmt.Errorf("post in a bare loop: %w", err)
	}
	hooks, err := p.hooks(ctx, recv.urls(n)...)
	if err != nil {
		return t, err
	}
	p.expect(b.Deliveries)
	err = b.delivering(ctx, p, func() {}, func(ctx context.Context) error {
		own, err := machine.Own()
		if err != nil {
			return err
		}
		all, began := machine.CPU(), time.Now()
		var g errgroup.Group
		var next atomic.Int64
		for range committers {
			g.Go(func() error {
				for {
					from := int(next.Add(perCommit)) - perCommit
					if from >= b.Deliveries {
						return nil
					}
					if err := p.commit(ctx, hooks, from, min(from+perCommit, b.Deliveries)); err != nil {
						return err
					}
				}
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		t.Committed = float64(b.Deliveries) / time.Since(began).Seconds()
		last, err := p.await(ctx)
		if err != nil {
			return err
		}
		used, err := machine.Own()
		t.Endpoints, t.PerSecond = n, float64(b.Deliveries)/last.Sub(began).Seconds()
		t.Own, t.All = ms(used-own)/float64(b.Deliveries), ms(machine.CPU()-all)/float64(b.Deliveries)
		t.OfBare, t.OfLoops, t.Twice = t.PerSecond/t.Bare, t.PerSecond/t.Loops, int(recv.twice.Load())
		return err
	})
	return t, errors.Join(err, p.drop(ctx, hooks))
}

// healthy is to how many endpoints it is measured how long a delivery takes.
const healthy = 10

// warm is how long deliveries are made before any counts.
const warm = 2 * time.Second

// latency measures how long deliveries take at the rate to ten of twelve endpoints; bad:
// one of the other two hangs, and one refuses.
func (b *Bench) latency(ctx context.Context, p *place, bad bool) (l Latency, err error) {
	l.Name = "ten of twelve endpoints"
	others := []string{"/other/0", "/other/1"}
	if bad {
		l.Name = "of the other two one hangs, one refuses"
		refuses, err := refusing()
		if err != nil {
			return l, err
		}
		others = []string{"/hang", refuses}
	}
	l.Quantiles, err = b.at(ctx, p, b.Rate, b.Measured, others)
	return l, err
}

// refusing is the URL of a port where nobody listens.
func refusing() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing is resolved
	if err != nil {
		return "", err
	}
	return "http://" + ln.Addr().String() + "/refused", ln.Close()
}

// at measures how long deliveries take at a rate, for a while. Others get what the
// healthy endpoints get, each.
func (b *Bench) at(ctx context.Context, p *place, rate int, while time.Duration, others []string) (q Quantiles, err error) {
	total := int((warm + while).Seconds() * float64(rate))
	p.begin()
	recv, err := receive(p.prefix, total, b.Hang)
	if err != nil {
		return q, err
	}
	defer recv.close()
	hooks, err := p.hooks(ctx, recv.urls(healthy)...)
	if err != nil {
		return q, err
	}
	var beside []int64
	for _, url := range others {
		if url[0] == '/' {
			url = recv.url + url
		}
		ids, err := p.hooks(ctx, url)
		if err != nil {
			return q, err
		}
		beside = append(beside, ids...)
	}
	var commitAt atomic.Int64
	committed := make([]int64, total)
	p.expect(total)
	err = b.delivering(ctx, p, func() { commitAt.Store(int64(time.Since(recv.base))) }, func(ctx context.Context) error {
		began, outside := time.Now(), total
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for sent, more := 0, 0; sent < total; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
			due := min(int(time.Since(began).Seconds()*float64(rate)), total)
			if due == sent {
				continue
			}
			if err := p.commit(ctx, hooks, sent, due); err != nil {
				return err
			}
			for ; sent < due; sent++ {
				committed[sent] = commitAt.Load()
			}
			if want := due / healthy * len(beside); want > more {
				if err := p.commit(ctx, beside, outside+more, outside+want); err != nil {
					return err
				}
				more = want
			}
		}
		_, err := p.await(ctx)
		return err
	})
	took := make([]float64, 0, total)
	for n := int(warm.Seconds() * float64(rate)); n < total && err == nil; n++ {
		came := recv.came[n].Load()
		if came < committed[n] {
			err = fmt.Errorf("delivery %d came before its commit, or never", n)
		}
		took = append(took, float64(came-committed[n])/1e6)
	}
	return quantiles(took), errors.Join(err, p.drop(ctx, append(hooks, beside...)))
}

// single is the rate of deliveries that are no load.
const single = 50

// backlog measures single deliveries, and again beside as many to an endpoint that is
// away.
func (b *Bench) backlog(ctx context.Context, p *place) (*Backlog, error) {
	out := &Backlog{Pending: b.Pending}
	var err error
	if out.Before, err = b.at(ctx, p, single, b.Measured, nil); err != nil {
		return nil, err
	}
	refuses, err := refusing()
	if err != nil {
		return nil, err
	}
	away, err := p.hooks(ctx, refuses)
	if err != nil {
		return nil, err
	}
	for _, stmt := range []string{
		`INSERT INTO deliveries (id, webhook, event, run, action_index, conversation, body, state, attempt, next_at, created_at)
			SELECT 'del_old_' || g, $1, 'quota.warning', '', g, 'cnv_' || g % 5000, $2, 'pending', 0, $3::bigint - g, $3::bigint - g FROM generate_series(1, $4::bigint) g`,
		`ANALYZE`,
	} {
		var args []any
		if stmt != `ANALYZE` {
			args = []any{away[0], string(body), time.Now().UnixMilli(), b.Pending}
		}
		if _, err := p.room.DB.Exec(ctx, stmt, args...); err != nil {
			return nil, err
		}
	}
	if out.Beside, err = b.at(ctx, p, single, b.Measured, nil); err != nil {
		return nil, err
	}
	fresh, err := p.hooks(ctx, refuses)
	if err != nil {
		return nil, err
	}
	out.Plan, err = p.ExplainDue(ctx, []gateway.DeliveryAsk{{Webhook: fresh[0], Limit: 128}})
	return out, err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantiles sorts what it is given.
func quantiles(took []float64) Quantiles {
	if len(took) == 0 {
		return Quantiles{}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return took[min(int(q*float64(len(took))), len(took)-1)] }
	return Quantiles{P50: at(.5), P99: at(.99), P999: at(.999), Max: took[len(took)-1]}
}
