package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

func TestModelsOfHandles(t *testing.T) {
	cfg := config.Default()
	cfg.Providers["local"] = config.Provider{Kind: config.OpenAI, BaseURL: "http://127.0.0.1:11434/v1"}
	m, err := newModels(&cfg, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		handle, provider, name string
		kind                   gateway.Kind // of the error; Internal: none is wanted
	}{
		"a declared provider":                    {handle: "local/llama3:8b", provider: "local", name: "llama3:8b"},
		"a name with a slash":                    {handle: "local/meta/llama", provider: "local", name: "meta/llama"},
		"the scripted one":                       {handle: "scripted/default", provider: "scripted", name: "default"},
		"openai without a key is not even asked": {handle: "openai/gpt-4o-mini", kind: gateway.Unauthorized},
		"a bare model is openai's":               {handle: "gpt-4o-mini", kind: gateway.Unauthorized},
		"an unknown provider":                    {handle: "nosuch/x", kind: gateway.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			model, provider, short, err := m.Model(tt.handle)
			if tt.kind != gateway.Internal {
				if gateway.KindOf(err) != tt.kind {
					t.Errorf("Model(%q) = %v, want %v", tt.handle, err, tt.kind)
				}
				return
			}
			if err != nil || model == nil || provider != tt.provider || short != tt.name {
				t.Errorf("Model(%q) = %q, %q, %v", tt.handle, provider, short, err)
			}
		})
	}
	cfg.Providers[config.OpenAI] = config.Provider{Kind: config.OpenAI, BaseURL: cfg.Providers[config.OpenAI].BaseURL, APIKey: "key"}
	if m, err = newModels(&cfg, http.DefaultClient); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := m.Model("gpt-4o-mini"); err != nil {
		t.Errorf("with a key: %v", err)
	}
}

func TestTheAPIRefusesSettingsThatAProviderDoesNotHave(t *testing.T) {
	t.Setenv("MISTRAL_API_KEY", "k")
	inWorld(t, nil, echo, func(w *world) {
		for name, tt := range map[string]struct {
			agent string
			want  int
		}{
			"a setting that it has":            {`"model":"mistral/m","temperature":1.5`, http.StatusCreated},
			"one that it has not":              {`"model":"mistral/m","temperature":1.6`, http.StatusUnprocessableEntity},
			"that a fallback has not":          {`"models":["fake/m","mistral/m"],"temperature":1.6`, http.StatusUnprocessableEntity},
			"of a provider that nobody knows":  {`"model":"nobody/m","temperature":1.6`, http.StatusCreated},
			"a seed where there is none":       {`"model":"anthropic/claude-x","model_settings":{"seed":1}`, http.StatusUnprocessableEntity},
			"what is wrong all by itself, too": {`"model":"mistral/m","temperature":3`, http.StatusUnprocessableEntity},
		} {
			body := json.RawMessage(`{"agent":{"name":"X","system_prompt":"p",` + tt.agent + `}}`)
			if code := w.call(http.MethodPost, "/api/v1/agents", body, nil); code != tt.want {
				w.Errorf("%s: %d, want %d", name, code, tt.want)
			}
		}
	})
}
