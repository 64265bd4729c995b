package config

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/gateway"
)

// httpURL reads the URL of a server. What is wrong with a URL is not repeated:
// it may hold a password.
func (v value) httpURL(to *string) {
	var s gateway.Secret
	if !v.secret(&s) {
		return
	}
	if !document.IsURL(string(s), "https", "http") {
		v.Fault("must be a URL such as https://example.com/v1")
		return
	}
	*to = string(s)
}

// baseURL reads a URL that paths are appended to.
func (v value) baseURL(to *string) {
	v.httpURL(to)
	*to = strings.TrimRight(*to, "/")
}

// emptyEnv faults a server that the environment was asked for and that is empty
// there: what was left out by mistake must not mean the built-in one, which
// other replicas do not see and which a container forgets.
func (v value) emptyEnv() bool {
	name := v.AsksEnv()
	if name == "" {
		return false
	}
	s, _ := v.Walk.Env(name)
	if s == "" {
		v.Fault("%s is empty in the environment, set it, or write \"\" here for the built-in one", name)
	}
	return s == ""
}

func (v value) databaseURL(to *gateway.Secret) {
	var s gateway.Secret
	if !v.secret(&s) || v.emptyEnv() || s == "" {
		return
	}
	if !document.IsURL(string(s), "postgres", "postgresql") {
		v.Fault("must be a URL such as postgres://user:password@host/database, or empty for SQLite")
		return
	}
	*to = s
}

// redisURLs reads one URL, several in one text with commas between, or a list.
func (v value) redisURLs(to *[]gateway.Secret) {
	var all []gateway.Secret
	add := func(v value) {
		var s gateway.Secret
		if !v.secret(&s) || v.emptyEnv() {
			return
		}
		for _, one := range splitURLs(string(s)) {
			if _, err := redis.ParseURL(one); err != nil || !document.IsURL(one, "redis", "rediss") {
				v.Fault("must be a URL such as redis://host:6379, or empty for the built-in one")
				return
			}
			all = append(all, gateway.Secret(one))
		}
	}
	if v.IsList() {
		v.list(add)
	} else {
		add(v)
	}
	tls := func(s gateway.Secret) bool { return strings.HasPrefix(string(s), "rediss:") }
	for _, s := range all {
		if tls(s) != tls(all[0]) {
			v.Fault("the nodes of a cluster must be all redis:// or all rediss://")
			return
		}
	}
	*to = all
}

// splitURLs splits s at the commas that a scheme follows: a password may hold
// others.
func splitURLs(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		switch {
		case len(out) == 0 || strings.HasPrefix(part, "redis:") || strings.HasPrefix(part, "rediss:"):
			out = append(out, part)
		default:
			out[len(out)-1] += "," + part
		}
	}
	if s == "" {
		return nil
	}
	return out
}
