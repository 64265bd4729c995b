package config

import (
	"encoding/base64"
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
	v.matching(to, declaredID, "letters, digits, dots, dashes and underscores, at most 64")
}

func (v value) matching(to *string, re *regexp.Regexp, want string) {
	s, ok := v.Scalar(want)
	switch {
	case !ok || s == "":
	case !re.MatchString(s):
		v.Fault("must be %s", want)
	default:
		*to = s
	}
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
		})
		v.Require(set, "", map[string]bool{"id": w.Key == "", "url": w.URL == ""})
		v.Require(set, ", make one with: openssl rand -base64 32", map[string]bool{"secret": w.Secret == ""})
		ids.Once(set["id"], w.Key)
		c.Webhooks = append(c.Webhooks, w)
	})
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
