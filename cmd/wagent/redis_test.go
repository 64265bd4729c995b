package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

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

func TestARedisThatIsAwayIsNoReasonToStayAway(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	cfg := config.Default()
	cfg.Redis.URLs = []gateway.Secret{gateway.Secret("redis://" + server.Addr())}
	_, closeAll, err := openRedis(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closeAll()
}
