// Package llm is what wagent asks of a language model, in terms that belong to
// no provider. Each provider is a subpackage that satisfies [Model]; none of
// them retries: the caller decides by the kind of the error.
//
// It holds no state. A request that a crash interrupts is made again by
// whoever claims the run next.
package llm

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"wagent/context/transcript"
	"wagent/gateway"
)

// A Model generates answers. Its methods are safe for concurrent use.
type Model interface {
	// Generate makes one request. Only where a server refuses a part of it
	// that has a substitute (a way to ask for JSON, the name of a parameter)
	// is it made again, with the substitute.
	//
	// Its error is a gateway.Error whose kind says what to do: RateLimited and
	// Unavailable may be repeated, Unauthorized and Invalid may not; TooLong asks
	// for a shorter prompt. The
	// error's text holds no key and no customer's words. When ctx ends the
	// error wraps ctx's. What may be nobody else's trouble wraps ErrThisModel or
	// ErrThisPrompt.
	Generate(ctx context.Context, r Request) (Response, error)
}

var (
	// ErrThisModel is wrapped by the Unavailable errors of servers that did answer:
	// the provider can be reached, and its other models may be well.
	ErrThisModel = errors.New("it may be this model alone")
	// ErrThisPrompt is wrapped by the Unauthorized errors that need not be about
	// the key, such as those of a firewall that does not like what a customer wrote.
	ErrThisPrompt = errors.New("it may be this prompt alone")
)

// A Request is what a model is asked.
type Request struct {
	Model       string // the provider's name for the model, without the provider
	System      string
	Stable      int               // how many bytes System begins with that many requests share, for providers that are told what to cache; 0: nothing is worth it
	Turns       []transcript.Turn // the last one is the user's
	Repair      bool              // the last two turns are an answer that was wrong, and what is wrong with it
	Schema      json.RawMessage   // JSON Schema that the answer must satisfy; nil: free text
	Strict      bool              // Schema keeps to what strict modes can express
	Temperature float64
	MaxTokens   int
	Settings    gateway.ModelSettings
	CacheKey    string // of requests that begin alike, such as an agent's id, for providers that keep prompts by a key; at most 64 characters; may be empty
}

// A Response is what a model answered.
type Response struct {
	Text         string
	Truncated    bool   // it ended at MaxTokens
	Refused      bool   // the model or a content filter would not answer; Text may say why
	Model        string // as the provider reports it; may be empty
	InputTokens  int    // of the whole prompt, what came from a cache included
	CachedTokens int    // how many of InputTokens the provider had in its cache
	OutputTokens int
	Latency      time.Duration
}
