package config

import (
	"strings"
	"testing"
)

// TestSettingsThatAProviderDoesNotHave are told where the agent stands, and those
// of a provider where it stands.
func TestSettingsThatAProviderDoesNotHave(t *testing.T) {
	agent := func(model, more string) string {
		return "providers: {anthropic: {api_key: k}, mistral: {api_key: k}}\naccounts: [{id: a, kind: sandbox}]\nagents:\n  - {id: x, name: X, account: a, system_prompt: p,\n     model: " + model + more + "}"
	}
	tests := map[string]struct{ src, want string }{
		"an API that is none":      {"providers: {openai: {api: soap}}", "providers.openai.api"},
		"an API of Anthropic's":    {"providers: {anthropic: {api: chat}}", "providers.anthropic.api: means nothing"},
		"a stream of a script":     {"providers: {scripted: {stream: true}}", "providers.scripted.stream: means nothing"},
		"too hot for Anthropic":    {agent("anthropic/claude-x", ", temperature: 1.5"), "anthropic takes a temperature of at most 1"},
		"too hot for another one":  {agent("mistral/m", ", temperature: 1.6"), "mistral takes a temperature of at most 1.5"},
		"as hot as it may just be": {agent("mistral/m", ", temperature: 1.5"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.src), func(string) (string, bool) { return "", false })
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}
