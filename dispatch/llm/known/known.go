// Package known is the table of providers that need no declaration: a model
// handle that begins with one of their names finds them. To add one that
// speaks OpenAI's protocol is to add a row.
//
// The facts are those of the providers' own documentation and libraries as of
// November 2026; none of them was asked. What a row does not say, or says
// wrongly of one model, [openai.Model] learns from what the server refuses. So a
// row is needed for what servers pass over in silence: Ollama and Z.ai take no
// notice of max_completion_tokens, and answer without a limit.
package known

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"wagent/dispatch/llm/anthropic"
	"wagent/dispatch/llm/openai"
	"wagent/gateway"
)

// A Provider is a row of the table.
type Provider struct {
	Name string
	// BaseURL is with the version. {region} stands in it for one of AWS. Empty: it
	// differs from one customer to the next, and has to be given.
	BaseURL   string
	Keys      []string // environment variables that hold its key; the first that is set counts
	Keyless   bool     // it may be asked without a key
	Anthropic bool     // it speaks Anthropic's protocol, not OpenAI's; then BaseURL is without the version
	Traits    openai.Traits
}

// RegionMark is what a region of AWS takes the place of in a base URL.
const RegionMark = "{region}"

// regions are the environment variables that name it, the most telling first.
var (
	regions = []string{"AWS_REGION", "AWS_DEFAULT_REGION"}
	region  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// table is in the order of the names.
var table = []Provider{
	{
		Name: "anthropic", BaseURL: anthropic.DefaultBaseURL, Keys: []string{"ANTHROPIC_API_KEY"}, Anthropic: true,
		Traits: openai.Traits{MaxTemperature: anthropic.MaxTemperature},
	},
	{
		Name: "azure", Keys: []string{"AZURE_OPENAI_API_KEY", "AZURE_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true, KeyHeader: "api-key"},
	},
	{Name: "baseten", BaseURL: "https://inference.baseten.co/v1", Keys: []string{"BASETEN_API_KEY"}},
	{
		Name: "bedrock", BaseURL: "https://bedrock-runtime." + RegionMark + ".amazonaws.com/openai/v1", Keys: []string{"AWS_BEARER_TOKEN_BEDROCK"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{ // refuses json_schema in Chat Completions
		Name: "deepseek", BaseURL: "https://api.deepseek.com/v1", Keys: []string{"DEEPSEEK_API_KEY"},
		Traits: openai.Traits{NoSchema: true},
	},
	{Name: "fireworks", BaseURL: "https://api.fireworks.ai/inference/v1", Keys: []string{"FIREWORKS_API_KEY"}},
	{Name: "google", BaseURL: "https://generativelanguage.googleapis.com/v1beta/openai", Keys: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}},
	{
		Name: "groq", BaseURL: "https://api.groq.com/openai/v1", Keys: []string{"GROQ_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{Name: "huggingface", BaseURL: "https://router.huggingface.co/v1", Keys: []string{"HF_TOKEN", "HUGGINGFACE_API_KEY"}},
	{Name: "llamacpp", BaseURL: "http://127.0.0.1:8080/v1", Keys: []string{"LLAMA_API_KEY"}, Keyless: true},
	{ // refuses json_object, which is then left out
		Name: "lmstudio", BaseURL: "http://127.0.0.1:1234/v1", Keys: []string{"LM_API_TOKEN"}, Keyless: true,
	},
	{Name: "minimax", BaseURL: "https://api.minimax.io/v1", Keys: []string{"MINIMAX_API_KEY"}, Traits: openai.Traits{MaxTemperature: 1}},
	{ // refuses what it does not know, max_completion_tokens included
		Name: "mistral", BaseURL: "https://api.mistral.ai/v1", Keys: []string{"MISTRAL_API_KEY"},
		Traits: openai.Traits{MaxTemperature: 1.5},
	},
	{
		Name: "moonshot", BaseURL: "https://api.moonshot.ai/v1", Keys: []string{"MOONSHOT_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true, MaxTemperature: 1},
	},
	{Name: "ollama", BaseURL: "http://127.0.0.1:11434/v1", Keys: []string{"OLLAMA_API_KEY"}, Keyless: true},
	{
		Name: "openai", BaseURL: openai.DefaultBaseURL, Keys: []string{"OPENAI_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{Name: "openrouter", BaseURL: "https://openrouter.ai/api/v1", Keys: []string{"OPENROUTER_API_KEY"}},
	{Name: "sglang", BaseURL: "http://127.0.0.1:30000/v1", Keys: []string{"SGLANG_API_KEY"}, Keyless: true},
	{Name: "together", BaseURL: "https://api.together.xyz/v1", Keys: []string{"TOGETHER_API_KEY"}},
	{Name: "vllm", BaseURL: "http://127.0.0.1:8000/v1", Keys: []string{"VLLM_API_KEY"}, Keyless: true},
	{
		Name: "xai", BaseURL: "https://api.x.ai/v1", Keys: []string{"XAI_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{ // has json_object only
		Name: "zai", BaseURL: "https://api.z.ai/api/paas/v4", Keys: []string{"ZAI_API_KEY"},
		Traits: openai.Traits{NoSchema: true, MaxTemperature: 1},
	},
}

// All yields the rows, in the order of their names.
func All() iter.Seq[Provider] { return slices.Values(table) }

// Kind is what the provider speaks, as a configuration has it.
func (p *Provider) Kind() string {
	if p.Anthropic {
		return "anthropic"
	}
	return "openai"
}

// Find returns the row of a name.
func Find(name string) (Provider, bool) {
	i, ok := slices.BinarySearchFunc(table, name, func(p Provider, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Provider{}, false
	}
	return table[i], true
}

// Fill takes from the environment what is missing of a base URL and of its key. A
// key never goes to another base URL than the one that it is for.
func (p *Provider) Fill(baseURL string, key gateway.Secret, env func(string) (string, bool)) (string, gateway.Secret) {
	if key == "" && (p.BaseURL == "" || p.BaseURL == baseURL) {
		key = gateway.Secret(first(p.Keys, env))
	}
	if name := first(regions, env); region.MatchString(name) {
		baseURL = strings.ReplaceAll(baseURL, RegionMark, name)
	}
	return baseURL, key
}

func first(names []string, env func(string) (string, bool)) string {
	for _, name := range names {
		if v, ok := env(name); ok && v != "" {
			return v
		}
	}
	return ""
}

// Lacks says what the provider can't be asked without, with this base URL and
// key, and where to give it: in the environment, or under the settings that
// begin with prefix. Empty: it can be asked. A base URL that is not the row's
// may need no key.
func (p *Provider) Lacks(baseURL string, key gateway.Secret, prefix string) string {
	before, after, regional := strings.Cut(p.BaseURL, RegionMark)
	own := baseURL == p.BaseURL || regional && strings.HasPrefix(baseURL, before) && strings.HasSuffix(baseURL, after)
	switch {
	case baseURL == "":
		return prefix + ".base_url"
	case strings.Contains(baseURL, RegionMark):
		return regions[0] + " in the environment, or " + prefix + ".base_url"
	case own && key == "" && !p.Keyless:
		return p.Keys[0] + " in the environment, or " + prefix + ".api_key"
	}
	return ""
}
