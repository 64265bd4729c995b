package keys

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"wagent/gateway"
)

const (
	// useEvery is how exact the time of a key's last use is.
	useEvery = time.Minute
	// pruneEvery and auditFor are about what the audit forgets: what is older
	// than a year and a month.
	pruneEvery = time.Hour
	auditFor   = 400 * 24 * time.Hour
	// lastWords is how long the database is waited for at the end.
	lastWords = 2 * time.Second
)

// Records are where uses are noted, and the audit is kept.
type Records interface {
	// KeysUsed notes when keys were used last, by their names.
	KeysUsed(ctx context.Context, used map[string]time.Time) error
	// PruneAudit removes the entries from before a time.
	PruneAudit(ctx context.Context, before time.Time) error
}

// Uses notes when keys are used. Requests only leave a time in memory; once a
// minute what is new is written, and is kept for the next time where that fails.
// The memory is that of the keys that there are. The zero Uses is not usable: see
// [NewUses].
type Uses struct {
	records Records
	log     *slog.Logger

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

// NewUses returns one that writes nothing until Run.
func NewUses(records Records, log *slog.Logger) *Uses {
	return &Uses{records: records, log: log, used: map[string]time.Time{}}
}

// Use notes that a key of the store's is used now. It never blocks on the
// database, and may be called at any time.
func (u *Uses) Use(k *gateway.APIKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.used[k.Name] = time.Now()
}

// Run writes until ctx is done and then once more, and has the audit forget what
// is old. It may be called once.
func (u *Uses) Run(ctx context.Context) error {
	tick := time.NewTicker(useEvery)
	defer tick.Stop()
	u.prune(ctx)
	pruned := time.Now()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			u.write(last)
			return nil
		case <-tick.C:
		}
		u.write(ctx)
		if time.Since(pruned) >= pruneEvery {
			u.prune(ctx)
			pruned = time.Now()
		}
	}
}

func (u *Uses) write(ctx context.Context) {
	u.mu.Lock()
	used := u.used
	u.used = map[string]time.Time{}
	u.mu.Unlock()
	if len(used) == 0 {
		return
	}
	err := u.records.KeysUsed(ctx, used)
	if err == nil {
		return
	}
	u.log.WarnContext(ctx, "note when API keys were used; it is tried again", "err", err)
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.Copy(used, u.used) // what came meanwhile is newer
	u.used = used
}

func (u *Uses) prune(ctx context.Context) {
	if err := u.records.PruneAudit(ctx, time.Now().Add(-auditFor)); err != nil && ctx.Err() == nil {
		u.log.WarnContext(ctx, "remove old audit entries; it is tried again", "err", err)
	}
}
