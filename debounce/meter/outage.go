package meter

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// An Outage logs once when Redis can not be used, and once when it can again.
// It is safe for concurrent use.
type Outage struct {
	Log *slog.Logger

	mu    sync.Mutex
	down  map[string]bool // shards that could not be used when last tried
	since time.Time
}

// Failed says that a shard can not be used.
func (o *Outage) Failed(ctx context.Context, shard string, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return // we gave up, not Redis
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.down) == 0 {
		o.since = time.Now()
		o.down = map[string]bool{}
		o.Log.WarnContext(ctx, "redis can not be used, windows wait", "err", err)
	}
	o.down[shard] = true
}

// OK says that it can.
func (o *Outage) OK(ctx context.Context, shard string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down[shard] {
		return
	}
	delete(o.down, shard)
	if len(o.down) == 0 {
		o.Log.InfoContext(ctx, "redis can be used again", "after", time.Since(o.since))
	}
}

// Keep forgets the shards of which is says no: they are not there any more.
func (o *Outage) Keep(is func(shard string) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.down, func(shard string, _ bool) bool { return !is(shard) })
}
