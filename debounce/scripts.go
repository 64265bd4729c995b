package debounce

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/common.lua
var commonSource string

//go:embed lua/add.lua
var addSource string

//go:embed lua/claim.lua
var claimSource string

//go:embed lua/renew.lua
var renewSource string

//go:embed lua/done.lua
var doneSource string

//go:embed lua/nack.lua
var nackSource string

//go:embed lua/flush.lua
var flushSource string

//go:embed lua/drop.lua
var dropSource string

var (
	addScript   = redis.NewScript(commonSource + addSource)
	claimScript = redis.NewScript(commonSource + claimSource)
	renewScript = redis.NewScript(commonSource + renewSource)
	doneScript  = redis.NewScript(commonSource + doneSource)
	nackScript  = redis.NewScript(commonSource + nackSource)
	flushScript = redis.NewScript(commonSource + flushSource)
	dropScript  = redis.NewScript(commonSource + dropSource)
)

// A hold says what became of a lease; the words are the scripts'.
type hold string

const (
	held hold = "held"
	lost hold = "lost" // another claim took or settled the batch
	gone hold = "gone" // Redis has forgotten the lease with its data
)

// claimed is a batch under a lease.
type claimed struct {
	Batch
	shard *shard
	until time.Time // when the lease ends, at the earliest, by our monotonic clock
	at    time.Time // when it was claimed, by Redis's clock
	got   time.Time // when we learned of that
}

// A claim is the answer of the claim script.
type claim struct {
	next    time.Duration // until the shard has something due; negative: nothing waits
	expired int64
	batches []claimed
}

// claim takes at most limit batches that are due in the shard.
func (d *Debouncer) claim(ctx context.Context, s *shard, limit int) (claim, error) {
	sent := time.Now()
	out, err := claimScript.Run(ctx, d.rdb, []string{s.due, s.lease, s.gen},
		s.windows, limit, d.cfg.Lease.Microseconds()).Slice()
	if err != nil {
		return claim{}, fmt.Errorf("claim windows: %w", err)
	}
	got := time.Now()
	head, err := integers(out, 3)
	if err != nil {
		return claim{}, fmt.Errorf("claim windows: %w", err)
	}
	c := claim{next: time.Duration(head[0]) * time.Microsecond, expired: head[2]}
	for _, row := range out[3:] {
		b, err := batch(row, s.n)
		if err != nil {
			return claim{}, fmt.Errorf("claim windows: %w", err)
		}
		c.batches = append(c.batches, claimed{
			Batch: b, shard: s, until: sent.Add(d.cfg.Lease), at: time.UnixMicro(head[1]), got: got,
		})
	}
	return c, nil
}

// renew extends the lease of a batch.
func (d *Debouncer) renew(ctx context.Context, c *claimed) (hold, error) {
	h, err := renewScript.Run(ctx, d.rdb, []string{c.shard.lease, c.shard.windows + c.Key, c.shard.gen},
		c.Key, c.Generation, d.cfg.Lease.Microseconds()).Text()
	if err != nil {
		return "", fmt.Errorf("renew lease: %w", err)
	}
	return hold(h), nil
}

// done forgets a batch that was handled.
func (d *Debouncer) done(ctx context.Context, c *claimed) (hold, error) {
	return d.settled(c, doneScript.Run(ctx, d.rdb, c.keys(), c.Key, c.Generation, d.channel(), c.shard.n))
}

// nack gives a batch back, to be due after a delay.
func (d *Debouncer) nack(ctx context.Context, c *claimed, delay time.Duration) (hold, error) {
	return d.settled(c, nackScript.Run(ctx, d.rdb, c.keys(), c.Key, c.Generation, d.channel(), c.shard.n,
		delay.Microseconds()))
}

func (c *claimed) keys() []string {
	return []string{c.shard.due, c.shard.lease, c.shard.windows + c.Key, c.shard.gen}
}

// settled reads the answer of done and nack.
func (d *Debouncer) settled(c *claimed, cmd *redis.Cmd) (hold, error) {
	out, err := cmd.Slice()
	if err != nil {
		return "", fmt.Errorf("settle batch: %w", err)
	}
	if len(out) == 2 {
		h, ok := out[0].(string)
		wait, ok2 := out[1].(int64)
		if ok && ok2 {
			d.plan(c.shard, wait)
			return hold(h), nil
		}
	}
	return "", fmt.Errorf("settle batch: the script answered %T of %d", out, len(out))
}

// integers returns the first n values of a reply.
func integers(reply []any, n int) ([]int64, error) {
	if len(reply) < n {
		return nil, fmt.Errorf("the script answered %d values, not %d", len(reply), n)
	}
	ns := make([]int64, n)
	for i := range ns {
		v, ok := reply[i].(int64)
		if !ok {
			return nil, fmt.Errorf("value %d of the script's answer is a %T", i, reply[i])
		}
		ns[i] = v
	}
	return ns, nil
}

// batch reads one batch of the claim script's answer.
func batch(row any, shard int) (Batch, error) {
	vs, ok := row.([]any)
	if !ok || len(vs) < 7 {
		return Batch{}, fmt.Errorf("a batch of %d values is a %T", len(vs), row)
	}
	ss := make([]string, len(vs))
	for i, v := range vs {
		if ss[i], ok = v.(string); !ok {
			return Batch{}, fmt.Errorf("value %d of a batch is a %T", i, v)
		}
	}
	var ns [5]int64
	var errs [5]error
	for i := range ns {
		ns[i], errs[i] = strconv.ParseInt(ss[i+1], 10, 64)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Batch{}, fmt.Errorf("read batch: %w", err)
	}
	return Batch{
		ID:         strconv.Itoa(shard) + "-" + ss[1],
		Key:        ss[0],
		Items:      ss[6:],
		Generation: ns[1],
		Attempt:    int(ns[2]),
		OpenedAt:   time.UnixMicro(ns[3]),
		DueAt:      time.UnixMicro(ns[4]),
	}, nil
}
