package config

import (
	"os"
	"strings"
	"testing"

	"wagent/dispatch/llm/known"
	"wagent/gateway"
)

// TestKnownProvidersAreFilled from the environment, and say what they lack.
func TestKnownProvidersAreFilled(t *testing.T) {
	tests := map[string]struct {
		src, provider string
		env           map[string]string
		want          Provider // less its traits
		lacks         string
	}{
		"its key is in the environment": {
			"", "groq",
			map[string]string{"GROQ_API_KEY": "gsk"},
			Provider{Kind: OpenAI, BaseURL: "https://api.groq.com/openai/v1", APIKey: "gsk"},
			"",
		},
		"the first of several": {
			"", "google",
			map[string]string{"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": "a"},
			Provider{Kind: OpenAI, BaseURL: "https://generativelanguage.googleapis.com/v1beta/openai", APIKey: "a"},
			"",
		},
		"the next, where the first is empty": {
			"", "google",
			map[string]string{"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": ""},
			Provider{Kind: OpenAI, BaseURL: "https://generativelanguage.googleapis.com/v1beta/openai", APIKey: "b"},
			"",
		},
		"its key is nowhere": {
			"", "openai", nil,
			Provider{Kind: OpenAI, BaseURL: "https://api.openai.com/v1"},
			"OPENAI_API_KEY in the environment, or providers.openai.api_key",
		},
		"the file goes before the environment": {
			"providers: {groq: {api_key: of-the-file}}", "groq",
			map[string]string{"GROQ_API_KEY": "gsk"},
			Provider{Kind: OpenAI, BaseURL: "https://api.groq.com/openai/v1", APIKey: "of-the-file"},
			"",
		},
		"a key goes nowhere else": {
			"providers: {openai: {base_url: 'http://127.0.0.1:1/v1'}}", "openai",
			map[string]string{"OPENAI_API_KEY": "sk"},
			Provider{Kind: OpenAI, BaseURL: "http://127.0.0.1:1/v1"},
			"",
		},
		"one on this machine needs none": {
			"", "ollama", nil, Provider{Kind: OpenAI, BaseURL: "http://127.0.0.1:11434/v1"}, "",
		},
		"one without a URL of its own": {
			"", "azure", map[string]string{"AZURE_API_KEY": "k"}, Provider{Kind: OpenAI, APIKey: "k"}, "providers.azure.base_url",
		},
		"and with one": {
			"providers: {azure: {base_url: 'https://x.openai.azure.com/openai/v1'}}", "azure",
			map[string]string{"AZURE_API_KEY": "k"},
			Provider{Kind: OpenAI, BaseURL: "https://x.openai.azure.com/openai/v1", APIKey: "k"},
			"",
		},
		"a region": {
			"", "bedrock",
			map[string]string{"AWS_DEFAULT_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": "k"},
			Provider{Kind: OpenAI, BaseURL: "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", APIKey: "k"},
			"",
		},
		"a region without a key": {
			"", "bedrock",
			map[string]string{"AWS_REGION": "eu-west-1"},
			Provider{Kind: OpenAI, BaseURL: "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"},
			"AWS_BEARER_TOKEN_BEDROCK in the environment, or providers.bedrock.api_key",
		},
		"what is no region": {
			"", "bedrock",
			map[string]string{"AWS_REGION": "evil.example/"},
			Provider{Kind: OpenAI, BaseURL: "https://bedrock-runtime.{region}.amazonaws.com/openai/v1"},
			"AWS_REGION in the environment, or providers.bedrock.base_url",
		},
		"a name that is used otherwise": {
			"providers: {groq: {kind: scripted}}", "groq", map[string]string{"GROQ_API_KEY": "gsk"}, Provider{Kind: Scripted}, "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			env := func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok }
			c, err := Parse([]byte(tt.src), env)
			if err != nil {
				t.Fatal(err)
			}
			p := c.Providers[tt.provider]
			if p.Kind != tt.want.Kind || p.BaseURL != tt.want.BaseURL || p.APIKey != tt.want.APIKey {
				t.Errorf("%s at %q with %q, want %s at %q with %q", p.Kind, p.BaseURL, string(p.APIKey), tt.want.Kind, tt.want.BaseURL, string(tt.want.APIKey))
			}
			if got := c.Lacks(tt.provider); got != tt.lacks {
				t.Errorf("it lacks %q, want %q", got, tt.lacks)
			}
		})
	}
	if c, err := Load("", func(name string) (string, bool) { return "sk", name == "OPENAI_API_KEY" }); err != nil || c.Providers[OpenAI].APIKey != gateway.Secret("sk") {
		t.Errorf("without a file the key is %q, %v", string(c.Providers[OpenAI].APIKey), err)
	}
}

// TestTheReferenceNamesEachKnownProvider, and where its key is looked for.
func TestTheReferenceNamesEachKnownProvider(t *testing.T) {
	src, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(strings.ReplaceAll(string(src), "#", " ")), " ")
	for row := range known.All() {
		want := row.Name + " (" + row.Keys[0]
		if row.Keyless {
			want = row.Name
		}
		if !strings.Contains(words, want) {
			t.Errorf("configs/wagent.yaml does not have %q", want)
		}
	}
}
