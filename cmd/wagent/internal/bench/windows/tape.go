package windows

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"wagent/debounce"
)

// A tape takes down the commands by which Adds would reach Redis: they are not
// sent. So the ceiling is measured with the very script and the very arguments.
type tape struct {
	item     string // by which an Add's command is known
	commands [][]any
	at       int // where the item stands
}

// DialHook satisfies redis.Hook.
func (t *tape) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook satisfies redis.Hook.
func (t *tape) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if t.take(cmd) {
			return nil
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook satisfies redis.Hook.
func (t *tape) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if slices.ContainsFunc(cmds, t.take) {
			return nil
		}
		return next(ctx, cmds)
	}
}

// take takes down a command if it is an Add's, and answers it.
func (t *tape) take(cmd redis.Cmder) bool {
	c, ok := cmd.(*redis.Cmd)
	at := slices.Index(cmd.Args(), any(t.item))
	if !ok || at < 0 {
		return false
	}
	t.commands, t.at = append(t.commands, cmd.Args()), at
	c.SetVal(int64(-1))
	return true
}

// record takes down an Add to each of n keys.
func record(ctx context.Context, rdb *redis.Client, prefix string, w debounce.Window, n int) (*tape, error) {
	t := &tape{item: "the item of an Add that is taken down"}
	client := redis.NewClient(rdb.Options())
	defer client.Close()
	client.AddHook(t)
	d, err := debounce.New(client, config(prefix), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := d.Add(ctx, group, key(i), t.item, w) // whatever it makes of our answer
		if len(t.commands) != i+1 {
			return nil, fmt.Errorf("take down an Add: it sent %d commands with its item (%w)", len(t.commands)-i, err)
		}
	}
	return t, nil
}

// command returns the command that adds item i to its key.
func (t *tape) command(ctx context.Context, i int) *redis.Cmd {
	args := slices.Clone(t.commands[i%len(t.commands)])
	args[t.at] = item(i)
	return redis.NewCmd(ctx, args...)
}

// A counter counts how many scripts go together.
type counter struct {
	scripts, trips, now, most atomic.Int64
}

// DialHook satisfies redis.Hook.
func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook satisfies redis.Hook.
func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		defer c.count(cmd)()
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook satisfies redis.Hook.
func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		defer c.count(cmds...)()
		return next(ctx, cmds)
	}
}

// count counts commands that go together, until done is called. Those with which
// a connection begins do not count.
func (c *counter) count(cmds ...redis.Cmder) (done func()) {
	if len(cmds) == 0 || !isScript(cmds[0].Name()) {
		return func() {}
	}
	c.scripts.Add(int64(len(cmds)))
	c.trips.Add(1)
	now := c.now.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	return func() { c.now.Add(-1) }
}
