package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/config"
	"wagent/debounce/redistest"
	"wagent/gateway"
)

// opens has openRedis look at a Redis, checks its error (empty: none is wanted) and
// returns what it logs.
func opens(t *testing.T, url, wantErr string) string {
	t.Helper()
	cfg := config.Default()
	cfg.Redis.URLs = []gateway.Secret{gateway.Secret(url)}
	var log bytes.Buffer
	_, closeAll, err := openRedis(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err == nil {
		closeAll()
	}
	if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
		t.Errorf("openRedis = %v, want %q", err, wantErr)
	}
	return log.String()
}

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
			log := opens(t, "redis://"+server.Addr(), tt.wantErr)
			if !strings.Contains(log, tt.wantLog) || tt.wantLog == "" && log != "" {
				t.Errorf("it logs %q, want %q", log, tt.wantLog)
			}
		})
	}
}

// Who rents a Redis out mostly lets nobody ask for its CONFIG. INFO tells the same.
func TestARedisWhoseSettingsAreSecretIsChecked(t *testing.T) {
	tests := map[string]struct {
		policy, appendonly string
		info               bool // it may be asked for
		wantErr            string
		wantLog            []string
	}{
		"as it should be":       {"noeviction", "yes", true, "", nil},
		"one that evicts":       {"volatile-ttl", "yes", true, "is volatile-ttl, which makes windows vanish", nil},
		"one that forgets":      {"noeviction", "no", true, "", []string{"appendonly no"}},
		"one that tells nobody": {"allkeys-lru", "no", false, "", []string{"does not tell its maxmemory-policy"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			owner := server.Client()
			rights := "+@all -config"
			if !tt.info {
				rights += " -info"
			}
			for _, cmd := range [][]any{
				{"CONFIG", "SET", "maxmemory-policy", tt.policy},
				{"CONFIG", "SET", "appendonly", tt.appendonly},
				append([]any{"ACL", "SETUSER", "guest", "on", ">secret", "~*", "&*"}, anys(strings.Fields(rights))...),
			} {
				if err := owner.Do(t.Context(), cmd...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			log := opens(t, "redis://guest:secret@"+server.Addr(), tt.wantErr)
			if n := strings.Count(log, "level=WARN"); n != len(tt.wantLog) || n > 0 && !strings.Contains(log, tt.wantLog[0]) {
				t.Errorf("it logs %q, want %q", log, tt.wantLog)
			}
		})
	}
}

func anys(words []string) (out []any) {
	for _, w := range words {
		out = append(out, w)
	}
	return out
}

// A Redis that was away at the start is looked at once it is there.
func TestARedisThatComesLaterIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		away := &atomic.Bool{}
		away.Store(true)
		rdb.AddHook(outage{away})
		log := &lines{}
		stop := checkLater(t.Context(), rdb, slog.New(slog.NewTextHandler(log, nil)), lookAgain)
		defer stop()
		time.Sleep(time.Hour)
		if s := log.String(); s != "" {
			t.Errorf("it logs %s", s)
		}
		away.Store(false)
		time.Sleep(lookAgain)
		synctest.Wait()
		if s := log.String(); !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "allkeys-lru, which makes windows vanish") {
			t.Errorf("it logs %s", s)
		}
	})
}

// An outage keeps every command from a Redis while it lasts. What that Redis then says
// of its policy, which the double has none of, is made up.
type outage struct{ lasts *atomic.Bool }

func (o outage) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o outage) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (o outage) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if o.lasts.Load() {
			return errors.New("it is away")
		}
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.MapStringStringCmd); ok {
			c.SetErr(nil)
			c.SetVal(map[string]string{"maxmemory-policy": "allkeys-lru"})
			return nil
		}
		return err
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
