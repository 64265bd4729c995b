package main

import (
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
