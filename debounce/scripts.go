package debounce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/lua"
)

// How much goes to Redis at once.
const (
	pipelineMost = 128   // Adds of one pipeline
	pipelineSize = 16000 // bytes of it: what Redis reads at once, and hence does before it turns to others
	pipelines    = 2     // pipelines at once, of one process
	settleMost   = 64    // batches that are settled at once
	claimChunk   = 32    // and of one claim, lest it block Redis for long
	claimItems   = 1000  // a claim stops behind the batch that has this many items
)

// A hold says what became of a lease; the words are the scripts'.
type hold string

const (
	held     hold = "held"
	recalled hold = "recalled" // held, and a newer item calls the batch back
	lost     hold = "lost"     // another claim took or settled the batch
	gone     hold = "gone"     // Redis has forgotten the lease with its data
)

// claimed is a batch under a lease.
type claimed struct {
	Batch
	shard *shard
	group string
	until time.Time // when the lease ends, at the earliest, by our monotonic clock
	at    time.Time // when it was claimed, by Redis's clock
	got   time.Time // when we learned of that
}

// An adding is an Add on its way.
type adding struct {
	ctx  context.Context //nolint:containedctx // of the caller: who gave up is not sent for
	keys []string
	args []any
	wait int64
	err  error
	done chan struct{}
}

// elsewhere is what the add script answers where a new key may not come.
const elsewhere = -2

// addTo sends one Add, together with those that come at the same time.
func (d *Debouncer) addTo(ctx context.Context, s *shard, group, key, item string, w Window) (wait int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	a := &adding{ctx: ctx, keys: s.keys("w:"+key, "d:"+group, "heads"), done: make(chan struct{}), args: []any{
		key, item, group, w.Quiet.Microseconds(), w.MaxWait.Microseconds(), w.MaxItems, w.Recalls,
	}}
	s.adds.Add(ctx, a)
	select {
	case <-a.done:
		return a.wait, a.err
	case <-ctx.Done():
		return 0, ctx.Err() // nobody knows whether it was added
	}
}

// sendAdds sends Adds in one pipeline. During an outage they would pile up were
// those not left out whose callers gave up.
func (d *Debouncer) sendAdds(ctx context.Context, batch []*adding) {
	batch = slices.DeleteFunc(batch, func(a *adding) bool {
		if a.err = a.ctx.Err(); a.err == nil {
			return false
		}
		close(a.done)
		return true
	})
	for len(batch) > 0 {
		n, size := 1, batch[0].size()
		for n < len(batch) && size+batch[n].size() <= pipelineSize {
			size += batch[n].size()
			n++
		}
		d.pipeline(ctx, batch[:n])
		batch = batch[n:]
	}
}

// size is about how many bytes an Add takes on the wire.
func (a *adding) size() int {
	const command, frame, number = 70, 8, 17
	n := command
	for _, k := range a.keys {
		n += frame + len(k)
	}
	for _, v := range a.args {
		n += frame
		if s, ok := v.(string); ok {
			n += len(s)
		} else {
			n += number
		}
	}
	return n
}

// pipeline sends Adds that fit one. It ends with the time of whoever has most.
func (d *Debouncer) pipeline(ctx context.Context, batch []*adding) {
	end := func(a *adding) time.Time { t, _ := a.ctx.Deadline(); return t }
	if !slices.ContainsFunc(batch, func(a *adding) bool { return end(a).IsZero() }) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end(slices.MaxFunc(batch, func(a, b *adding) int { return end(a).Compare(end(b)) })))
		defer cancel()
	}
	calls := make([]lua.Call, len(batch))
	for i, a := range batch {
		calls[i] = lua.Call{Keys: a.keys, Args: a.args}
	}
	for i, cmd := range lua.Together(ctx, d.rdb, lua.Add, calls...) {
		batch[i].wait, batch[i].err = cmd.Int64()
		d.relocate(ctx, batch[i].err)
		close(batch[i].done)
	}
}

// trouble takes note of a shard that can not be used.
func (d *Debouncer) trouble(ctx context.Context, s *shard, err error) {
	d.relocate(ctx, err)
	d.outage.Failed(ctx, s.name, err)
}

// relocate has the client of a cluster ask where its slots are now. By itself it
// does not when a node is gone, but for many seconds.
func (d *Debouncer) relocate(ctx context.Context, err error) {
	var gone *net.OpError
	if c, ok := d.rdb.(*redis.ClusterClient); ok && errors.As(err, &gone) {
		c.ReloadState(ctx)
	}
}

// A claim is the answer of the claim script.
type claim struct {
	next    time.Duration // until the shard has something due; negative: nothing waits
	expired int64
	batches []claimed
	err     error
}

// claim takes at most limit due batches from each shard, in one round trip.
func (d *Debouncer) claim(ctx context.Context, limit int, shards ...*shard) []claim {
	calls := make([]lua.Call, len(shards))
	for i, s := range shards {
		calls[i] = lua.Call{Keys: s.keys("heads", "ring", "lease"), Args: []any{limit, d.cfg.Lease.Microseconds(), claimItems, d.cluster}}
	}
	until := time.Now().Add(d.cfg.Lease)
	claims := make([]claim, len(shards))
	for i, cmd := range lua.Together(ctx, d.rdb, lua.Claim, calls...) {
		if err := claims[i].read(cmd, shards[i], until); err != nil {
			claims[i] = claim{err: fmt.Errorf("claim windows: %w", err)}
		}
	}
	return claims
}

// read reads an answer that just came.
func (c *claim) read(cmd *redis.Cmd, s *shard, until time.Time) error {
	got, err := lua.ReadClaim(cmd)
	if err != nil {
		return err
	}
	c.next, c.expired = got.Next, got.Expired
	for _, r := range got.Rows {
		b := Batch{
			ID: s.name + "-" + strconv.FormatInt(r.First, 10), Key: r.Key, Items: r.Items, Generation: r.Generation,
			Attempt: int(r.Attempt), Recalls: int(r.Recalls), OpenedAt: r.Opened, DueAt: r.Due,
		}
		c.batches = append(c.batches, claimed{Batch: b, shard: s, group: r.Group, until: until, at: got.At, got: time.Now()})
	}
	return nil
}

// renew extends the leases of batches of one shard.
func (d *Debouncer) renew(ctx context.Context, s *shard, batches ...*claimed) ([]hold, error) {
	keys, args := []string{"lease"}, []any{d.cfg.Lease.Microseconds()}
	for _, c := range batches {
		keys = append(keys, "w:"+c.Key)
		args = append(args, c.Key, c.Generation)
	}
	out, err := lua.Renew.Run(ctx, d.rdb, s.keys(keys...), args...).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("renew lease: %w", err)
	}
	if len(out) != len(batches) {
		return nil, fmt.Errorf("renew lease: the script answered %d values for %d batches", len(out), len(batches))
	}
	holds := make([]hold, len(out))
	for i, h := range out {
		holds[i] = hold(h)
	}
	return holds, nil
}

// What becomes of a batch.
const (
	opDone  = "done" // as the script says it
	opAgain = "again"
)

// A settling says what became of a batch.
type settling struct {
	c     *claimed
	what  string
	delay time.Duration // of what comes again
	hold  hold
	err   error
	done  chan struct{}
}

// settleOnce tells Redis what became of a batch, together with others.
func (d *Debouncer) settleOnce(ctx context.Context, c *claimed, what string, delay time.Duration) (hold, error) {
	s := &settling{c: c, what: what, delay: delay, done: make(chan struct{})}
	c.shard.settles.Add(ctx, s)
	select {
	case <-s.done:
		return s.hold, s.err
	case <-ctx.Done():
	}
	select {
	case <-s.done: // just in time
		return s.hold, s.err
	default:
		return "", ctx.Err()
	}
}

// sendSettles settles batches: those of a shard by one script.
func (d *Debouncer) sendSettles(ctx context.Context, batch []*settling) {
	of := map[*shard][]*settling{}
	for _, b := range batch {
		of[b.c.shard] = append(of[b.c.shard], b)
	}
	shards, calls := make([]*shard, 0, len(of)), make([]lua.Call, 0, len(of))
	for s, batch := range of {
		keys, args := []string{"lease", "heads"}, make([]any, 0, 2*len(batch))
		for _, b := range batch {
			keys = append(keys, "w:"+b.c.Key, "d:"+b.c.group)
			if b.what == opDone {
				args = append(args, b.c.Generation, opDone)
			} else {
				args = append(args, b.c.Generation, b.delay.Microseconds())
			}
		}
		shards, calls = append(shards, s), append(calls, lua.Call{Keys: s.keys(keys...), Args: args})
	}
	for i, cmd := range lua.Together(ctx, d.rdb, lua.Settle, calls...) {
		d.settled(shards[i], of[shards[i]], cmd)
	}
}

// settled reads the answer of the settle script.
func (d *Debouncer) settled(s *shard, batch []*settling, cmd *redis.Cmd) {
	out, err := cmd.Slice()
	if err == nil && len(out) != len(batch)+1 {
		err = fmt.Errorf("the script answered %d values for %d batches", len(out), len(batch))
	}
	for i, b := range batch {
		if err != nil {
			b.err = fmt.Errorf("settle batch: %w", err)
		} else {
			h, _ := out[i+1].(string)
			b.hold = hold(h)
		}
		close(b.done)
	}
	if err == nil {
		wait, _ := out[0].(int64)
		d.plan(s, wait)
	}
}
