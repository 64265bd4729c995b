package main

import (
	"fmt"
	"net/http"
	"strings"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/anthropic"
	"wagent/dispatch/llm/openai"
	"wagent/dispatch/llm/scripted"
	"wagent/gateway"
)

// models are the providers by the names that model handles begin with.
type models map[string]provider

// A provider is a model, or what it can't be asked without.
type provider struct {
	llm.Model
	lacks string
}

func newModels(cfg *config.Config, client *http.Client) (models, error) {
	out := models{}
	for name, p := range cfg.Providers {
		if lacks := cfg.Lacks(name); lacks != "" {
			out[name] = provider{lacks: lacks}
			continue
		}
		switch p.Kind {
		case config.OpenAI:
			out[name] = provider{Model: openai.New(openai.Config{Name: name, BaseURL: p.BaseURL, APIKey: p.APIKey, HTTPClient: client, Traits: p.Traits, Stream: p.Stream})}
		case config.Anthropic:
			out[name] = provider{Model: anthropic.New(anthropic.Config{Name: name, BaseURL: p.BaseURL, APIKey: p.APIKey, HTTPClient: client, Stream: p.Stream})}
		default:
			rules := p.Rules
			if rules == nil {
				rules = scripted.Default()
			}
			m, err := scripted.New(rules)
			if err != nil {
				return nil, fmt.Errorf("providers.%s: %w", name, err)
			}
			out[name] = provider{Model: m}
		}
	}
	return out, nil
}

// takes returns what checks that the providers of an agent's models have its
// settings. What no provider is known for is left to the run.
func takes(cfg *config.Config) func(*gateway.Agent) error {
	return func(a *gateway.Agent) error {
		var faults []string
		for _, handle := range append([]string{a.Model}, a.Fallbacks...) {
			err := cfg.Takes(handle, llm.Request{Temperature: a.Temperature, MaxTokens: a.MaxTokens, Settings: a.Settings})
			if err != nil {
				faults = append(faults, err.Error())
			}
		}
		if faults == nil {
			return nil
		}
		return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"model": faults}}
	}
}

// Model satisfies agent.Models. A handle without a provider means openai's.
func (m models) Model(handle string) (llm.Model, string, string, error) {
	name, model, ok := strings.Cut(handle, "/")
	if !ok {
		name, model = config.OpenAI, handle
	}
	p, ok := m[name]
	if !ok {
		return nil, "", "", &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("no provider is named %q", name)}
	}
	if p.lacks != "" {
		return nil, "", "", &gateway.Error{Kind: gateway.Unauthorized, Msg: fmt.Sprintf("provider %s can not be asked without %s", name, p.lacks)}
	}
	return p.Model, name, model, nil
}
