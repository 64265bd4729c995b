// Package config reads wagent's one configuration file.
//
// It guarantees that what it returns can be run: every key has a default,
// nothing is accepted that is not understood, and all that is wrong with a
// file is told at once, each fault in one sentence with its line and its key.
// A fault never carries a value that could be a secret.
//
// A value that is wholly ${NAME} is taken from the environment; no other part
// of the environment is looked at. The package keeps no state, so a crash
// leaves nothing of it behind.
package config

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/netip"
	"time"

	"wagent/dispatch/llm/known"
	"wagent/dispatch/llm/openai"
	"wagent/dispatch/webhook"
	"wagent/gateway"
)

// A Config is everything that an operator can set. Its slices and maps are not
// shared with other Configs.
type Config struct {
	Listen  string // host:port; an empty host listens on every address
	DataDir string // holds the embedded database, its lock, and keys that were made
	Log     struct {
		Level  slog.Level
		Format string // text or json
	}
	Database struct {
		URL gateway.Secret // postgres://…; empty: SQLite in DataDir
	}
	Redis struct {
		URLs []gateway.Secret // redis:// or rediss://, all of one scheme; none: in-process, several: nodes of a cluster
	}
	SecretKey     gateway.Secret // base64, see Key; empty only without Database.URL
	Drain         time.Duration  // how long a stop waits for runs in hand
	UnknownSends  string         // resend or hold
	MaxMessageAge time.Duration  // older backlog is held for a person
	Media         struct {
		MaxSize   int64         // bytes; larger files that customers send are not fetched
		Retention time.Duration // how long files that customers sent are kept
	}
	AgentLimits gateway.AgentLimits // none is lower than the agents API has it
	APIKeys     []APIKey            // empty only without Database.URL
	Debounce    struct {
		Shards int
		Lease  time.Duration
	}
	Runs struct {
		Concurrency int
		Timeout     time.Duration
	}
	WebhookDelivery struct {
		Concurrency    int
		Timeout        time.Duration
		AllowAddresses []netip.Prefix  // what the guard against private addresses lets through
		Schedule       []time.Duration // the waits between attempts
		DisableAfter   time.Duration   // 0: never
	}
	Providers map[string]Provider // by the name that model handles begin with; always holds scripted and those that are known
	Accounts  []gateway.Account   // all Declared
	Agents    []gateway.Agent     // all with a Key, none with an ID
	Webhooks  []gateway.Webhook   // all with a Key, none with an ID
}

// An APIKey is a key that the file declares.
type APIKey struct {
	Name      string
	Key       gateway.Secret // at least 16 characters
	Scope     string
	Test      bool                // it reaches sandbox accounts only
	Accounts  []gateway.AccountID // that it reaches; none: all
	PerMinute int                 // requests; 0: as many as any key
}

// A Provider is where models are.
type Provider struct {
	Kind    string         // openai or anthropic (anything that speaks their APIs), or scripted
	BaseURL string         // of kind openai: with the version; of kind anthropic: without; no trailing slash; empty: see Lacks
	APIKey  gateway.Secret // not of kind scripted; may be empty
	Rules   []byte         // of kind scripted: what scripted.New takes; nil: the built-in rules
	Traits  openai.Traits  // of kind openai
	Stream  bool           // answers are asked for as streams; not of kind scripted
}

// The kinds of provider.
const (
	OpenAI    = "openai"
	Anthropic = "anthropic"
	Scripted  = "scripted"
)

// Default returns the configuration of an empty file.
func Default() Config {
	c := Config{
		Listen:        "127.0.0.1:8080",
		DataDir:       "./data",
		Drain:         25 * time.Second,
		UnknownSends:  "resend",
		MaxMessageAge: 6 * time.Hour,
		Providers:     map[string]Provider{Scripted: {Kind: Scripted}},
	}
	for row := range known.All() {
		c.Providers[row.Name] = Provider{Kind: row.Kind(), BaseURL: row.BaseURL, Traits: row.Traits}
	}
	c.AgentLimits = gateway.DefaultAgentLimits()
	c.Log.Level, c.Log.Format = slog.LevelInfo, "text"
	c.Media.MaxSize, c.Media.Retention = 16<<20, 30*24*time.Hour
	c.Debounce.Shards, c.Debounce.Lease = 16, 30*time.Second
	c.Runs.Concurrency, c.Runs.Timeout = 64, 60*time.Second
	usual := webhook.Defaults()
	c.WebhookDelivery.Concurrency, c.WebhookDelivery.Timeout = usual.Concurrency, usual.Timeout
	c.WebhookDelivery.Schedule, c.WebhookDelivery.DisableAfter = usual.Schedule, usual.DisableAfter
	return c
}

// Embedded returns what serve runs without any configuration file: the
// defaults, a sandbox account and an agent on it whose model needs no network.
func Embedded() Config {
	c := Default()
	c.Accounts = []gateway.Account{{ID: "acc_try", Kind: gateway.Sandbox, Name: "Try it out", Takeover: gateway.DefaultTakeover, Declared: true}}
	a := gateway.DefaultAgent()
	a.Key, a.Name, a.Account = "concierge", "Concierge", "acc_try"
	a.Description = "Answers on the sandbox account, without a model provider."
	a.SystemPrompt = "You are the concierge of a small hotel. Answer in the guest's language, kindly and briefly."
	a.Model = "scripted/default"
	a.AutoRun = true
	c.Agents = []gateway.Agent{a}
	return c
}

// Key returns the key that seals secrets in the database, or false if the file
// names none and one has to be made.
func (c *Config) Key() ([32]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(string(c.SecretKey))
	if err != nil || len(b) != 32 {
		return [32]byte{}, false
	}
	return [32]byte(b), true
}

// GatewayKeys returns the declared API keys as they are stored: hashed.
func (c *Config) GatewayKeys() []gateway.APIKey {
	var out []gateway.APIKey
	for _, k := range c.APIKeys {
		out = append(out, gateway.APIKey{
			Name: k.Name, Hash: sha256.Sum256([]byte(k.Key)), Declared: true,
			Scope: gateway.KeyScope(k.Scope), Test: k.Test, Accounts: k.Accounts, PerMinute: k.PerMinute,
		})
	}
	return out
}
