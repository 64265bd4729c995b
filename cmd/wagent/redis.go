package main

import (
	"context"
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
	if err := checkRedis(ctx, rdb, log); err != nil {
		_ = rdb.Close()
		return nil, nil, err
	}
	return rdb, func() { _ = rdb.Close() }, nil
}

// checkRedis asks for what our windows rely on, of each node of a cluster. An
// evicting policy is refused: windows would vanish one by one, unseen. A Redis
// that is away or that does not answer CONFIG is no reason to stay away
// ourselves.
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
	got, err := rdb.ConfigGet(ctx, "*max*policy").Result()
	if err != nil {
		log.WarnContext(ctx, "redis does not tell its maxmemory-policy; it must be noeviction", "err", err)
		return nil
	}
	if p := got["maxmemory-policy"]; p != "" && p != "noeviction" {
		return fmt.Errorf("redis.url: maxmemory-policy of %s is %s, which makes windows vanish; set it to noeviction", rdb.Options().Addr, p)
	}
	got, err = rdb.ConfigGet(ctx, "appendonly").Result()
	if err == nil && got["appendonly"] == "no" {
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

// redisLogs sends what go-redis logs through its own global logger to ours.
func redisLogs(log *slog.Logger) { redis.SetLogger(redisLogger{log}) }

type redisLogger struct{ log *slog.Logger }

// Printf satisfies go-redis' logger.
func (l redisLogger) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "redis client", "detail", strings.TrimSpace(fmt.Sprintf(format, v...)))
}
