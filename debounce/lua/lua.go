// Package lua holds the scripts that change windows. Each says at its head what
// its keys and arguments are and what it returns; common.lua, which stands before
// most of them, has how windows are kept.
package lua

import (
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
