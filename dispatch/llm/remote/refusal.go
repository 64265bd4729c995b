package remote

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

// A Refusal is an HTTP answer that is no completion. Its text is safe to show: of
// what the server wrote it has only what looks like a code.
type Refusal struct {
	Status     int
	Inner      int           // a status that the body gives as its code, or 0
	late       bool          // it came in the middle of an answer
	code       string        // such as insufficient_quota; may be empty
	param      string        // the parameter that is wrong; may be empty
	words      string        // the server's own words, in lower case: to be looked into, never shown
	malformed  string        // what the model wrote, where the server refuses to pass it on as JSON
	retryAfter time.Duration // 0 where nobody said
}

// Error returns the status and the code.
func (a *Refusal) Error() string {
	switch {
	case a.late && a.code != "":
		return "an error (" + a.code + ")"
	case a.late:
		return "an error"
	case a.code != "" && a.param != "":
		return fmt.Sprintf("%d (%s: %s)", a.Status, a.code, a.param)
	case a.code != "" || a.param != "":
		return fmt.Sprintf("%d (%s)", a.Status, a.code+a.param)
	default:
		return strconv.Itoa(a.Status)
	}
}

// filtered is how servers say that they will not have the prompt, or the answer.
// It says nothing of the key, whatever the status.
var filtered = []string{
	"content_filter", "content_policy_violation", // OpenAI's, Azure's and Moonshot's codes
	"moderation_blocked", "flagged as potentially violating", // OpenAI
	"blocked by content filtering policy", // Anthropic
	"requires moderation",                 // OpenRouter, with 403
	"content violates usage guidelines",   // xAI, with 403
	"content exists risk",                 // DeepSeek
	"unsafe or sensitive content",         // Z.ai
}

// Filtered reports whether a content filter stopped the prompt or the answer.
func (a *Refusal) Filtered() bool {
	switch a.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return a.About(filtered...)
	}
	return false
}

// keyless is how servers say with another status than 401 that the key is wrong,
// or that nobody paid for it.
var keyless = []string{
	"api key not valid", "api_key_invalid", // Google, with 400
	"incorrect api key",         // xAI, with 400
	"insufficient_quota",        // OpenAI, with 429
	"exceeded_current_quota",    // Moonshot, with 429
	"insufficient balance",      // Z.ai, with 429
	"credit balance is too low", // Anthropic, with 400
}

// ofTheKey is how servers say with 403 that it is the key which may not, and not
// that they do not like the prompt.
var ofTheKey = []string{
	"permission_error", "permission_denied", // Anthropic, Google
	"unsupported_country", "access_denied", "account_deactivated", "billing", "api_key",
}

// tooLong is how servers say that a prompt is larger than what the model reads.
// They mean it only with a status of 400 or 422: with 429 it is a minute that is full.
var tooLong = []string{
	"context_length_exceeded",                                                             // OpenAI's and Groq's code
	"maximum context length",                                                              // OpenAI, DeepSeek, vLLM, OpenRouter, Together, Fireworks, Mistral
	"maximum prompt length",                                                               // xAI
	"exceeds the model's context", "exceeds the context window", "context length is only", // newer vLLM and OpenAI
	"longer than the model's context length",                     // SGLang
	"exceed_context_size_error", "exceeds the available context", // llama.cpp
	"exceeds the context length", "greater than the context length", // Ollama, LM Studio
	"prompt is too long", "exceed context limit", "prompt too long", // Anthropic, Ollama
	"exceeds the maximum number of tokens",                           // Google, after the number of the prompt's
	"reduce the length",                                              // Groq, and others beside their code
	"too large for model with",                                       // Mistral
	"request too large for model",                                    // Groq: more than its minute holds
	"input is too long for requested model", "too many input tokens", // Bedrock
	"exceeded model token limit",                 // Moonshot
	"context window exceeds limit",               // MiniMax
	"prompt exceeds max length",                  // Z.ai
	"`inputs` tokens + `max_new_tokens` must be", // Hugging Face, Together
}

// TooLong reports whether the prompt was larger than what the model, or the
// server, reads.
func (a *Refusal) TooLong() bool {
	switch a.Status {
	case http.StatusRequestEntityTooLarge:
		return true
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return a.About(tooLong...)
	}
	return false
}

// About reports whether what the server said has any of the words, which are in
// lower case.
func (a *Refusal) About(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(a.words, w) })
}

// code is what error codes and parameters look like. Keys do not.
var code = regexp.MustCompile(`^[a-z][a-z0-9_.\[\]]{0,63}$`)

// NewRefusal reads an error's body in the forms that servers have:
// {"error":{message,type,param,code}}, the same in an array, {"error":"…"} and
// {"message":"…"}, {"detail":"…"} and {"detail":[{type,loc,msg}]}; code may be a
// number. Nothing else in it is looked into: it may repeat what a customer wrote,
// or what the model did.
func NewRefusal(status int, h http.Header, body []byte) *Refusal {
	a := &Refusal{Status: status, retryAfter: retryAfter(h)}
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		var list []envelope
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			e = list[0]
		}
	}
	d := e.detail
	words := append(d.said(), said(e.Error)...)
	if len(e.Error) > 0 {
		var inner detail
		if json.Unmarshal(e.Error, &inner) == nil {
			d = inner
			words = append(words, d.said()...)
		}
	}
	a.words = strings.ToLower(strings.Join(words, "\n"))
	a.malformed, _ = d.Generation.(string)
	a.param = safe(d.Param)
	named, _ := d.Status.(string)
	a.code = cmp.Or(safe(d.Code), safe(d.Type), safe(strings.ToLower(named)))
	if n, ok := d.Code.(float64); ok && n == float64(int(n)) {
		a.Inner = int(n)
	}
	return a
}

// A detail is what servers say of an error.
type detail struct {
	Type       any             `json:"type"`
	Param      any             `json:"param"`
	Code       any             `json:"code"`
	Status     any             `json:"status"` // Google's name of the code: PERMISSION_DENIED
	Message    json.RawMessage `json:"message"`
	Detail     json.RawMessage `json:"detail"`
	Generation any             `json:"failed_generation"`
}

type envelope struct {
	Error json.RawMessage `json:"error"`
	detail
}

// said returns the words that are the server's own.
func (d *detail) said() []string {
	words := append(said(d.Message), said(d.Detail)...)
	for _, v := range []any{d.Type, d.Param, d.Code} {
		if s, ok := v.(string); ok {
			words = append(words, s)
		}
	}
	return words
}

// said returns the words of a message: a string, or, of FastAPI, a list of what is
// wrong with which part of the request, whose input is passed over; Mistral puts
// that list into an object, and older vLLMs into the string, as Python prints it.
func said(message json.RawMessage) []string {
	var text string
	if json.Unmarshal(message, &text) == nil {
		text, _, _ = strings.Cut(text, "'input':")
		return []string{text}
	}
	var in struct {
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(message, &in) == nil {
		message = in.Detail
	}
	var faults []struct {
		Type string `json:"type"`
		Loc  []any  `json:"loc"`
		Msg  string `json:"msg"`
	}
	if json.Unmarshal(message, &faults) != nil {
		return nil
	}
	var words []string
	for _, f := range faults {
		words = append(words, strings.TrimSuffix(fmt.Sprintln(f.Loc...), "\n"), f.Type, f.Msg)
	}
	return words
}

// Malformed returns what a model wrote that its server refuses to pass on, since
// it is not the JSON that was asked for (Groq's json_validate_failed), and whether
// it did. That says nothing of the request.
func (a *Refusal) Malformed() (text string, ok bool) {
	return a.malformed, a.code == "json_validate_failed"
}

// NewLateRefusal reads an error that came in the middle of an answer, after the
// status, which was 200. The status that it would have had as an answer of its
// own follows from its code.
func NewLateRefusal(body []byte) *Refusal {
	a := NewRefusal(http.StatusInternalServerError, nil, body)
	a.late = true
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(a.code, w) })
	}
	switch {
	case a.Inner >= 400 && a.Inner < 600:
		a.Status = a.Inner
	case has("rate_limit", "insufficient_quota"):
		a.Status = http.StatusTooManyRequests
	case has("authentication", "invalid_api_key", "permission", "billing"):
		a.Status = http.StatusUnauthorized
	case has("content_filter", "content_policy", "context_length", "invalid_request", "invalid_prompt"):
		a.Status = http.StatusBadRequest
	}
	return a
}

func safe(v any) string {
	s, _ := v.(string)
	if code.MatchString(s) {
		return s
	}
	return ""
}

// ClassifyRefusal turns an answer that is no completion into a gateway.Error.
func (p *Provider) ClassifyRefusal(a *Refusal) error {
	if p.Key != "" && (strings.Contains(a.code, string(p.Key)) || strings.Contains(a.param, string(p.Key))) {
		a.code, a.param = "", ""
	}
	e := &gateway.Error{Msg: p.Name + " answered " + a.Error(), RetryAfter: a.retryAfter}
	if a.late {
		e.Msg = p.Name + " broke off its answer with " + a.Error()
	}
	switch s := a.Status; {
	case a.TooLong():
		e.Kind = gateway.TooLong
	case s == http.StatusUnauthorized, s == http.StatusPaymentRequired:
		e.Kind = gateway.Unauthorized
	case s == http.StatusForbidden:
		e.Kind = gateway.Unauthorized
		if !slices.ContainsFunc(ofTheKey, func(w string) bool { return strings.Contains(a.code, w) }) {
			e.Err = llm.ErrThisPrompt
		}
	case (s == http.StatusTooManyRequests || s == http.StatusBadRequest) && a.About(keyless...):
		// No waiting helps an account without money.
		e.Kind = gateway.Unauthorized
	case s == http.StatusTooManyRequests:
		e.Kind = gateway.RateLimited
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusConflict, s == http.StatusTooEarly:
		e.Kind, e.Err = gateway.Unavailable, llm.ErrThisModel
	default:
		e.Kind = gateway.Invalid
	}
	return e
}

// retryAfter reads when to come back: retry-after-ms, which OpenAI sends, or
// Retry-After in seconds or as a date (RFC 9110, section 10.2.3). It is 0
// where nothing usable stands there, and at most a day.
func retryAfter(h http.Header) time.Duration {
	const day = 24 * time.Hour
	bound := func(n float64, unit time.Duration) time.Duration {
		if !(n > 0) { // NaN too
			return 0
		}
		return time.Duration(min(n*float64(unit), float64(day)))
	}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return bound(ms, time.Millisecond)
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return bound(s, time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), day)
	}
	return 0
}
