package main

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/config"
	"wagent/debounce/redistest"
	"wagent/gateway"
)

func TestRedisIsAskedWhatItKeeps(t *testing.T) {
	tests := map[string]struct {
		setting, value string
		wantErr        string // empty: it is taken
		wantLog        string
	}{
		"a right one is taken":                {setting: "appendonly", value: "yes"},
		"one that evicts is refused":          {setting: "maxmemory-policy", value: "allkeys-lru", wantErr: "set it to noeviction"},
		"one that forgets at a stop is named": {setting: "appendonly", value: "no", wantLog: "appendonly no"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			if err := server.Client().ConfigSet(t.Context(), tt.setting, tt.value).Err(); err != nil {
				t.Fatal(err)
			}
			cfg := config.Default()
			cfg.Redis.URLs = []gateway.Secret{gateway.Secret("redis://" + server.Addr())}
			var log bytes.Buffer
			_, closeAll, err := openRedis(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
			if err == nil {
				closeAll()
			}
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("openRedis = %v, want %q", err, tt.wantErr)
			}
			if !strings.Contains(log.String(), tt.wantLog) || tt.wantLog == "" && log.Len() > 0 {
				t.Errorf("it logs %q, want %q", log.String(), tt.wantLog)
			}
		})
	}
}

// A redis that lies about itself: what CONFIG, INFO and TIME answer is made up.
type liar struct {
	version string
	ahead   time.Duration
}

func (l liar) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l liar) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l liar) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		switch cmd := cmd.(type) {
		case *redis.TimeCmd:
			cmd.SetVal(cmd.Val().Add(l.ahead))
		case *redis.InfoCmd:
			cmd.SetVal(map[string]map[string]string{"Server": {"redis_version": l.version}})
		}
		return err
	}
}

func TestARedisThatIsOldOrLateIsNamed(t *testing.T) {
	server := redistest.Start(t)
	for name, tt := range map[string]struct {
		liar
		want string // a pattern of the log; empty: nothing
	}{
		"as it should be":   {liar{"7.2.4", 0}, ""},
		"of years ago":      {liar{"5.0.14", 0}, `version=5\.0\.14`},
		"a clock ahead":     {liar{"8.0.0", time.Minute}, `ahead=(1m0|59\.)`}, // the answer takes its time
		"a clock behind":    {liar{"8.0.0", -time.Minute}, `ahead=-(1m0|59\.)`},
		"a clock that fits": {liar{"8.0.0", 500 * time.Millisecond}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := server.Client()
			rdb.AddHook(tt.liar)
			var log bytes.Buffer
			if err := checkRedis(t.Context(), rdb, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(tt.want).Match(log.Bytes()) || tt.want == "" && log.Len() > 0 {
				t.Errorf("it logs %q, want %q", log.String(), tt.want)
			}
		})
	}
}

func TestEachNodeOfAClusterIsAsked(t *testing.T) {
	c := redistest.StartCluster(t)
	c.ShowReplica()
	for name, node := range map[string]*redistest.Server{"a master": c.Masters[2], "a replica": c.Replica} {
		t.Run(name, func(t *testing.T) {
			for _, policy := range []string{"volatile-lru", "noeviction"} {
				if err := node.Client().ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
					t.Fatal(err)
				}
				err := checkRedis(t.Context(), c.Client(), slog.New(slog.DiscardHandler))
				if (err != nil) != (policy != "noeviction") || err != nil && !strings.Contains(err.Error(), node.Addr()+" is "+policy) {
					t.Errorf("%s: checkRedis = %v", policy, err)
				}
			}
		})
	}
	t.Run("as if it were alone", func(t *testing.T) {
		err := checkRedis(t.Context(), c.Masters[0].Client(), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "node of a cluster") {
			t.Errorf("checkRedis = %v, want an error that says what it is", err)
		}
	})
}

func TestARedisThatIsAwayIsNoReasonToStayAway(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	url := gateway.Secret("redis://" + server.Addr())
	for _, urls := range [][]gateway.Secret{{url}, {url, url}} { // two are a cluster
		cfg := config.Default()
		cfg.Redis.URLs = urls
		_, closeAll, err := openRedis(t.Context(), &cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		closeAll()
	}
}
