package main

import (
	"fmt"
	"net/http"
	"strings"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/openai"
	"wagent/dispatch/llm/scripted"
	"wagent/gateway"
)

// models are the providers by the names that model handles begin with; nil for
// one that can't be asked.
type models map[string]llm.Model

func newModels(cfg *config.Config, client *http.Client) (models, error) {
	out := models{}
	for name, p := range cfg.Providers {
		if name == config.OpenAI && p.APIKey == "" && p.BaseURL == config.Default().Providers[name].BaseURL {
			out[name] = nil // it would refuse every prompt, after having read it
			continue
		}
		if p.Kind == config.OpenAI {
			out[name] = openai.New(openai.Config{Name: name, BaseURL: p.BaseURL, APIKey: p.APIKey, HTTPClient: client})
			continue
		}
		rules := p.Rules
		if rules == nil {
			rules = scripted.Default()
		}
		m, err := scripted.New(rules)
		if err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
		out[name] = m
	}
	return out, nil
}

// Model satisfies agent.Models. A handle without a provider means openai's.
func (m models) Model(handle string) (llm.Model, string, string, error) {
	provider, name, ok := strings.Cut(handle, "/")
	if !ok {
		provider, name = config.OpenAI, handle
	}
	model, ok := m[provider]
	if !ok {
		return nil, "", "", &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("no provider is named %q", provider)}
	}
	if model == nil {
		return nil, "", "", &gateway.Error{Kind: gateway.Unauthorized, Msg: fmt.Sprintf("provider %s has no api_key in the configuration", provider)}
	}
	return model, provider, name, nil
}
