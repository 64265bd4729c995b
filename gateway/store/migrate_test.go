package store_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// Each version has a file of rows that a wagent of its time may have left.
// Whoever adds a migration adds the file of the version before it, if that
// lacks one.
func TestMigratesFromEveryEarlierVersion(t *testing.T) {
	latest, err := store.Latest()
	if err != nil {
		t.Fatal(err)
	}
	for version := int64(1); version <= latest; version++ {
		t.Run(fmt.Sprintf("from %d", version), func(t *testing.T) {
			rows, err := os.ReadFile(fmt.Sprintf("testdata/v%d.sql", version))
			if err != nil {
				t.Fatal(err)
			}
			storetest.EachBare(t, func(t *testing.T, cfg store.Config) {
				if err := store.MigrateTo(t.Context(), cfg, version); err != nil {
					t.Fatal(err)
				}
				if err := store.Exec(t.Context(), cfg, string(rows)); err != nil {
					t.Fatal(err)
				}
				s := storetest.At(t, cfg)
				c, err := s.ClaimRun(t.Context(), "cnv_old", time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				if len(c.Messages) != 1 || c.Messages[0].ID != "msg_old" || c.Conversation.Name != "Alice" || c.Run.Agent == "" {
					t.Errorf("claimed %+v", c)
				}
				if rs, _, err := s.ClaimRuns(t.Context(), 9, time.Minute); err != nil || len(rs) != 1 || rs[0].ID != "run_old" {
					t.Errorf("claimed %+v, %v", rs, err)
				}
				if a, err := s.Account(t.Context(), "acc_old"); err != nil || a.Takeover != gateway.DefaultTakeover || len(a.AllowFrom) != 0 {
					t.Errorf("the account is %+v, %v", a, err)
				}
				if version > 1 {
					wantOldLink(t, s)
				}
				wantOldSettings(t, s, version > 5)
				if version > 8 {
					if as, err := s.Attempts(t.Context(), "del_old"); err != nil || len(as) != 1 || as[0].StatusCode != http.StatusInternalServerError {
						t.Errorf("the attempts are %+v, %v", as, err)
					}
				}
				again := gateway.Arrival{Inbound: gateway.Inbound{
					Account: "acc_old", Peer: gateway.Address{Phone: "+15550000001"}, ExternalID: "wamid.1", Type: gateway.TypeText,
				}}
				if as, err := s.AddMessages(t.Context(), []gateway.Arrival{again}); err != nil || as[0].New {
					t.Errorf("added %+v, %v", as, err)
				}
			})
		})
	}
}

func wantOldLink(t *testing.T, s *store.Store) {
	t.Helper()
	a, err := s.Account(t.Context(), "acc_phone")
	if err != nil || a.Linked.SendGap != 2*time.Second || a.Takeover != time.Minute || len(a.AllowFrom) != 1 {
		t.Errorf("the account is %+v, %v", a, err)
	}
	ls, err := s.ClaimLinks(t.Context(), "holder", time.Minute, 9)
	if err != nil || len(ls) != 1 || ls[0].Device == "" || ls[0].Fence != 4 || ls[0].State != gateway.LinkDisconnected {
		t.Errorf("claimed %+v, %v", ls, err)
	}
	if p, err := s.Pairing(t.Context(), "acc_phone"); err != nil || p.Step != gateway.StepDone {
		t.Errorf("the pairing is %+v, %v", p, err)
	}
}

// wantOldSettings looks at what version 6 brought: rows of earlier versions are
// at the defaults.
func wantOldSettings(t *testing.T, s *store.Store, set bool) {
	t.Helper()
	as, err := s.Agents(t.Context())
	if err != nil || len(as) != 1 {
		t.Fatalf("%d agents, %v", len(as), err)
	}
	a, want := as[0], gateway.DefaultAgent()
	var wantTags []string
	var wantRouted string
	if set {
		want.Fallbacks = []string{"groq/llama-3.3-70b-versatile"}
		want.Settings = gateway.ModelSettings{Seed: new(int64(7)), ReasoningEffort: "low", ThinkingBudget: 2048, ParallelToolCalls: new(false)}
		want.Spend = gateway.SpendLimits{RunsPerHour: 30, TokensPerDay: 200_000}
		want.Compaction = gateway.Compaction{Mode: gateway.CompactionSliding, Model: "openai/gpt-4o-mini", MaxTokens: 8000}
		want.Blocks = []gateway.Block{{Label: "policy", Value: "Check-out is at eleven."}}
		want.ContactMemory = 2000
		want.Route = gateway.RouteRule{Keywords: []string{"room"}, Languages: []string{"en"}, Tags: []string{"vip"}, Hours: gateway.HoursOpen}
		wantTags, wantRouted = []string{"vip"}, "keyword"
	}
	got := gateway.Agent{
		Fallbacks: a.Fallbacks, Settings: a.Settings, Spend: a.Spend, Compaction: a.Compaction,
		Blocks: a.Blocks, ContactMemory: a.ContactMemory, Route: a.Route,
	}
	if diff := cmp.Diff(gateway.Agent{
		Fallbacks: want.Fallbacks, Settings: want.Settings, Spend: want.Spend, Compaction: want.Compaction,
		Blocks: want.Blocks, ContactMemory: want.ContactMemory, Route: want.Route,
	}, got); diff != "" {
		t.Errorf("the agent (-want +got):\n%s", diff)
	}
	if c, err := s.Conversation(t.Context(), "cnv_old"); err != nil || !slices.Equal(c.Tags, wantTags) {
		t.Errorf("the conversation is %+v, %v", c, err)
	}
	if r, err := s.Run(t.Context(), "", "run_old"); err != nil || r.Routed != wantRouted {
		t.Errorf("the run is %+v, %v", r, err)
	}
	acc, err := s.Account(t.Context(), "acc_old")
	if set {
		acc, err = s.Account(t.Context(), "acc_phone")
		if acc.TimeZone != "Europe/Paris" || acc.Router == "" || len(acc.Hours[time.Monday]) != 1 {
			t.Errorf("the account is %+v", acc)
		}
	} else if acc.TimeZone != "" || acc.Router != "" || acc.Hours != nil {
		t.Errorf("the account is %+v", acc)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRefusesADatabaseOfANewerWagent(t *testing.T) {
	latest, err := store.Latest()
	if err != nil {
		t.Fatal(err)
	}
	storetest.EachBare(t, func(t *testing.T, cfg store.Config) {
		if err := store.MigrateTo(t.Context(), cfg, latest+1); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
		if err == nil || !strings.Contains(err.Error(), "newer wagent") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestWebhooksAreToldOfTheEndOfPausesThatLastAsTheyLearnToBe(t *testing.T) {
	storetest.EachBare(t, func(t *testing.T, cfg store.Config) {
		if err := store.MigrateTo(t.Context(), cfg, 8); err != nil {
			t.Fatal(err)
		}
		rows, err := os.ReadFile("testdata/v8.sql")
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Exec(t.Context(), cfg, string(rows)+`
			INSERT INTO pauses (conversation, reason, expires_at, resumed_at, created_at) VALUES ('cnv_old', 'manual', 1700000000000, 0, 1700000000000);
			INSERT INTO pauses (conversation, reason, expires_at, resumed_at, created_at) VALUES ('cnv_old', 'manual', 32503680000000, 1700000000000, 1700000000000);
			INSERT INTO pauses (conversation, reason, expires_at, resumed_at, created_at) VALUES ('cnv_old', 'manual', 32503670000000, 0, 1700000000000);`); err != nil {
			t.Fatal(err)
		}
		s := storetest.At(t, cfg)
		told := 0
		s.TellOfPauses(func([]gateway.Webhook, *gateway.PausedPeer, time.Time) []gateway.Delivery { told++; return nil })
		next, err := s.EndPauses(t.Context())
		if err != nil || told != 0 || next.UnixMilli() != 32503670000000 {
			t.Errorf("told of %d, next %v, %v", told, next, err)
		}
	})
}
