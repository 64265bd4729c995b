// Package lua holds the scripts that change windows. Each says at its head what
// its keys and arguments are and what it returns; common.lua, which stands before
// most of them, has how windows are kept.
package lua

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed common.lua
var common string

//go:embed add.lua
var add string

//go:embed claim.lua
var claim string

//go:embed renew.lua
var renew string

//go:embed settle.lua
var settle string

//go:embed flush.lua
var flush string

//go:embed drop.lua
var drop string

//go:embed beat.lua
var beat string

// The scripts. They are not to be changed.
var (
	Add    = redis.NewScript(common + add)
	Claim  = redis.NewScript(common + claim)
	Renew  = redis.NewScript(common + renew)
	Settle = redis.NewScript(common + settle)
	Flush  = redis.NewScript(common + flush)
	Drop   = redis.NewScript(common + drop)
	Beat   = redis.NewScript(beat)
)

// A Call is of a script.
type Call struct {
	Keys []string
	Args []any
}

// Together makes calls of a script in one round trip, or in a few more where
// Redis has forgotten the script. Each has its own error.
func Together(ctx context.Context, rdb redis.UniversalClient, script *redis.Script, calls ...Call) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(calls))
	switch len(calls) {
	case 0:
		return nil
	case 1:
		cmds[0] = script.EvalSha(ctx, rdb, calls[0].Keys, calls[0].Args...)
	default:
		pipe := rdb.Pipeline()
		for i, c := range calls {
			cmds[i] = script.EvalSha(ctx, pipe, c.Keys, c.Args...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			for _, c := range cmds {
				if c.Err() == nil && c.Val() == nil { // it was not sent
					c.SetErr(err)
				}
			}
		}
	}
	var forgotten []int
	var again []Call
	for i, c := range cmds {
		if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
			forgotten, again = append(forgotten, i), append(again, calls[i])
		}
	}
	if len(again) == 0 {
		return cmds
	}
	cmds[forgotten[0]] = script.Eval(ctx, rdb, again[0].Keys, again[0].Args...) // from here on it is known
	for i, c := range Together(ctx, rdb, script, again[1:]...) {
		cmds[forgotten[i+1]] = c
	}
	return cmds
}
