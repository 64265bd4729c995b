package storetest_test

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

var ignoreTimes = cmpopts.IgnoreTypes(time.Time{})

// everything is an agent none of whose settings is zero.
func everything(account gateway.AccountID) gateway.Agent {
	return gateway.Agent{
		Account: account, Name: "Concierge", Description: "of the hotel", SystemPrompt: "Be kind.", Model: "openai/gpt-4o-mini",
		Temperature: 0.7, MaxTokens: 512, Active: true, AutoRun: true, Quiet: 7 * time.Second, MaxWait: 50 * time.Second, MaxBatch: 9,
		OnNewMessage: gateway.Supersede, MaxSupersedes: 7,
		ContextTTL: 90 * time.Minute, AllowedActions: []string{"hotel.towels.bring"},
		PayloadSchema: []gateway.Field{{Name: "room_number", Type: gateway.FieldText, Required: true}},
		Confirm:       true, ConfirmationTimeout: 45 * time.Minute,
		Filter:        gateway.InboundFilter{TextOnly: true, MinLength: 3, MaxPerHour: 20, IgnorePatterns: []string{"^stop$"}, IgnoreEmoji: true, IgnoreGreeting: true},
		FallbackReply: "One moment, please.",
		Fallbacks:     []string{"groq/llama-3.3-70b-versatile", "scripted/x"},
		Settings:      gateway.ModelSettings{Seed: new(int64(-7)), ReasoningEffort: "high", ThinkingBudget: 4096, ParallelToolCalls: new(true)},
		Spend:         gateway.SpendLimits{RunsPerHour: 30, TokensPerDay: 200_000},
		Compaction:    gateway.Compaction{Mode: gateway.CompactionAll, Model: "groq/llama-3.1-8b-instant", MaxTokens: 8000},
		Blocks:        []gateway.Block{{Label: "policy", Value: "Check-out is at eleven."}, {Label: "persona", Value: "Zoë"}},
		ContactMemory: 2000,
		Route:         gateway.RouteRule{Keywords: []string{"room service"}, Languages: []string{"en"}, Tags: []string{"vip"}, Hours: gateway.HoursClosed},
	}
}

func TestDeclareKeepsEverything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		accounts := []gateway.Account{{
			ID: "acc_1", Kind: gateway.CloudAPI, Name: "Front desk", PhoneNumber: "+15550009999",
			Cloud:     gateway.Cloud{PhoneNumberID: "1001", WABAID: "9001", AccessToken: "t", AppSecret: "a", VerifyToken: "v", GraphURL: "https://graph.example"},
			AllowFrom: []string{alice}, Takeover: 7 * time.Minute, TimeZone: "Europe/Paris", Router: "groq/llama-3.1-8b-instant",
			Hours: gateway.Hours{time.Sunday: {{From: 22 * 60, To: 2 * 60}}, time.Friday: {{From: 540, To: 750}, {From: 840, To: 1440}}},
		}}
		agent := everything("acc_1")
		agent.Key = "concierge"
		hooks := []gateway.Webhook{{
			Key: "tickets", URL: "https://example.com/hook", Secret: "s", Active: true, Events: []string{gateway.EventRunCompleted}, Actions: []string{"hotel.*.*"},
		}}
		keys := []gateway.APIKey{{Name: "ops", Hash: sha256.Sum256([]byte("key"))}}
		must(t, s.Declare(t.Context(), []gateway.Account{{ID: "acc_1", Kind: gateway.Sandbox}}, nil, nil, nil)) // which the next one replaces
		declare := func() { must(t, s.Declare(t.Context(), accounts, []gateway.Agent{agent}, hooks, keys)) }
		declare()
		first := got(s.Agents(t.Context()))(t)
		hook := got(s.Webhooks(t.Context()))(t)[0]
		declare()

		accounts[0].Declared = true
		equal(t, "accounts", got(s.Accounts(t.Context()))(t), accounts, ignoreTimes)
		equal(t, "account", got(s.Account(t.Context(), "acc_1"))(t), accounts[0], ignoreTimes)
		equal(t, "agents", got(s.Agents(t.Context()))(t), first)
		equal(t, "agent", first[0], agent, ignoreTimes, cmpopts.IgnoreFields(gateway.Agent{}, "ID"))
		equal(t, "webhooks", got(s.Webhooks(t.Context()))(t), []gateway.Webhook{hook})
		equal(t, "webhook", hook, hooks[0], ignoreTimes, cmpopts.IgnoreFields(gateway.Webhook{}, "ID"))
		key := got(s.KeyByHash(t.Context(), keys[0].Hash))(t)
		equal(t, "key", key, gateway.APIKey{Name: "ops", Hash: keys[0].Hash, Declared: true, Scope: gateway.ScopeAdmin})
		_, err := s.KeyByHash(t.Context(), sha256.Sum256([]byte("another")))
		wantKind(t, err, gateway.NotFound)
	})
}

func TestWhatVanishesFromTheConfiguration(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		key := gateway.APIKey{Name: "ops", Hash: sha256.Sum256([]byte("key"))}
		seed(t, s)
		conv := add(t, s, from(sandbox, alice, "wamid.1"))[0].Conversation
		byAPI := everything(sandbox)
		must(t, s.CreateAgent(t.Context(), &byAPI))
		must(t, s.PutAccount(t.Context(), gateway.Account{ID: "acc_api", Kind: gateway.Sandbox}))
		before := got(s.Agents(t.Context()))(t)[0]
		must(t, s.Declare(t.Context(), []gateway.Account{{ID: cloud, Kind: gateway.CloudAPI}}, nil, nil, []gateway.APIKey{key}))

		var names []gateway.AccountID
		for _, a := range got(s.Accounts(t.Context()))(t) {
			names = append(names, a.ID)
		}
		equal(t, "accounts", names, []gateway.AccountID{"acc_api", cloud})
		got(s.Account(t.Context(), sandbox))(t)
		got(s.Conversation(t.Context(), conv))(t)
		_, err := s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, alice, "wamid.2")})
		wantKind(t, err, gateway.NotFound)
		if after := got(s.Agent(t.Context(), before.ID))(t); after.Active || after.Key != "concierge" {
			t.Errorf("the agent is %+v", after)
		}
		if a := got(s.DefaultAgent(t.Context(), sandbox))(t); a.ID != byAPI.ID {
			t.Errorf("%s answers", a.Name)
		}
		if w := got(s.Webhooks(t.Context()))(t)[0]; w.Active {
			t.Error("the webhook is still active")
		}
		seed(t, s)
		if after := got(s.Agent(t.Context(), before.ID))(t); !after.Active {
			t.Error("the agent did not come back under its id")
		}
		_, err = s.KeyByHash(t.Context(), key.Hash)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestDeclareIsAllOrNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		stray := everything("acc_none")
		stray.Key = "stray"
		err := s.Declare(t.Context(), nil, []gateway.Agent{stray}, nil, nil)
		wantKind(t, err, gateway.Invalid)
		twice := gateway.APIKey{Name: "a", Hash: sha256.Sum256([]byte("key"))}
		wantKind(t, s.Declare(t.Context(), nil, nil, nil, []gateway.APIKey{twice, {Name: "b", Hash: twice.Hash}}), gateway.Invalid)
		if err := s.Declare(t.Context(), nil, nil, []gateway.Webhook{{URL: "https://example.com"}}, nil); err == nil {
			t.Error("a webhook without a key was declared")
		}
		if n := len(got(s.Accounts(t.Context()))(t)); n != 2 {
			t.Errorf("%d accounts are left", n)
		}
	})
}

func TestReplicasStartAtOnce(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		if cfg.URL == "" {
			storetest.At(t, cfg) // one process makes the file, under the lock of data_dir
		}
		const replicas = 3
		errs := make(chan error, replicas)
		for range replicas {
			go func() {
				s, err := store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
				if err == nil {
					agent := everything(sandbox)
					agent.Key = "concierge"
					err = s.Declare(t.Context(), []gateway.Account{{ID: sandbox, Kind: gateway.Sandbox}}, []gateway.Agent{agent},
						[]gateway.Webhook{{Key: "w", URL: "https://example.com"}}, []gateway.APIKey{{Name: "ops"}})
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
				errs <- err
			}()
		}
		for range replicas {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		s := storetest.At(t, cfg)
		if n, w := len(got(s.Agents(t.Context()))(t)), len(got(s.Webhooks(t.Context()))(t)); n != 1 || w != 1 {
			t.Errorf("%d agents and %d webhooks", n, w)
		}
	})
}

func TestAgentsOfTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := everything(sandbox)
		must(t, s.CreateAgent(t.Context(), &a))
		equal(t, "agent", got(s.Agent(t.Context(), a.ID))(t), a)
		stray := everything("acc_none")
		wantKind(t, s.CreateAgent(t.Context(), &stray), gateway.Invalid)

		changed := gateway.Agent{ID: a.ID, Name: "Night porter", Key: "ignored", UpdatedAt: a.UpdatedAt}
		must(t, s.UpdateAgent(t.Context(), &changed))
		if changed.Key != "" || !changed.CreatedAt.Equal(a.CreatedAt) || changed.UpdatedAt.Before(a.UpdatedAt) {
			t.Errorf("updated as %+v", changed)
		}
		equal(t, "updated", got(s.Agent(t.Context(), a.ID))(t), changed, cmpopts.EquateEmpty())
		stale := changed
		stale.Name, stale.UpdatedAt = "Day porter", changed.UpdatedAt.Add(-time.Millisecond)
		wantKind(t, s.UpdateAgent(t.Context(), &stale), gateway.Conflict)
		equal(t, "not overwritten", got(s.Agent(t.Context(), a.ID))(t), changed, cmpopts.EquateEmpty())
		stray.ID = a.ID
		wantKind(t, s.UpdateAgent(t.Context(), &stray), gateway.Invalid)
		wantKind(t, s.UpdateAgent(t.Context(), &gateway.Agent{ID: gateway.NewAgentID()}), gateway.NotFound)

		declared := got(s.Agents(t.Context()))(t)[0]
		wantKind(t, s.UpdateAgent(t.Context(), &declared), gateway.Conflict)
		wantKind(t, s.DeleteAgent(t.Context(), declared.ID), gateway.Conflict)
		wantKind(t, s.PutAccount(t.Context(), gateway.Account{ID: sandbox}), gateway.Conflict)

		r := gateway.Run{Agent: a.ID, Trigger: gateway.TriggerAPI}
		must(t, s.CreateRun(t.Context(), &r))
		must(t, s.DeleteAgent(t.Context(), a.ID))
		wantKind(t, s.DeleteAgent(t.Context(), a.ID), gateway.NotFound)
		_, err := s.Agent(t.Context(), a.ID)
		wantKind(t, err, gateway.NotFound)
		if n := len(got(s.Agents(t.Context()))(t)); n != 1 {
			t.Errorf("%d agents are listed", n)
		}
		got(s.Run(t.Context(), a.ID, r.ID))(t)
	})
}

func TestDefaultAgent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		_, err := s.DefaultAgent(t.Context(), cloud)
		wantKind(t, err, gateway.NotFound)
		var made []gateway.Agent
		for _, change := range []func(*gateway.Agent){
			func(a *gateway.Agent) { a.AutoRun = false },
			func(a *gateway.Agent) { a.Active = false },
			func(a *gateway.Agent) { a.Name = "first" },
			func(a *gateway.Agent) { a.Name = "second" },
		} {
			a := everything(cloud)
			change(&a)
			must(t, s.CreateAgent(t.Context(), &a))
			made = append(made, a)
		}
		want := func(name string) {
			t.Helper()
			if a := got(s.DefaultAgent(t.Context(), cloud))(t); a.Name != name {
				t.Errorf("%s answers, want %s", a.Name, name)
			}
		}
		want("first")
		made[2].Active = false
		must(t, s.UpdateAgent(t.Context(), &made[2]))
		want("second")
		must(t, s.DeleteAgent(t.Context(), made[3].ID))
		_, err = s.DefaultAgent(t.Context(), cloud)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestDefaultAgentOfAnotherProcessShowsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: storetest.Key}
		a, b := storetest.At(t, cfg), storetest.At(t, cfg)
		seed(t, a)
		got(b.DefaultAgent(t.Context(), sandbox))(t)
		must(t, a.Declare(t.Context(), got(a.Accounts(t.Context()))(t), nil, nil, nil))
		time.Sleep(2*time.Second - time.Millisecond)
		got(b.DefaultAgent(t.Context(), sandbox))(t)
		time.Sleep(time.Millisecond)
		_, err := b.DefaultAgent(t.Context(), sandbox)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestSecretsAreSealed(t *testing.T) {
	dir := t.TempDir()
	cfg := store.Config{Path: filepath.Join(dir, "wagent.db"), Key: storetest.Key}
	s := storetest.At(t, cfg)
	secrets := []gateway.Secret{"EAAG-access-token", "meta-app-secret", "verify-me-please", "whsec_of-the-webhook"}
	must(t, s.Declare(t.Context(), []gateway.Account{{
		ID: "acc_1", Kind: gateway.CloudAPI, Name: "Front desk", Cloud: gateway.Cloud{AccessToken: secrets[0], AppSecret: secrets[1], VerifyToken: secrets[2]},
	}}, nil, []gateway.Webhook{{Key: "w", URL: "https://example.com/hook", Secret: secrets[3]}},
		[]gateway.APIKey{{Name: "ops", Hash: sha256.Sum256([]byte("the-api-key"))}}))
	must(t, s.Close())
	files := got(os.ReadDir(dir))(t)
	var all []byte
	for _, f := range files {
		info := got(f.Info())(t)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		all = append(all, got(os.ReadFile(filepath.Join(dir, f.Name())))(t)...)
	}
	if !bytes.Contains(all, []byte("Front desk")) {
		t.Fatal("the files do not hold what was written")
	}
	for _, secret := range append(secrets, "the-api-key") {
		if bytes.Contains(all, []byte(string(secret))) {
			t.Errorf("the database file holds a secret in the clear (%d bytes)", len(secret))
		}
	}
}

func TestAnotherSecretKeyIsRefused(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		storetest.At(t, cfg)
		cfg.Key[0]++
		_, err := store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
		if err == nil || !strings.Contains(err.Error(), "secret_key") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  store.Config
		want string
	}{
		"no database":           {store.Config{Key: storetest.Key}, "neither a url nor a path"},
		"another database":      {store.Config{URL: "mysql://h/d", Key: storetest.Key}, "postgres://"},
		"no key":                {store.Config{Path: "x.db"}, "secret_key"},
		"no folder":             {store.Config{Path: filepath.Join(t.TempDir(), "none", "x.db"), Key: storetest.Key}, "open database"},
		"a URL that is none":    {store.Config{URL: "postgres://u:hidden@h:port/d", Key: storetest.Key}, "open database"},
		"nobody listens there":  {store.Config{URL: "postgres://u:hidden@127.0.0.1:1/d", Key: storetest.Key}, "not available"},
		"a file that is no SQL": {store.Config{Path: text(t), Key: storetest.Key}, "migrate database"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := store.Open(t.Context(), tc.cfg, slog.New(slog.DiscardHandler), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// text is the path of a file that is no database.
func text(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notes.txt")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 100), 0o600))
	return path
}

func TestInstallationIsTheSameInEveryProcessAndNowhereElse(t *testing.T) {
	storetest.EachBare(t, func(t *testing.T, cfg store.Config) {
		first := storetest.At(t, cfg).Installation()
		if again := storetest.At(t, cfg).Installation(); again != first || len(first) != 12 {
			t.Errorf("the same database is called %q and %q", first, again)
		}
		if other := storetest.Open(t).Installation(); other == first {
			t.Errorf("two databases are called %q", first)
		}
	})
}
