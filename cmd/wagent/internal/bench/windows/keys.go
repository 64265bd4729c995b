package windows

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// clearing is how long it may take to remove what was measured.
const clearing = 2 * time.Minute

// errLeft tells the user to clean up.
var errLeft = errors.New("redis is not left as it was")

// refuse returns an error if anything lies under the prefix.
func (r *run) refuse(ctx context.Context) error {
	return r.scan(ctx, func(keys []string) error {
		return fmt.Errorf("redis holds %q already, and what begins with %q would be removed: take another prefix", keys[0], "{"+r.Prefix)
	})
}

// clear removes what lies under the prefix, even if ctx is over. It looks until
// nothing is there: what a program sent that was ended may come a little later.
func (r *run) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearing)
	defer cancel()
	for left := true; left; {
		left = false
		err := r.scan(ctx, func(keys []string) error {
			left = true
			return r.rdb.Del(ctx, keys...).Err()
		})
		if err != nil {
			return fmt.Errorf("%w: remove the keys that begin with %q: %w", errLeft, "{"+r.Prefix, err)
		}
	}
	return nil
}

// scan calls each with the keys under the prefix, some at a time.
func (r *run) scan(ctx context.Context, each func(keys []string) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := r.rdb.Scan(ctx, cursor, "{"+r.Prefix+"[:}]*", 1000).Result()
		if err != nil {
			return fmt.Errorf("look for keys: %w", err)
		}
		if len(keys) > 0 {
			if err := each(keys); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// patience is how long Redis may take to answer at first.
const patience = 10 * time.Second

// meet asks Redis who it is.
func (r *run) meet(ctx context.Context) (s Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := r.rdb.InfoMap(ctx).Result()
	if err != nil {
		return s, fmt.Errorf("redis at %s can not be used: %w", r.Redis.Addr, err)
	}
	if info["Cluster"]["cluster_enabled"] == "1" {
		return s, fmt.Errorf("redis at %s is a node of a cluster: give one that stands alone", r.Redis.Addr)
	}
	s = Server{Version: info["Server"]["redis_version"], AOF: "off"}
	if info["Persistence"]["aof_enabled"] == "1" {
		s.AOF = "on"
		if got, err := r.rdb.ConfigGet(ctx, "appendfsync").Result(); err == nil && got["appendfsync"] != "" {
			s.AOF = got["appendfsync"]
		}
	}
	if r.ahead, err = r.clock(ctx); err != nil {
		return s, err
	}
	s.Ahead = milliseconds(r.ahead)
	return s, nil
}

// clock returns how far Redis's clock is ahead of ours, or 0 where that is less
// than a round trip and can not be known.
func (r *run) clock(ctx context.Context) (ahead time.Duration, err error) {
	best := time.Hour
	for range 50 {
		before := time.Now()
		there, err := r.rdb.Time(ctx).Result()
		if err != nil {
			return 0, fmt.Errorf("ask Redis for its time: %w", err)
		}
		if took := time.Since(before); took < best {
			best, ahead = took, there.Sub(before.Add(took/2))
		}
	}
	if ahead.Abs() < best {
		return 0, nil
	}
	return ahead, nil
}

// slower is from what time on a script counts as slow, and slowKept how many of
// them are kept.
const (
	slower   = 2 * time.Millisecond
	slowKept = 1000
)

// slow has Redis write down which commands are slow while part is at work, and
// leaves its settings as they were. It returns nil where Redis does not let them
// be changed.
func (r *run) slow(ctx context.Context, part func() error) (_ *Slow, err error) {
	back, ok := r.set(ctx, map[string]string{
		"slowlog-log-slower-than": strconv.FormatInt(slower.Microseconds(), 10), "slowlog-max-len": strconv.Itoa(slowKept),
	})
	defer func() { err = errors.Join(err, back()) }()
	if !ok {
		return nil, part()
	}
	last, err := r.rdb.SlowLogGet(ctx, 1).Result()
	if err != nil {
		return nil, fmt.Errorf("read the slow log: %w", err)
	}
	if err := part(); err != nil {
		return nil, err
	}
	logs, err := r.rdb.SlowLogGet(ctx, slowKept).Result()
	if err != nil {
		return nil, fmt.Errorf("read the slow log: %w", err)
	}
	return sumSlow(logs, last), nil
}

// set changes settings of Redis, and reports whether it could. What it changed
// is changed back by back, even if ctx is over.
func (r *run) set(ctx context.Context, values map[string]string) (back func() error, ok bool) {
	ctx = context.WithoutCancel(ctx) // what was cut short may be done or not
	before := map[string]string{}
	back = func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for name, value := range before {
			if e := r.rdb.ConfigSet(ctx, name, value).Err(); e != nil {
				err = errors.Join(err, fmt.Errorf("%w: set %s back to %s: %w", errLeft, name, value, e))
			}
		}
		return err
	}
	for name, value := range values {
		got, err := r.rdb.ConfigGet(ctx, name).Result()
		if err != nil || got[name] == "" || r.rdb.ConfigSet(ctx, name, value).Err() != nil {
			return back, false
		}
		before[name] = got[name]
	}
	return back, true
}

// sumSlow counts the scripts in a log that came after the last line before.
func sumSlow(logs, last []redis.SlowLog) *Slow {
	s := &Slow{}
	for _, l := range logs {
		if len(last) > 0 && l.ID <= last[0].ID || len(l.Args) == 0 || !isScript(l.Args[0]) {
			continue
		}
		s.Over++
		s.Slowest = max(s.Slowest, milliseconds(l.Duration))
	}
	return s
}
