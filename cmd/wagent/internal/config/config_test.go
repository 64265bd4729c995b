package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/dispatch/llm/openai"
	"wagent/gateway"
)

const reference = "../../../../configs/wagent.yaml"

var equatePrefixes = cmpopts.EquateComparable(netip.Prefix{})

// values is the environment of tests.
func values(name string) (string, bool) {
	v, ok := map[string]string{
		"DATABASE_URL":       "postgres://wagent:hunter2hunter2@db/wagent",
		"REDIS_URL":          "redis://a:6379,redis://b:6379",
		"WAGENT_SECRET_KEY":  base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)),
		"WAGENT_API_KEY":     "a-key-of-some-length",
		"OPENAI_API_KEY":     "sk-test",
		"META_TOKEN":         "EAAG",
		"META_APP_SECRET":    "0123456789abcdef",
		"META_VERIFY_TOKEN":  "verify",
		"HOOK_SECRET":        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0",
		"PORT_FROM_ENV":      "12",
		"EMPTY":              "",
		"SECRET_WITH_BREAK":  "leaked-secret\n",
		"NOT_A_NUMBER":       "leaked-secret",
		"PASSWORD_IN_A_PORT": "postgres://u:pw@db:leaked-secret/x",
	}[name]
	return v, ok
}

func none(string) (string, bool) { return "", false }

func TestReferenceHoldsEveryKeyAtItsDefault(t *testing.T) {
	got, err := Load(reference, none)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, equatePrefixes); diff != "" {
		t.Errorf("configs/wagent.yaml is not the defaults (-default +file):\n%s", diff)
	}
}

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob("../../../../configs/examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			c, err := Load(f, values)
			if filepath.Base(f) == "phone.yaml" && !LinkedDevices {
				if err == nil || !strings.Contains(err.Error(), "this build has no linked devices") {
					t.Errorf("Load = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Accounts) == 0 || len(c.Agents) == 0 || !c.Agents[0].AutoRun {
				t.Error("the example answers nobody")
			}
		})
	}
}

func TestExampleThatNeedsNothingAsksTheEnvironmentForNothing(t *testing.T) {
	for _, f := range []string{"sandbox", "local-model"} {
		if _, err := Load("../../../../configs/examples/"+f+".yaml", none); err != nil {
			t.Error(err)
		}
	}
}

func TestParse(t *testing.T) {
	with := func(change func(*Config)) Config {
		c := Default()
		change(&c)
		return c
	}
	tests := map[string]struct {
		src  string
		want Config
	}{
		"nothing":                         {"", Default()},
		"comments only":                   {"# nothing\n", Default()},
		"a document of null":              {"---\n~\n", Default()},
		"keys without values":             {"listen:\nlog:\naccounts:\ndrain: ~\n", Default()},
		"a number out of the environment": {`runs: {concurrency: "${PORT_FROM_ENV}"}`, with(func(c *Config) { c.Runs.Concurrency = 12 })},
		"part of a value is not replaced": {`data_dir: "./${HOME}"`, with(func(c *Config) { c.DataDir = "./${HOME}" })},
		"a key that may do all": {"api_keys: [{name: ops, key: a-key-of-some-length}]", with(func(c *Config) {
			c.APIKeys = []APIKey{{Name: "ops", Key: "a-key-of-some-length", Scope: "admin"}}
		})},
		"a key that may do less": {"api_keys: [{name: till, key: a-key-of-some-length, scope: read, test: true, accounts: [acc_try], per_minute: 30}]", with(func(c *Config) {
			c.APIKeys = []APIKey{{Name: "till", Key: "a-key-of-some-length", Scope: "read", Test: true, Accounts: []gateway.AccountID{"acc_try"}, PerMinute: 30}}
		})},
		"every address":      {`listen: ":9000"`, with(func(c *Config) { c.Listen = ":9000" })},
		"an address of IPv6": {`listen: "[::1]:0"`, with(func(c *Config) { c.Listen = "[::1]:0" })},
		"an alias": {"runs: {timeout: &t 9s}\nwebhook_delivery: {timeout: *t}", with(func(c *Config) {
			c.Runs.Timeout, c.WebhookDelivery.Timeout = 9*time.Second, 9*time.Second
		})},
		"a range and one address": {"webhook_delivery: {allow_addresses: [10.1.2.3/8, \"fd00::1\"]}", with(func(c *Config) {
			c.WebhookDelivery.AllowAddresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::1/128")}
		})},
		"one Redis whose password holds a comma": {"redis: {url: \"redis://u:a,b@host:6379/1\"}", with(func(c *Config) {
			c.Redis.URLs = []gateway.Secret{"redis://u:a,b@host:6379/1"}
		})},
		"a cluster as a list": {"redis: {url: [rediss://a:1, rediss://b:2]}", with(func(c *Config) {
			c.Redis.URLs = []gateway.Secret{"rediss://a:1", "rediss://b:2"}
		})},
		"a cluster out of the environment": {"redis:\n  url: ${REDIS_URL}", with(func(c *Config) {
			c.Redis.URLs = []gateway.Secret{"redis://a:6379", "redis://b:6379"}
		})},
		"an account with its default URL": {
			`accounts: [{id: a, kind: cloud_api, phone_number_id: 1001, access_token: t, app_secret: s, verify_token: v}]`,
			with(func(c *Config) {
				c.Accounts = []gateway.Account{{ID: "a", Kind: gateway.CloudAPI, Takeover: 30 * time.Minute, Declared: true, Cloud: gateway.Cloud{
					PhoneNumberID: "1001", AccessToken: "t", AppSecret: "s", VerifyToken: "v", GraphURL: "https://graph.facebook.com/v23.0",
				}}}
			}),
		},
		"an account on which agents answer a few, beside people": {
			`accounts: [{id: a, kind: sandbox, allow_from: ["+4915110000001", +15550001111], human_takeover_duration: 0s}]`,
			with(func(c *Config) {
				c.Accounts = []gateway.Account{{ID: "a", Kind: gateway.Sandbox, AllowFrom: []string{"+4915110000001", "+15550001111"}, Declared: true}}
			}),
		},
		"an account with hours in a zone, and a router": {
			`accounts: [{id: a, kind: sandbox, time_zone: Europe/Paris, router: scripted/x,
				business_hours: {mon: "09:00-12:30, 14:00-18:00", fri: "22:00-02:00", sat: "00:00-24:00", sun: "", tue: }}]`,
			with(func(c *Config) {
				c.Accounts = []gateway.Account{{
					ID: "a", Kind: gateway.Sandbox, Takeover: 30 * time.Minute, Declared: true, TimeZone: "Europe/Paris", Router: "scripted/x",
					Hours: gateway.Hours{time.Monday: {{From: 540, To: 750}, {From: 840, To: 1080}}, time.Friday: {{From: 1320, To: 120}}, time.Saturday: {{From: 0, To: 1440}}},
				}}
			}),
		},
		"an account that is always open, in UTC": {
			`accounts: [{id: a, kind: sandbox, time_zone: "", router: "", business_hours: {mon: }}]`,
			with(func(c *Config) {
				c.Accounts = []gateway.Account{{ID: "a", Kind: gateway.Sandbox, Takeover: 30 * time.Minute, Declared: true}}
			}),
		},
		"a size in bytes":  {"media: {max_size: 1000, retention: 8760h}", with(func(c *Config) { c.Media.MaxSize, c.Media.Retention = 1000, 8760*time.Hour })},
		"a size in KB":     {"media: {max_size: 500KB}", with(func(c *Config) { c.Media.MaxSize = 500_000 })},
		"a size in KiB":    {"media: {max_size: 500 KiB}", with(func(c *Config) { c.Media.MaxSize = 512_000 })},
		"a size in MB":     {"media: {max_size: 16MB}", with(func(c *Config) { c.Media.MaxSize = 16_000_000 })},
		"the largest size": {"media: {max_size: 100MiB}", with(func(c *Config) { c.Media.MaxSize = 104_857_600 })},
		"a webhook that is off": {
			`webhooks: [{id: w, url: "http://10.0.0.1/x/?a=b", secret: plain, active: false, actions: ["a.*.b_*"]}]`,
			with(func(c *Config) {
				c.Webhooks = []gateway.Webhook{{Key: "w", URL: "http://10.0.0.1/x/?a=b", Secret: "plain", Actions: []string{"a.*.b_*"}}}
			}),
		},
		"how a webhook is delivered to": {
			"webhook_delivery: {schedule: [100ms, 2h], disable_after: 0s}\nwebhooks: [{id: w, url: \"https://example.com\", secret: plain, agents: [agt_0123456789abcdef0123456789abcdef], " +
				"accounts: [acc_1], headers: {x-shop: \"7\", authorization: Bearer x}, ordered: true, concurrency: 1, per_minute: 60}]",
			with(func(c *Config) {
				c.WebhookDelivery.Schedule, c.WebhookDelivery.DisableAfter = []time.Duration{100 * time.Millisecond, 2 * time.Hour}, 0
				c.Webhooks = []gateway.Webhook{{
					Key: "w", URL: "https://example.com", Secret: "plain", Active: true, Agents: []gateway.AgentID{"01234567-89ab-cdef-0123-456789abcdef"},
					Accounts: []gateway.AccountID{"acc_1"}, Headers: map[string]gateway.Secret{"X-Shop": "7", "Authorization": "Bearer x"},
					Ordered: true, Concurrency: 1, PerMinute: 60,
				}}
			}),
		},
		"one attempt and no more": {"webhook_delivery: {schedule: []}", with(func(c *Config) { c.WebhookDelivery.Schedule = []time.Duration{} })},
		"a provider's rules inline": {"providers: {house: {kind: scripted, rules: {default: {output: {intent: other}}}}}", with(func(c *Config) {
			c.Providers["house"] = Provider{Kind: Scripted, Rules: []byte("{default: {output: {intent: other}}}\n")}
		})},
		"openai elsewhere": {"providers: {openai: {base_url: \"https://proxy/v1/\"}}", with(func(c *Config) {
			c.Providers["openai"] = Provider{Kind: OpenAI, BaseURL: "https://proxy/v1", Traits: Default().Providers["openai"].Traits}
		})},
		"how a provider is asked": {"providers: {openai: {api: responses, stream: true}}", with(func(c *Config) {
			p := c.Providers["openai"]
			p.Traits.API, p.Stream = openai.Responses, true
			c.Providers["openai"] = p
		})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(tt.src), values)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.fill(values)
			if diff := cmp.Diff(tt.want, got, equatePrefixes); diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAgent(t *testing.T) {
	c, err := Parse([]byte(`
accounts: [{id: acc, kind: sandbox, business_hours: {mon: "09:00-17:00"}}]
agents:
  - id: full
    name: Full
    description: All of it
    account: acc
    models: [scripted/x, house/y, house/w]
    model_settings: {seed: -9223372036854775808, reasoning_effort: none, thinking_budget_tokens: 1024, parallel_tool_calls: false}
    system_prompt: Be kind.
    temperature: 1
    max_tokens: 2048
    active: false
    auto_run_inbound: true
    debounce_seconds: 1
    max_wait_seconds: 3600
    max_batch_messages: 100
    context_ttl_minutes: 0
    on_new_message: supersede
    max_supersedes: 0
    allowed_actions: [a.b.c]
    payload_schema: [{name: n, field_type: date}]
    confirmation_mode: confirm
    confirmation_timeout_minutes: 1440
    inbound_config: {trigger_on: text_only, min_message_length: 2, max_messages_per_hour: 3, ignore_patterns: ["^ok$"],
      ignore_emoji_only: true, ignore_greetings: true}
    fallback_reply: Sorry
    spend_limits: {runs_per_conversation_hour: 30, tokens_per_day: 1000000000}
    compaction: {mode: sliding_window, model: house/z, max_tokens: 10000000}
    memory_blocks: [{label: persona, value: Zoe}, {label: policy}]
    contact_memory_limit: 2000
    answers: {keywords: [Room service, "24"], languages: [en, de], tags: [vip], hours: closed}
providers: {house: {kind: scripted}}
`), values)
	if err != nil {
		t.Fatal(err)
	}
	want := []gateway.Agent{{
		Key: "full", Account: "acc", Name: "Full", Description: "All of it", SystemPrompt: "Be kind.", Model: "scripted/x",
		Temperature: 1, MaxTokens: 2048, AutoRun: true, Quiet: time.Second, MaxWait: time.Hour, MaxBatch: 100, OnNewMessage: gateway.Supersede,
		AllowedActions: []string{"a.b.c"}, PayloadSchema: []gateway.Field{{Name: "n", Type: gateway.FieldDate}},
		Confirm: true, ConfirmationTimeout: 24 * time.Hour, FallbackReply: "Sorry",
		Filter:        gateway.InboundFilter{TextOnly: true, MinLength: 2, MaxPerHour: 3, IgnorePatterns: []string{"^ok$"}, IgnoreEmoji: true, IgnoreGreeting: true},
		Fallbacks:     []string{"house/y", "house/w"},
		Settings:      gateway.ModelSettings{Seed: new(int64(math.MinInt64)), ReasoningEffort: "none", ThinkingBudget: 1024, ParallelToolCalls: new(false)},
		Spend:         gateway.SpendLimits{RunsPerHour: 30, TokensPerDay: 1_000_000_000},
		Compaction:    gateway.Compaction{Mode: gateway.CompactionSliding, Model: "house/z", MaxTokens: 10_000_000},
		Blocks:        []gateway.Block{{Label: "persona", Value: "Zoe"}, {Label: "policy"}},
		ContactMemory: 2000,
		Route:         gateway.RouteRule{Keywords: []string{"Room service", "24"}, Languages: []string{"en", "de"}, Tags: []string{"vip"}, Hours: gateway.HoursClosed},
	}}
	if diff := cmp.Diff(want, c.Agents); diff != "" {
		t.Errorf("Agents (-want +got):\n%s", diff)
	}
}

func TestEmbeddedAnswersOutOfTheBox(t *testing.T) {
	c, err := Load("", none)
	if err != nil {
		t.Fatal(err)
	}
	accounts, agents := c.Accounts, c.Agents
	if len(accounts) != 1 || len(agents) != 1 || accounts[0].Kind != gateway.Sandbox || !accounts[0].Declared {
		t.Fatalf("Load(\"\") = %d accounts, %d agents", len(accounts), len(agents))
	}
	a := agents[0]
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	if a.Account != accounts[0].ID || !a.AutoRun || !a.Active {
		t.Error("the embedded agent answers nobody")
	}
	provider, _, _ := strings.Cut(a.Model, "/")
	if c.Providers[provider].Kind != Scripted {
		t.Errorf("model %s needs a network", a.Model)
	}
	if _, ok := c.Key(); ok {
		t.Error("the embedded default has a key that everybody knows")
	}
}

func TestKeys(t *testing.T) {
	c, err := Load("../../../../configs/examples/hotel.yaml", values)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := c.Key(); !ok || key != [32]byte(bytes.Repeat([]byte{7}, 32)) {
		t.Errorf("Key = %x, %t", key, ok)
	}
	keys := c.GatewayKeys()
	if len(keys) != 1 || keys[0].Name != "ops" || !keys[0].Declared {
		t.Fatalf("GatewayKeys = %+v", keys)
	}
	// sha256sum of the text a-key-of-some-length
	if got := fmt.Sprintf("%x", keys[0].Hash); got != "7602afe257e4bd460fcbc16b78c16d0822834244638fbee1d489cdaed5b179d3" {
		t.Errorf("hash = %s", got)
	}
	if w := c.Webhooks; len(w) != 1 || w[0].Key != "house" || !w[0].Active {
		t.Errorf("Webhooks = %+v", w)
	}
}

func TestConfigDoesNotPrintSecrets(t *testing.T) {
	c, err := Load("../../../../configs/examples/hotel.yaml", values)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		printed := fmt.Sprintf(format, c)
		for _, name := range []string{"DATABASE_URL", "REDIS_URL", "WAGENT_SECRET_KEY", "WAGENT_API_KEY", "OPENAI_API_KEY", "META_TOKEN", "META_APP_SECRET", "HOOK_SECRET"} {
			if v, _ := values(name); strings.Contains(printed, v) {
				t.Errorf("%s prints %s", format, name)
			}
		}
	}
}

func TestDeclaredKeysAreStoredAsTheFileHasThem(t *testing.T) {
	c, err := Parse([]byte("api_keys: [{name: till, key: a-key-of-some-length, scope: read, test: true, accounts: [acc_try], per_minute: 30}]"), none)
	if err != nil {
		t.Fatal(err)
	}
	want := []gateway.APIKey{{
		Name: "till", Hash: sha256.Sum256([]byte("a-key-of-some-length")), Declared: true, Scope: gateway.ScopeRead,
		Test: true, Accounts: []gateway.AccountID{"acc_try"}, PerMinute: 30,
	}}
	if diff := cmp.Diff(want, c.GatewayKeys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestLimitsOfAgentsMayBeRaised(t *testing.T) {
	const file = `
agent_limits:
  max_tokens: 4096
  debounce_seconds: 300
agents:
  - {id: a, name: A, model: scripted/x, system_prompt: Be kind., max_tokens: 4096, debounce_seconds: 300}
`
	c, err := Parse([]byte(file), none)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.DefaultAgentLimits()
	want.MaxTokens, want.Quiet = 4096, 5*time.Minute
	if c.AgentLimits != want {
		t.Errorf("limits %+v, want %+v", c.AgentLimits, want)
	}
	if a := c.Agents[0]; a.MaxTokens != 4096 || a.Quiet != 5*time.Minute || a.MaxWait != 5*time.Minute {
		t.Errorf("the agent waits %v, at most %v, for %d tokens", a.Quiet, a.MaxWait, a.MaxTokens)
	}
}
