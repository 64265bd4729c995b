package lua_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/lua"
	"wagent/debounce/redistest"
)

// counts counts what is sent: the trips, and the scripts that are sent whole.
type counts struct{ trips, whole int }

func (c *counts) count(cmd redis.Cmder) {
	switch cmd.Name() { // and not what a new connection begins with
	case "eval":
		c.whole++
		fallthrough
	case "evalsha":
		c.trips++
	}
}

func (c *counts) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *counts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds[0])
		return next(ctx, cmds)
	}
}

func TestTogether(t *testing.T) {
	rdb := redistest.InMemory(t)
	script := redis.NewScript(`if ARGV[1] == '3' then return redis.error_reply('no') end return ARGV[1]`)
	for _, n := range []int{0, 1, 2, 50} {
		calls := make([]lua.Call, n)
		for i := range calls {
			calls[i].Args = []any{i}
		}
		for name, want := range map[string]counts{"that Redis has forgotten": {3, 1}, "that it knows": {1, 0}} {
			if n < 2 {
				want.trips = n * (1 + want.whole)
				want.whole *= n
			}
			var sent counts
			client := redis.NewClient(rdb.Options())
			client.AddHook(&sent)
			if name == "that it knows" {
				if err := script.Load(t.Context(), rdb).Err(); err != nil {
					t.Fatal(err)
				}
			} else if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			cmds := lua.Together(t.Context(), client, script, calls...)
			client.Close()
			if len(cmds) != n || sent != want {
				t.Errorf("%d calls of a script %s: %d answers, sent %+v, want %+v", n, name, len(cmds), sent, want)
			}
			for i, c := range cmds {
				if got, err := c.Text(); i == 3 && err == nil || i != 3 && got != fmt.Sprint(i) {
					t.Errorf("call %d of %d: %q, %v", i, n, got, err)
				}
			}
		}
	}
}
