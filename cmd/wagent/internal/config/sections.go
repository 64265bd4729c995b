package config

import (
	"encoding/base64"
	"strings"
	"time"
	"unicode"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/gateway"
)

// A value is a value of the file, with readers of what only wagent has.
type value struct{ document.Value }

// fields are the keys that a mapping may have, each with its reader.
type fields map[string]func(value)

// mapping reads v and returns which keys it has, also those without a value.
func (v value) mapping(known fields) map[string]document.Value {
	readers := document.Fields{}
	for key, read := range known {
		readers[key] = func(v document.Value) { read(value{v}) }
	}
	return v.Mapping(readers)
}

// list reads each element of the sequence v.
func (v value) list(read func(value)) { v.List(func(v document.Value) { read(value{v}) }) }

// root reads the whole file. What refers to other parts of it is read last.
func (v value) root(c *Config) {
	set := v.mapping(fields{
		"listen":           func(v value) { v.HostPort(&c.Listen) },
		"data_dir":         func(v value) { v.dataDir(&c.DataDir) },
		"log":              func(v value) { v.log(c) },
		"database":         func(v value) { v.mapping(fields{"url": func(v value) { v.databaseURL(&c.Database.URL) }}) },
		"redis":            func(v value) { v.mapping(fields{"url": func(v value) { v.redisURLs(&c.Redis.URLs) }}) },
		"secret_key":       func(v value) { v.secretKey(&c.SecretKey) },
		"drain":            func(v value) { v.DurationIn(&c.Drain, 0, time.Hour) },
		"unknown_sends":    func(v value) { v.OneOf(&c.UnknownSends, "resend", "hold") },
		"max_message_age":  func(v value) { v.DurationIn(&c.MaxMessageAge, time.Minute, 30*24*time.Hour) },
		"media":            func(v value) { v.media(c) },
		"api_keys":         func(v value) { v.apiKeys(&c.APIKeys) },
		"agent_limits":     func(v value) { v.agentLimits(&c.AgentLimits) },
		"debounce":         func(v value) { v.debounce(c) },
		"runs":             func(v value) { v.runs(c) },
		"webhook_delivery": func(v value) { v.webhookDelivery(c) },
		"providers":        func(value) {},
		"accounts":         func(value) {},
		"agents":           func(value) {},
		"webhooks":         func(value) {},
	})
	v.replicas(c, set)
	for _, section := range []struct {
		key  string
		read func(value)
	}{
		{"providers", func(v value) { v.providers(c) }},
		{"accounts", func(v value) { v.accounts(c) }},
		{"agents", func(v value) { v.agents(c) }},
		{"webhooks", func(v value) { v.webhooks(c) }},
	} {
		if s, ok := set[section.key]; ok && !s.Null() {
			section.read(value{s})
		}
		if section.key == "providers" {
			c.fill(v.Walk.Env)
		}
	}
}

// replicas asks for what processes that share a database must agree on.
func (v value) replicas(c *Config, set map[string]document.Value) {
	if c.Database.URL == "" {
		return
	}
	for key, missing := range map[string]bool{
		"secret_key": c.SecretKey == "" && !v.Faulty("secret_key"),
		"api_keys":   len(c.APIKeys) == 0 && !v.Faulty("api_keys"),
	} {
		if at := set["database"]; missing {
			if named, ok := set[key]; ok {
				at = named
			}
			v.Walk.Fault(at.Line, key, "is required with database.url, since replicas must agree on it, name it in the file")
		}
	}
}

func (v value) log(c *Config) {
	level := "info"
	v.mapping(fields{
		"level":  func(v value) { v.OneOf(&level, "debug", "info", "warn", "error") },
		"format": func(v value) { v.OneOf(&c.Log.Format, "text", "json") },
	})
	_ = c.Log.Level.UnmarshalText([]byte(level)) // takes each of the four words
}

func (v value) media(c *Config) {
	v.mapping(fields{
		"max_size":  func(v value) { v.SizeIn(&c.Media.MaxSize, "1KB", "100MiB") },
		"retention": func(v value) { v.DurationIn(&c.Media.Retention, time.Hour, 365*24*time.Hour) },
	})
}

func (v value) debounce(c *Config) {
	v.mapping(fields{
		"shards": func(v value) { v.IntegerIn(&c.Debounce.Shards, 1, 1024) },
		"lease":  func(v value) { v.DurationIn(&c.Debounce.Lease, time.Second, 10*time.Minute) },
	})
}

func (v value) runs(c *Config) {
	v.mapping(fields{
		"concurrency": func(v value) { v.IntegerIn(&c.Runs.Concurrency, 1, 10_000) },
		"timeout":     func(v value) { v.DurationIn(&c.Runs.Timeout, time.Second, time.Hour) },
	})
}

// agentLimits reads how far agents may go: no less than the agents API promises.
func (v value) agentLimits(l *gateway.AgentLimits) {
	v.mapping(fields{
		"max_tokens":                   func(v value) { v.IntegerIn(&l.MaxTokens, l.MaxTokens, 1_000_000) },
		"debounce_seconds":             func(v value) { v.SpanIn(&l.Quiet, time.Second, l.Quiet, time.Hour) },
		"context_ttl_minutes":          func(v value) { v.SpanIn(&l.ContextTTL, time.Minute, l.ContextTTL, 365*24*time.Hour) },
		"confirmation_timeout_minutes": func(v value) { v.SpanIn(&l.ConfirmationTimeout, time.Minute, l.ConfirmationTimeout, 30*24*time.Hour) },
		"allowed_actions":              func(v value) { v.IntegerIn(&l.Actions, l.Actions, 100) },
		"payload_schema":               func(v value) { v.IntegerIn(&l.Fields, l.Fields, 100) },
	})
}

func (v value) webhookDelivery(c *Config) {
	d := &c.WebhookDelivery
	v.mapping(fields{
		"concurrency": func(v value) { v.IntegerIn(&d.Concurrency, 1, 10_000) },
		"timeout":     func(v value) { v.DurationIn(&d.Timeout, time.Second, 5*time.Minute) },
		"allow_addresses": func(v value) {
			v.list(func(v value) {
				if p, ok := v.Prefix(); ok {
					d.AllowAddresses = append(d.AllowAddresses, p)
				}
			})
		},
		"schedule":      func(v value) { v.Durations(&d.Schedule, 50, 100*time.Millisecond, 24*time.Hour) },
		"disable_after": func(v value) { v.DurationIn(&d.DisableAfter, 0, 365*24*time.Hour) },
	})
}

func (v value) dataDir(to *string) {
	v.Text(to)
	if strings.TrimSpace(*to) == "" {
		v.Fault("must be a folder such as ./data")
	}
}

// secret reads a text that has to fit in a header: a line break at its end is
// what an editor leaves behind.
func (v value) secret(to *gateway.Secret) bool {
	s, ok := v.Scalar("a text")
	if !ok {
		return false
	}
	if v.NearlyAsksEnv() {
		v.Fault("only a value that is wholly ${NAME} comes from the environment, and a name is of letters, digits and underscores")
		return false
	}
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl) {
		v.Fault("has spaces around it or a line break in it, remove them")
		return false
	}
	*to = gateway.Secret(s)
	return true
}

func (v value) secretKey(to *gateway.Secret) {
	var s gateway.Secret
	if !v.secret(&s) || s == "" {
		return
	}
	if b, err := base64.StdEncoding.DecodeString(string(s)); err != nil || len(b) != 32 {
		v.Fault("must be base64 of 32 bytes, make one with: openssl rand -base64 32")
		return
	}
	*to = s
}

const (
	// minKey is the least length of an API key, in bytes.
	minKey = 16
	// testKey is what keys begin with that say that they reach sandbox accounts only.
	testKey = "wrb_test_"
)

// keyName reads the name of an API key, which stands in the log and the audit:
// it must be neither that of who needs no key, nor an id, nor a key.
func (v value) keyName(to *string) {
	s, ok := v.Scalar("a text")
	if !ok {
		return
	}
	for _, taken := range []string{"(", "key_", "wrb_live_", testKey} {
		if strings.HasPrefix(s, taken) {
			v.Fault("must not begin with %s", taken)
			return
		}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		v.Fault("must have printable characters only")
		return
	}
	*to = s
}

func (v value) apiKeys(to *[]APIKey) {
	names, keys := document.Places{}, document.Places{}
	v.list(func(v value) {
		k := APIKey{Scope: string(gateway.ScopeAdmin)}
		set := v.mapping(fields{
			"name": func(v value) { v.keyName(&k.Name) },
			"key": func(v value) {
				if v.secret(&k.Key) && len(k.Key) < minKey {
					v.Fault("must have at least %d characters", minKey)
				}
			},
			"scope":      func(v value) { v.OneOf(&k.Scope, "read", "write", "admin") },
			"test":       func(v value) { v.Boolean(&k.Test) },
			"per_minute": func(v value) { v.IntegerIn(&k.PerMinute, 1, 1_000_000) },
			"accounts": func(v value) {
				v.list(func(v value) {
					var id string
					if v.Text(&id); strings.TrimSpace(id) == "" && !v.Faulty(v.Path) {
						v.Fault("can't be blank")
					}
					k.Accounts = append(k.Accounts, gateway.AccountID(id))
				})
			},
		})
		v.Require(set, "", map[string]bool{"name": k.Name == "", "key": k.Key == ""})
		// A list that was emptied, or commented out, must not open what it closed.
		if at, ok := set["accounts"]; ok && len(k.Accounts) == 0 && !v.Faulty(at.Path) {
			at.Fault("must name an account, remove it for a key that reaches all")
		}
		if !k.Test && strings.HasPrefix(string(k.Key), testKey) && !v.Faulty(v.Path+".test") {
			set["key"].Fault("begins with %s, as keys of sandbox accounts do, and test is not true: set it, or take another key", testKey)
		}
		names.Once(set["name"], k.Name)
		keys.Once(set["key"], string(k.Key))
		*to = append(*to, k)
	})
}
