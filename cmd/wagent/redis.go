package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/config"
	"wagent/debounce/inmemory"
)

// openRedis returns a client of the Redis that the configuration names, or of
// one in this process, and what closes both.
func openRedis(ctx context.Context, cfg *config.Config, log *slog.Logger) (redis.UniversalClient, func(), error) {
	if len(cfg.Redis.URLs) == 0 {
		s := inmemory.Start()
		rdb := redis.NewClient(s.Options())
		return rdb, func() { _ = rdb.Close(); s.Close() }, nil
	}
	opts := &redis.UniversalOptions{ContextTimeoutEnabled: true}
	for _, u := range cfg.Redis.URLs {
		one, err := redis.ParseURL(string(u))
		if err != nil {
			return nil, nil, fmt.Errorf("redis.url is not a Redis address") // the cause may quote a password
		}
		opts.Addrs = append(opts.Addrs, one.Addr)
		opts.Username, opts.Password, opts.DB, opts.TLSConfig = one.Username, one.Password, one.DB, one.TLSConfig
	}
	rdb := redis.NewUniversalClient(opts)
	if away := absence(ctx, rdb); away != nil {
		log.WarnContext(ctx, "redis is away: it is checked when it answers; its maxmemory-policy must be noeviction", "err", away)
		later := checkLater(ctx, rdb, log, lookAgain)
		return rdb, func() { later(); _ = rdb.Close() }, nil
	}
	if err := checkRedis(ctx, rdb, log); err != nil {
		_ = rdb.Close()
		return nil, nil, err
	}
	return rdb, func() { _ = rdb.Close() }, nil
}

// lookAgain is how often a Redis that was away at the start is asked whether it is there.
const lookAgain = 10 * time.Second

// absence returns why a Redis does not answer, or does not yet: nil to any answer, were
// it that we may not ask.
func absence(ctx context.Context, rdb redis.UniversalClient) error {
	err := rdb.Ping(ctx).Err()
	if _, ok := errors.AsType[redis.Error](err); ok && !redis.HasErrorPrefix(err, "LOADING") {
		return nil
	}
	return err
}

// checkLater checks a Redis that is away once it is there, which it looks for in the
// background until it is told to stop. We have begun by then: what would have been
// refused is an error of the log.
func checkLater(ctx context.Context, rdb redis.UniversalClient, log *slog.Logger, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if absence(ctx, rdb) != nil {
				continue
			}
			if err := checkRedis(ctx, rdb, log); err != nil {
				log.ErrorContext(ctx, "redis is not fit to be used", "err", err)
			}
			return
		}
	}()
	return func() { cancel(); <-done }
}

// checkRedis asks for what our windows rely on, of each node of a cluster. An
// evicting policy is refused: windows would vanish one by one, unseen. A Redis
// that does not tell is no reason to stay away ourselves.
func checkRedis(ctx context.Context, rdb redis.UniversalClient, log *slog.Logger) error {
	switch rdb := rdb.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		var unfit error
		err := rdb.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error { // replicas, too: one may be promoted
			if err := checkNode(ctx, node, true, log); err != nil {
				mu.Lock()
				defer mu.Unlock()
				unfit = err
			}
			return nil
		})
		if err != nil {
			log.WarnContext(ctx, "the nodes of redis are not known; their maxmemory-policy must be noeviction", "err", err)
		}
		return unfit
	case *redis.Client:
		return checkNode(ctx, rdb, false, log)
	default:
		return nil
	}
}

// What is told of a Redis at the start, though it is taken.
const (
	oldestRedis = 7           // major version; older ones are not tested with
	mostSkew    = time.Second // between its clock and ours
)

func checkNode(ctx context.Context, rdb *redis.Client, cluster bool, log *slog.Logger) error {
	log = log.With("redis", rdb.Options().Addr)
	info, infoErr := rdb.InfoMap(ctx, "server").Result()
	if infoErr == nil && info["Server"]["redis_mode"] == "cluster" && !cluster {
		return fmt.Errorf("redis.url: %s is a node of a cluster; give a list of several nodes, or this one twice", rdb.Options().Addr)
	}
	p, err := redisSetting(ctx, rdb, "maxmemory-policy", "memory", "maxmemory_policy")
	if p == "" {
		log.WarnContext(ctx, "redis does not tell its maxmemory-policy; it must be noeviction", "err", err)
	} else if p != "noeviction" {
		return fmt.Errorf("redis.url: maxmemory-policy of %s is %s, which makes windows vanish; set it to noeviction", rdb.Options().Addr, p)
	}
	if keeps, _ := redisSetting(ctx, rdb, "appendonly", "persistence", "aof_enabled"); keeps == "no" || keeps == "0" {
		log.WarnContext(ctx, "redis keeps nothing over its restarts (appendonly no): windows then open again from SQL, later than they were due")
	}
	version := info["Server"]["redis_version"]
	if major, _, _ := strings.Cut(version, "."); infoErr == nil && version != "" {
		if n, err := strconv.Atoi(major); err != nil || n < oldestRedis {
			log.WarnContext(ctx, "redis is of a version that is not tested with; take 7 or later", "version", version)
		}
	}
	before := time.Now()
	there, err := rdb.Time(ctx).Result()
	// Half of the round trip may have been before it looked, or after it.
	if skew := there.Sub(before.Add(time.Since(before) / 2)); err == nil && skew.Abs() > mostSkew {
		log.WarnContext(ctx, "the clock of redis is not ours: windows and leases follow it, records follow ours", "ahead", skew.Round(time.Millisecond))
	}
	return nil
}

// redisSetting returns a setting of a Redis, from CONFIG or, where that is refused as
// those who rent it out do, from a section of INFO, which calls it otherwise; empty,
// with the errors of both, if neither tells.
func redisSetting(ctx context.Context, rdb *redis.Client, setting, section, field string) (string, error) {
	got, err := rdb.ConfigGet(ctx, setting).Result()
	if err == nil && got[setting] != "" {
		return got[setting], nil
	}
	info, infoErr := rdb.InfoMap(ctx, section).Result()
	for _, fields := range info {
		if v, ok := fields[field]; ok {
			return v, nil
		}
	}
	return "", errors.Join(err, infoErr)
}

// redisLogs sends what go-redis logs through its own global logger to ours.
func redisLogs(log *slog.Logger) { redis.SetLogger(redisLogger{log}) }

type redisLogger struct{ log *slog.Logger }

// Printf satisfies go-redis' logger.
func (l redisLogger) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "redis client", "detail", strings.TrimSpace(fmt.Sprintf(format, v...)))
}
