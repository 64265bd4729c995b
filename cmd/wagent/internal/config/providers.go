package config

import (
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/cmd/wagent/internal/config/spelling"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/known"
	"wagent/dispatch/llm/openai"
	"wagent/dispatch/llm/scripted"
)

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// providers reads the providers over those that need no declaration.
func (v value) providers(c *Config) {
	set := v.Entries(func(document.Value) {}, nil)
	for name, at := range set {
		if !providerName.MatchString(name) {
			at.Fault("a provider's name must be of small letters, digits, dashes and underscores")
			continue
		}
		p, there := c.Providers[name]
		if at.Null() {
			if !there {
				at.Fault("has no settings, give it a kind and a base_url")
			}
			continue
		}
		value{at}.provider(&p)
		c.Providers[name] = p
	}
}

func (v value) provider(p *Provider) {
	set := v.mapping(fields{
		"kind":     func(v value) { v.OneOf(&p.Kind, OpenAI, Anthropic, Scripted) },
		"base_url": func(v value) { v.baseURL(&p.BaseURL) },
		"api_key":  func(v value) { v.secret(&p.APIKey) },
		"rules":    func(v value) { v.rules(&p.Rules) },
		"api":      func(v value) { v.OneOf(&p.Traits.API, openai.Chat, openai.Responses) },
		"stream":   func(v value) { v.Boolean(&p.Stream) },
	})
	v.Require(set, ", it is openai, anthropic or scripted", map[string]bool{"kind": p.Kind == ""})
	foreign := map[string][]string{OpenAI: {"rules"}, Anthropic: {"rules", "api"}, Scripted: {"base_url", "api_key", "api", "stream"}}[p.Kind]
	for _, key := range foreign {
		if at, ok := set[key]; ok && !at.Null() {
			at.Fault("means nothing to a provider of kind %s, remove it", p.Kind)
		}
	}
	if at, ok := set["base_url"]; ok && p.Kind != Scripted && !v.Faulty(at.Path) {
		if u, err := url.Parse(p.BaseURL); err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			at.Fault("must have no user, query or fragment, a key goes into api_key")
		}
	}
	if p.Kind == Scripted {
		p.BaseURL = ""
	} else if p.Kind != "" {
		v.Require(set, " for a provider of kind "+p.Kind, map[string]bool{"base_url": p.BaseURL == ""})
	}
}

// rules reads the rules of a scripted provider: the name of a file, or the
// rules themselves, in which ${NAME} means nothing.
func (v value) rules(to *[]byte) {
	read := func(v value) ([]byte, bool) { return v.Inline() }
	if v.Node.Kind == yaml.ScalarNode {
		read = value.fileContent
	}
	src, ok := read(v)
	if !ok {
		return
	}
	if _, err := scripted.New(src); err != nil {
		v.Fault("%s (its lines are those of the rules)", strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	*to = src
}

func (v value) fileContent() ([]byte, bool) {
	name, ok := v.Scalar("the name of a file, or the rules themselves")
	if !ok {
		return nil, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(v.Walk.Dir, name)
	}
	src, err := document.ReadFile(name)
	if err != nil {
		v.Fault("%s", err.Error())
	}
	return src, err == nil
}

// model checks that the provider of a model is known and usable, and has the
// settings that it is asked with.
func (v value) model(c *Config, handle string, ask llm.Request) {
	name, model := provider(handle)
	_, there := c.Providers[name]
	switch {
	case v.Faulty(document.Join("providers", name)):
	case strings.TrimSpace(model) == "" || strings.ContainsAny(handle, " \t\r\n"):
		v.Fault("must be provider/model, such as openai/gpt-4o-mini")
	case !there:
		v.Fault("declare the provider %.40q under providers, with kind and base_url%s", name,
			spelling.Suggest(name, slices.Collect(maps.Keys(c.Providers)), "known ones"))
	case c.Lacks(name) != "":
		v.Fault("the provider %s can not be asked yet, set %s", name, c.Lacks(name))
	default:
		if err := c.Takes(handle, ask); err != nil {
			v.Fault("%s", err.Error())
		}
	}
}

// provider returns the name of a handle's provider, and the provider's name of
// the model.
func provider(handle string) (name, model string) {
	name, model, ok := strings.Cut(handle, "/")
	if !ok {
		return OpenAI, handle
	}
	return name, model
}

// Takes returns an Error of kind Invalid that names the first setting of a
// request which the provider of a handle is known not to have, or not with that
// value; nil if there is none, or no such provider.
func (c *Config) Takes(handle string, r llm.Request) error {
	name, model := provider(handle)
	p, ok := c.Providers[name]
	if !ok {
		return nil
	}
	r.Model = model
	return known.Check(p.Kind, name, &p.Traits, &r)
}

// fill takes from the environment what known providers have no setting for.
func (c *Config) fill(env func(string) (string, bool)) {
	for row := range known.All() {
		if p := c.Providers[row.Name]; p.Kind == row.Kind() {
			p.BaseURL, p.APIKey = row.Fill(p.BaseURL, p.APIKey, env)
			c.Providers[row.Name] = p
		}
	}
}

// Lacks says what a provider can't be asked without, and where to give it, if anything.
func (c *Config) Lacks(name string) string {
	if row, ok := known.Find(name); ok && c.Providers[name].Kind == row.Kind() {
		return row.Lacks(c.Providers[name].BaseURL, c.Providers[name].APIKey, "providers."+name)
	}
	return ""
}
