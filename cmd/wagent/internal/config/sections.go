package config

import (
	"encoding/base64"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"wagent/gateway"
)

// root reads the whole file. What refers to other parts of it is read last.
func (v value) root(c *Config) {
	set := v.mapping(fields{
		"listen":           func(v value) { v.listen(&c.Listen) },
		"data_dir":         func(v value) { v.dataDir(&c.DataDir) },
		"log":              func(v value) { v.log(c) },
		"database":         func(v value) { v.mapping(fields{"url": func(v value) { v.databaseURL(&c.Database.URL) }}) },
		"redis":            func(v value) { v.mapping(fields{"url": func(v value) { v.redisURLs(&c.Redis.URLs) }}) },
		"secret_key":       func(v value) { v.secretKey(&c.SecretKey) },
		"drain":            func(v value) { v.durationIn(&c.Drain, 0, time.Hour) },
		"unknown_sends":    func(v value) { v.oneOf(&c.UnknownSends, "resend", "hold") },
		"max_message_age":  func(v value) { v.durationIn(&c.MaxMessageAge, time.Minute, 30*24*time.Hour) },
		"media":            func(v value) { v.media(c) },
		"api_keys":         func(v value) { v.apiKeys(&c.APIKeys) },
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
		if s, ok := set[section.key]; ok && !s.null() {
			section.read(s)
		}
		if section.key == "providers" {
			c.fill(v.p.env)
		}
	}
}

// replicas asks for what processes that share a database must agree on.
func (v value) replicas(c *Config, set map[string]value) {
	if c.Database.URL == "" {
		return
	}
	for key, missing := range map[string]bool{
		"secret_key": c.SecretKey == "" && !v.p.faulty("secret_key"),
		"api_keys":   len(c.APIKeys) == 0 && !v.p.faulty("api_keys"),
	} {
		if at := set["database"]; missing {
			if named, ok := set[key]; ok {
				at = named
			}
			v.p.fault(at.line, key, "is required with database.url, since replicas must agree on it, name it in the file")
		}
	}
}

func (v value) log(c *Config) {
	level := "info"
	v.mapping(fields{
		"level":  func(v value) { v.oneOf(&level, "debug", "info", "warn", "error") },
		"format": func(v value) { v.oneOf(&c.Log.Format, "text", "json") },
	})
	_ = c.Log.Level.UnmarshalText([]byte(level)) // takes each of the four words
}

func (v value) media(c *Config) {
	v.mapping(fields{
		"max_size":  func(v value) { v.sizeIn(&c.Media.MaxSize, "1KB", "100MiB") },
		"retention": func(v value) { v.durationIn(&c.Media.Retention, time.Hour, 365*24*time.Hour) },
	})
}

func (v value) debounce(c *Config) {
	v.mapping(fields{
		"shards": func(v value) { v.integerIn(&c.Debounce.Shards, 1, 1024) },
		"lease":  func(v value) { v.durationIn(&c.Debounce.Lease, time.Second, 10*time.Minute) },
	})
}

func (v value) runs(c *Config) {
	v.mapping(fields{
		"concurrency": func(v value) { v.integerIn(&c.Runs.Concurrency, 1, 10_000) },
		"timeout":     func(v value) { v.durationIn(&c.Runs.Timeout, time.Second, time.Hour) },
	})
}

func (v value) webhookDelivery(c *Config) {
	d := &c.WebhookDelivery
	v.mapping(fields{
		"concurrency": func(v value) { v.integerIn(&d.Concurrency, 1, 10_000) },
		"timeout":     func(v value) { v.durationIn(&d.Timeout, time.Second, 5*time.Minute) },
		"allow_addresses": func(v value) {
			v.list(func(v value) {
				if p, ok := v.prefix(); ok {
					d.AllowAddresses = append(d.AllowAddresses, p)
				}
			})
		},
	})
}

// prefix reads a CIDR; a bare address stands for itself alone.
func (v value) prefix() (netip.Prefix, bool) {
	const want = "a range of addresses such as 10.0.0.0/8"
	s, ok := v.scalar(want)
	if !ok {
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		v.fault("must be %s", want)
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

func (v value) listen(to *string) {
	const want = "an address such as 127.0.0.1:8080"
	s, ok := v.scalar(want)
	if !ok {
		return
	}
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strings.ContainsFunc(host, unicode.IsSpace) || strings.Contains(host, "/") {
		v.fault("must be %s", want)
		return
	}
	*to = net.JoinHostPort(host, strconv.FormatUint(n, 10))
}

func (v value) dataDir(to *string) {
	v.text(to)
	if strings.TrimSpace(*to) == "" {
		v.fault("must be a folder such as ./data")
	}
}

// secret reads a text that has to fit in a header: a line break at its end is
// what an editor leaves behind.
func (v value) secret(to *gateway.Secret) bool {
	s, ok := v.scalar("a text")
	if !ok {
		return false
	}
	if literal := v.node.Value; !envRef.MatchString(literal) && almostEnvRef.MatchString(literal) {
		v.fault("only a value that is wholly ${NAME} comes from the environment, and a name is of letters, digits and underscores")
		return false
	}
	if strings.TrimSpace(s) != s || strings.ContainsFunc(s, unicode.IsControl) {
		v.fault("has spaces around it or a line break in it, remove them")
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
		v.fault("must be base64 of 32 bytes, make one with: openssl rand -base64 32")
		return
	}
	*to = s
}

// minKey is the least length of an API key, in bytes.
const minKey = 16

func (v value) apiKeys(to *[]APIKey) {
	names, keys := places{}, places{}
	v.list(func(v value) {
		var k APIKey
		set := v.mapping(fields{
			"name": func(v value) { v.text(&k.Name) },
			"key": func(v value) {
				if v.secret(&k.Key) && len(k.Key) < minKey {
					v.fault("must have at least %d characters", minKey)
				}
			},
		})
		v.require(set, "", map[string]bool{"name": k.Name == "", "key": k.Key == ""})
		names.once(set["name"], k.Name)
		keys.once(set["key"], string(k.Key))
		*to = append(*to, k)
	})
}

// require adds a fault for each key that is missing. when ends the sentence.
func (v value) require(set map[string]value, when string, missing map[string]bool) {
	if v.node.Kind != yaml.MappingNode {
		return // which is a fault already
	}
	for key, isMissing := range missing {
		if at := v.at(set, key); isMissing && !v.p.faulty(at.path) {
			at.fault("is required%s", when)
		}
	}
}

// at returns the value of v's key; a key that is missing is looked for where v
// begins.
func (v value) at(set map[string]value, key string) value {
	if at, ok := set[key]; ok {
		return at
	}
	return value{p: v.p, path: join(v.path, key), line: v.line}
}

// places says in which line a name was first.
type places map[string]int

// once adds a fault if s has been there before.
func (p places) once(at value, s string) {
	if s == "" || at.p == nil || at.p.faulty(at.path) {
		return
	}
	if line, ok := p[s]; ok {
		at.fault("is the same as in line %d, use another", line)
		return
	}
	p[s] = at.line
}
