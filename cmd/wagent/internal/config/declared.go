package config

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/cmd/wagent/internal/config/spelling"
	"wagent/gateway"
)

var (
	declaredID  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	phoneNumber = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`) // E.164
	metaID      = regexp.MustCompile(`^[0-9]{1,32}$`)
)

// id reads what the records of the file are upserted by.
func (v value) id(to *string) {
	v.Matching(to, declaredID, "letters, digits, dots, dashes and underscores, at most 64")
}

func (v value) webhooks(c *Config) {
	ids := document.Places{}
	v.list(func(v value) {
		w := gateway.Webhook{Active: true}
		set := v.mapping(fields{
			"id":      func(v value) { v.id(&w.Key) },
			"url":     func(v value) { v.httpURL(&w.URL) },
			"secret":  func(v value) { v.signingSecret(&w.Secret) },
			"active":  func(v value) { v.Boolean(&w.Active) },
			"events":  func(v value) { v.list(func(v value) { v.event(&w.Events) }) },
			"actions": func(v value) { v.list(func(v value) { v.actionPattern(&w.Actions) }) },
			"agents": func(v value) {
				v.list(func(v value) {
					if key := v.agentKey(c); key != "" {
						w.Agents = append(w.Agents, key)
					}
				})
			},
			"accounts": func(v value) {
				v.list(func(v value) {
					var id string
					if v.id(&id); id != "" {
						w.Accounts = append(w.Accounts, gateway.AccountID(id))
					}
				})
			},
			"headers":     func(v value) { v.headers(&w.Headers) },
			"ordered":     func(v value) { v.Boolean(&w.Ordered) },
			"concurrency": func(v value) { v.IntegerIn(&w.Concurrency, 1, gateway.MaxWebhookConcurrency) },
			"per_minute":  func(v value) { v.IntegerIn(&w.PerMinute, 1, gateway.MaxWebhookPerMinute) },
		})
		v.Require(set, "", map[string]bool{"id": w.Key == "", "url": w.URL == ""})
		v.Require(set, ", make one with: openssl rand -base64 32", map[string]bool{"secret": w.Secret == ""})
		// A list that was emptied, or commented out, must not open what it closed.
		for key, n := range map[string]int{"agents": len(w.Agents), "accounts": len(w.Accounts)} {
			if at, ok := set[key]; ok && n == 0 && !v.Faulty(at.Path) {
				at.Fault("must name one, remove it for a webhook that is told of all")
			}
		}
		ids.Once(set["id"], w.Key)
		c.Webhooks = append(c.Webhooks, w)
	})
}

// agentKey reads which agent a webhook is told of: one of the file, or the id of one
// that was made over the API.
func (v value) agentKey(c *Config) gateway.AgentID {
	s, ok := v.Scalar("the id of an agent")
	if !ok {
		return ""
	}
	if slices.ContainsFunc(c.Agents, func(a gateway.Agent) bool { return a.Key == s }) {
		return gateway.AgentID(s)
	}
	id, ok := gateway.ParseAgentID(s)
	if !ok && !v.Faulty("agents") {
		keys := make([]string, len(c.Agents))
		for i := range c.Agents {
			keys[i] = c.Agents[i].Key
		}
		v.Fault("no agent with this id stands under agents%s", spelling.Suggest(s, keys, "agents"))
	}
	return id
}

// headers reads what is sent with each attempt.
func (v value) headers(to *map[string]gateway.Secret) {
	all := map[string]gateway.Secret{}
	for name, at := range v.Entries(func(document.Value) {}, nil) {
		var s gateway.Secret
		if !(value{at}).secret(&s) {
			continue
		}
		if fault := gateway.HeaderFault(name, string(s)); fault != "" {
			at.Fault("%s", fault)
			continue
		}
		key := http.CanonicalHeaderKey(name)
		if _, ok := all[key]; ok {
			v.Fault("%s stands there twice, in small letters and large ones", key)
		}
		all[key] = s
	}
	if len(all) > gateway.MaxWebhookHeaders {
		v.Fault("must be at most %d", gateway.MaxWebhookHeaders)
	}
	if len(all) > 0 {
		*to = all
	}
}

// signingSecret reads whsec_ and base64, as Standard Webhooks write it, or a
// plain text.
func (v value) signingSecret(to *gateway.Secret) {
	var s gateway.Secret
	if !v.secret(&s) {
		return
	}
	if encoded, ok := strings.CutPrefix(string(s), "whsec_"); ok {
		if b, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(b) == 0 {
			v.Fault("must be base64 after whsec_, make one with: openssl rand -base64 32")
			return
		}
	}
	*to = s
}

func (v value) event(to *[]string) {
	s, ok := v.Scalar("the name of an event")
	if !ok {
		return
	}
	if !slices.Contains(gateway.Events(), s) {
		v.Fault("there is no such event%s", spelling.Suggest(s, gateway.Events(), "events"))
		return
	}
	*to = append(*to, s)
}

func (v value) actionPattern(to *[]string) {
	const want = "three segments in which * stands for anything, such as support.*.*"
	s, ok := v.Scalar(want)
	if !ok {
		return
	}
	if !gateway.ValidActionPattern(s) {
		v.Fault("must be %s", want)
		return
	}
	*to = append(*to, s)
}
