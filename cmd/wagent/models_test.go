package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"wagent/cmd/wagent/internal/config"
	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
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

// What the file says of streams reaches the server, of either protocol.
func TestAnswersComeAsStreamsWhereTheFileSaysSo(t *testing.T) {
	for _, kind := range []string{config.OpenAI, config.Anthropic} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %t", kind, stream), func(t *testing.T) {
				s := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: "hi"})}
				server := httptest.NewServer(s)
				t.Cleanup(server.Close)
				base := server.URL
				if kind == config.OpenAI {
					base += "/v1"
				}
				cfg := config.Default()
				cfg.Providers["local"] = config.Provider{Kind: kind, BaseURL: base, APIKey: "key", Stream: stream}
				m, err := newModels(&cfg, server.Client())
				if err != nil {
					t.Fatal(err)
				}
				model, _, name, err := m.Model("local/m")
				if err != nil {
					t.Fatal(err)
				}
				got, err := model.Generate(t.Context(), llm.Request{Model: name, MaxTokens: 10, Turns: []transcript.Turn{{Role: transcript.User, Text: "hello"}}})
				if err != nil || got.Text != "hi" || len(s.Requests()) != 1 || s.Requests()[0].Stream != stream {
					t.Errorf("%+v, %v; requests %+v", got, err, s.Requests())
				}
			})
		}
	}
}
