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

	"wagent/dispatch/llm"
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
	},
	{
		Name: "azure", Keys: []string{"AZURE_OPENAI_API_KEY", "AZURE_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true, API: openai.Auto, CacheKey: true, KeyHeader: "api-key"},
	},
	{Name: "baseten", BaseURL: "https://inference.baseten.co/v1", Keys: []string{"BASETEN_API_KEY"}},
	{
		Name: "bedrock", BaseURL: "https://bedrock-runtime." + RegionMark + ".amazonaws.com/openai/v1", Keys: []string{"AWS_BEARER_TOKEN_BEDROCK"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{ // refuses json_schema in Chat Completions; api-docs.deepseek.com, guides/thinking_mode and api/create-chat-completion
		Name: "deepseek", BaseURL: "https://api.deepseek.com/v1", Keys: []string{"DEEPSEEK_API_KEY"},
		Traits: openai.Traits{NoSchema: true, Seed: openai.None, ThinkingNo: true, NoParallel: true},
	},
	{Name: "fireworks", BaseURL: "https://api.fireworks.ai/inference/v1", Keys: []string{"FIREWORKS_API_KEY"}},
	{ // ai.google.dev, gemini-api/docs/openai: the budget is one of the fields that are Google's own
		Name: "google", BaseURL: "https://generativelanguage.googleapis.com/v1beta/openai", Keys: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"},
		Traits: openai.Traits{Budget: "extra_body.google.thinking_config.thinking_budget"},
	},
	{ // groq-python's CompletionCreateParams
		Name: "groq", BaseURL: "https://api.groq.com/openai/v1", Keys: []string{"GROQ_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{Name: "huggingface", BaseURL: "https://router.huggingface.co/v1", Keys: []string{"HF_TOKEN", "HUGGINGFACE_API_KEY"}},
	{ // tools/server/README.md: how hard to think is the template's to say
		Name: "llamacpp", BaseURL: "http://127.0.0.1:8080/v1", Keys: []string{"LLAMA_API_KEY"}, Keyless: true,
		Traits: openai.Traits{Effort: "chat_template_kwargs.reasoning_effort", Budget: "thinking_budget_tokens"},
	},
	{ // refuses json_object, which is then left out; lmstudio.ai/docs, OpenAI compatibility, lists neither an effort nor parallel calls
		Name: "lmstudio", BaseURL: "http://127.0.0.1:1234/v1", Keys: []string{"LM_API_TOKEN"}, Keyless: true,
		Traits: openai.Traits{Effort: openai.None, NoParallel: true},
	},
	{ // platform.minimax.io, text-openai-api: thinking is off or adaptive, there is nothing between
		Name: "minimax", BaseURL: "https://api.minimax.io/v1", Keys: []string{"MINIMAX_API_KEY"},
		Traits: openai.Traits{MaxTemperature: 1, Seed: openai.None, Efforts: "none", ThinkingNo: true},
	},
	{ // refuses what it does not know, max_completion_tokens included; client-python's ChatCompletionRequest
		Name: "mistral", BaseURL: "https://api.mistral.ai/v1", Keys: []string{"MISTRAL_API_KEY"},
		Traits: openai.Traits{MaxTemperature: 1.5, Seed: "random_seed"},
	},
	{ // platform.kimi.ai, api/chat: newer models have an effort, the older ones only switch thinking off
		Name: "moonshot", BaseURL: "https://api.moonshot.ai/v1", Keys: []string{"MOONSHOT_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true, CacheKey: true, MaxTemperature: 1, Seed: openai.None, ThinkingNo: true, NoParallel: true},
	},
	{ // docs.ollama.com, api/openai-compatibility
		Name: "ollama", BaseURL: "http://127.0.0.1:11434/v1", Keys: []string{"OLLAMA_API_KEY"}, Keyless: true,
		Traits: openai.Traits{NoParallel: true},
	},
	{
		Name: "openai", BaseURL: openai.DefaultBaseURL, Keys: []string{"OPENAI_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true, API: openai.Auto, CacheKey: true},
	},
	{ // openrouter.ai/docs, reasoning tokens: one object for all the models behind it
		Name: "openrouter", BaseURL: "https://openrouter.ai/api/v1", Keys: []string{"OPENROUTER_API_KEY"},
		Traits: openai.Traits{Effort: "reasoning.effort", Budget: "reasoning.max_tokens"},
	},
	{Name: "sglang", BaseURL: "http://127.0.0.1:30000/v1", Keys: []string{"SGLANG_API_KEY"}, Keyless: true},
	{Name: "together", BaseURL: "https://api.together.xyz/v1", Keys: []string{"TOGETHER_API_KEY"}},
	{ // vllm/entrypoints/openai/chat_completion/protocol.py
		Name: "vllm", BaseURL: "http://127.0.0.1:8000/v1", Keys: []string{"VLLM_API_KEY"}, Keyless: true,
		Traits: openai.Traits{Budget: "thinking_token_budget"},
	},
	{
		Name: "xai", BaseURL: "https://api.x.ai/v1", Keys: []string{"XAI_API_KEY"},
		Traits: openai.Traits{CompletionTokens: true},
	},
	{ // has json_object only: its tool_choice is auto, which forces nothing; docs.z.ai, guides/capabilities/thinking-mode
		Name: "zai", BaseURL: "https://api.z.ai/api/paas/v4", Keys: []string{"ZAI_API_KEY"},
		Traits: openai.Traits{NoSchema: true, NoTools: true, MaxTemperature: 1, Seed: openai.None, ThinkingNo: true, NoParallel: true},
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

// Check returns an Error of kind Invalid that names the first setting of a
// request which a provider is known not to have, or not with that value; nil if
// there is none. No request is made. kind is what the provider speaks, as
// [Provider.Kind] has it; for any other one nothing is known.
func Check(kind, name string, traits *openai.Traits, r *llm.Request) error {
	switch kind {
	case "anthropic":
		return anthropic.Check(name, r)
	case "openai":
		return traits.Check(name, r)
	default:
		return nil
	}
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
