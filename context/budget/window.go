package budget

import (
	"slices"
	"strings"
)

// unknown is what a model is taken to read of which nothing is known: hardly
// any that is served today reads less.
const unknown = 8192

// local is what the servers give a model to read unless their operator says
// otherwise, whatever it could: 4,096 tokens in Ollama on most machines
// (docs/context-length.mdx) and in LM Studio. Ollama cuts off longer prompts
// without a word.
const local = 4096

var locals = []string{"ollama", "lmstudio", "llamacpp"}

// windows are what models read, in tokens, by how their names begin; the
// longest beginning counts. Where the input has a limit of its own, or the
// versions of a model differ, it is the smaller number.
var windows = map[string]int{
	// platform.openai.com/docs/models; GPT-5's 400,000 hold an answer of 128,000
	"gpt-5": 272_000, "gpt-5-chat": 128_000, "gpt-4.1": 1_047_576, "gpt-4o": 128_000, "chatgpt-4o": 128_000,
	"gpt-4-turbo": 128_000, "gpt-4-1106": 128_000, "gpt-4-0125": 128_000, "gpt-4-32k": 32_768, "gpt-4": 8_192, "gpt-3.5-turbo": 16_385,
	"o1": 200_000, "o1-mini": 128_000, "o1-preview": 128_000, "o3": 200_000, "o4-mini": 200_000, "gpt-oss": 131_072,
	// docs.anthropic.com/en/docs/about-claude/models: the newest read a million
	"claude": 200_000,
	// ai.google.dev/gemini-api/docs/models
	"gemini": 1_048_576, "gemini-1.0": 32_768,
	// docs.mistral.ai/getting-started/models
	"mistral-large": 128_000, "mistral-medium": 128_000, "mistral-small": 32_000, "ministral": 128_000, "open-mistral-nemo": 128_000, "open-mixtral": 32_000,
	// api-docs.deepseek.com/quick_start/pricing
	"deepseek-chat": 128_000, "deepseek-reasoner": 128_000, "deepseek-v3": 128_000, "deepseek-r1": 128_000,
	// docs.x.ai/docs/models
	"grok-4": 256_000, "grok-3": 131_072, "grok-2": 131_072,
	// the models' cards on huggingface.co
	"llama-3": 8_192, "llama-3.1": 131_072, "llama-3.2": 131_072, "llama-3.3": 131_072, "llama-4": 131_072,
	"meta-llama-3": 8_192, "meta-llama-3.1": 131_072, "qwen2.5": 32_768, "qwen3": 32_768, "gemma-3": 32_768,
	// platform.moonshot.ai, docs.z.ai and platform.minimax.io
	"kimi-k2": 131_072, "moonshot-v1-32k": 32_768, "moonshot-v1-128k": 131_072,
	"glm-4.5": 131_072, "glm-4.6": 200_000, "glm-4.7": 200_000, "glm-5": 200_000, "minimax-m2": 200_000,
}

var beginnings = func() []string {
	var out []string
	for b := range windows {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}()

// Window returns how many tokens the model of a handle reads, its answer
// included. It is 8,192 for a model that we do not know, and 4,096 for what a
// server on the operator's own machine may have been started with; an agent
// that knows better says so in its Compaction.MaxTokens.
func Window(handle string) int {
	provider, name := split(handle)
	if slices.Contains(locals, provider) {
		return local
	}
	for _, b := range beginnings {
		if strings.HasPrefix(name, b) {
			return windows[b]
		}
	}
	return unknown
}

// split returns a handle's provider and the model's name, in lower case and
// without the maker's name that some providers put before it:
// openrouter/anthropic/claude-sonnet-4.
func split(handle string) (provider, name string) {
	handle = strings.ToLower(handle)
	provider, name, ok := strings.Cut(handle, "/")
	if !ok {
		return "openai", handle
	}
	return provider, name[strings.LastIndexByte(name, '/')+1:]
}

// The families of models by what is known of their vocabulary.
const (
	others = iota
	newer  // o200k_base
	older  // cl100k_base
)

func family(name string) int {
	for _, b := range []string{"gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "gpt-oss", "o1", "o3", "o4"} {
		if strings.HasPrefix(name, b) {
			return newer
		}
	}
	if strings.HasPrefix(name, "gpt-4") || strings.HasPrefix(name, "gpt-3.5") {
		return older
	}
	return others
}
