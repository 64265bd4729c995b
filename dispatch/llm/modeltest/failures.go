package modeltest

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// failures is the table of what servers do instead of answering.
func (s Suite) failures(t *testing.T) {
	const noObject = "answered 200 with what is no JSON object"
	reply := func(status int, code string) llmtest.Reply { return llmtest.Reply{Status: status, Code: code} }
	after := func(status int, h http.Header) llmtest.Reply {
		return llmtest.Reply{Status: status, Code: "x", Header: h}
	}
	secretive := func(status int, code string) llmtest.Reply {
		return llmtest.Reply{Status: status, Code: code, Message: secret + Key}
	}
	retry := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	fault := func(f llmtest.Fault) llmtest.Reply { return llmtest.Reply{Fault: f} }
	tests := map[string]struct {
		reply     llmtest.Reply
		wantKind  gateway.Kind
		wantMsg   string // after the name
		wantAfter time.Duration
	}{
		"a wrong key":                 {secretive(401, "invalid_api_key"), gateway.Unauthorized, "answered 401 (invalid_api_key)", 0},
		"a bill to pay":               {reply(402, "billing_error"), gateway.Unauthorized, "answered 402 (billing_error)", 0},
		"a region that is refused":    {reply(403, "unsupported_country"), gateway.Unauthorized, "answered 403 (unsupported_country)", 0},
		"no money":                    {reply(429, "insufficient_quota"), gateway.Unauthorized, "answered 429 (insufficient_quota)", 0},
		"too many requests":           {reply(429, "rate_limit_exceeded"), gateway.RateLimited, "answered 429 (rate_limit_exceeded)", 0},
		"too many, for seconds":       {after(429, retry("7")), gateway.RateLimited, "answered 429 (x)", 7 * time.Second},
		"too many, for half a second": {after(429, http.Header{"Retry-After": {"1"}, "Retry-After-Ms": {"500"}}), gateway.RateLimited, "answered 429 (x)", 500 * time.Millisecond},
		"too many, absurdly long":     {after(429, retry("1e300")), gateway.RateLimited, "answered 429 (x)", 24 * time.Hour},
		"too many, before now":        {after(429, retry("-3")), gateway.RateLimited, "answered 429 (x)", 0},
		"a request that timed out":    {reply(408, "timeout"), gateway.Unavailable, "answered 408 (timeout)", 0},
		"a broken server":             {reply(500, "server_error"), gateway.Unavailable, "answered 500 (server_error)", 0},
		"an overloaded server":        {after(503, retry("2")), gateway.Unavailable, "answered 503 (x)", 2 * time.Second},
		"one that is more so":         {reply(529, "overloaded_error"), gateway.Unavailable, "answered 529 (overloaded_error)", 0},
		"a bad request":               {secretive(400, "invalid_value"), gateway.Invalid, "answered 400 (invalid_value)", 0},
		"an unknown model":            {reply(404, "model_not_found"), gateway.Invalid, "answered 404 (model_not_found)", 0},
		"what can't be processed":     {reply(422, "unprocessable"), gateway.Invalid, "answered 422 (unprocessable)", 0},
		"a redirect is not followed":  {llmtest.Reply{Status: 307, Code: "moved", Header: http.Header{"Location": {"/v2"}}}, gateway.Invalid, "answered 307 (moved)", 0},
		"garbage":                     {fault(llmtest.Garbage), gateway.Unavailable, cmp.Or(s.Garbage, noObject), 0},
		"an empty body":               {fault(llmtest.Empty), gateway.Unavailable, cmp.Or(s.Empty, noObject), 0},
		"nothing to read":             {fault(llmtest.NoChoices), gateway.Unavailable, s.Hollow, 0},
		"an answer without end":       {fault(llmtest.Huge), gateway.Unavailable, "answered 200 with more than 4 MiB", 0},
		"a cut in the middle of it":   {llmtest.Reply{Fault: llmtest.Cut, Text: strings.Repeat("x", 1000)}, gateway.Unavailable, "broke off in the middle of its answer", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			_, err := serve(t, server, s.New).Generate(t.Context(), Request())
			check(t, err, tt.wantKind, Name+" "+tt.wantMsg)
			if e, ok := err.(*gateway.Error); ok && e.RetryAfter != tt.wantAfter { //nolint:errorlint // the contract is the type itself
				t.Errorf("retry after %v, want %v", e.RetryAfter, tt.wantAfter)
			}
			if n := len(server.Requests()); n != 1 {
				t.Errorf("%d requests, want 1: the caller repeats them", n)
			}
		})
	}
}

// bodies checks what is made of errors in forms that nobody published.
func (s Suite) bodies(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		wantKind gateway.Kind
		wantMsg  string
	}{
		"an array, as Google's":             {400, `[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]`, gateway.Invalid, "acme answered 400 (invalid_argument)"},
		"a string, as Ollama's":             {404, `{"error":"model \"x\" not found"}`, gateway.Invalid, "acme answered 404"},
		"no envelope, as vLLM's":            {400, `{"object":"error","message":"x","type":"bad_request","code":400}`, gateway.Invalid, "acme answered 400 (bad_request)"},
		"words where a code belongs":        {400, `{"error":{"code":"` + secret + `","param":"` + Key + `"}}`, gateway.Invalid, "acme answered 400"},
		"HTML, as a proxy's":                {502, `<html>`, gateway.Unavailable, "acme answered 502"},
		"nothing":                           {500, ``, gateway.Unavailable, "acme answered 500"},
		"null":                              {500, `null`, gateway.Unavailable, "acme answered 500"},
		"types that nobody expects":         {500, `{"error":{"code":{"a":1},"type":[1],"param":7}}`, gateway.Unavailable, "acme answered 500"},
		"a key that Google doesn't know":    {400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`, gateway.Unauthorized, "acme answered 400 (invalid_argument)"},
		"a key that Google lets not":        {403, `[{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}]`, gateway.Unauthorized, "acme answered 403 (permission_denied)"},
		"a key that xAI doesn't know":       {400, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: ` + Key + `."}`, gateway.Unauthorized, "acme answered 400"},
		"no credit at Anthropic's":          {400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, gateway.Unauthorized, "acme answered 400 (invalid_request_error)"},
		"no credit at Moonshot's":           {429, `{"error":{"message":"Your account is suspended","type":"exceeded_current_quota_error"}}`, gateway.Unauthorized, "acme answered 429 (exceeded_current_quota_error)"},
		"a credit that is said to be there": {429, `{"error":{"message":"Rate limit reached","type":"rate_limit_exceeded"}}`, gateway.RateLimited, "acme answered 429 (rate_limit_exceeded)"},
		"a status that isn't 200":           {204, ``, gateway.Invalid, "acme answered 204"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				if tt.body != "" {
					_, _ = w.Write([]byte(tt.body))
				}
			})
			_, err := serve(t, h, s.New).Generate(t.Context(), Request())
			check(t, err, tt.wantKind, tt.wantMsg)
		})
	}
}

// filters checks that what a filter stopped is a refusal of the model's, so that
// nobody thinks the key wrong, or asks again.
func (s Suite) filters(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
	}{
		"Azure":      {400, `{"error":{"code":"content_filter","message":"The response was filtered"}}`},
		"Anthropic":  {400, `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`},
		"OpenAI":     {400, `{"error":{"code":"invalid_prompt","message":"Your prompt was flagged as potentially violating our usage policy."}}`},
		"OpenRouter": {403, `{"error":{"code":403,"message":"The model requires moderation. Your input was flagged"}}`},
		"xAI":        {403, `{"code":"The caller does not have permission","error":"Content violates usage guidelines."}`},
		"DeepSeek":   {400, `{"error":{"message":"Content Exists Risk","type":"invalid_request_error","code":"invalid_request_error"}}`},
		"Z.ai":       {400, `{"error":{"code":"1301","message":"The system detected potentially unsafe or sensitive content"}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			got, err := serve(t, h, s.New).Generate(t.Context(), Request())
			if err != nil || !got.Refused {
				t.Errorf("%+v, %v, want it refused", got, err)
			}
		})
	}
}

// absence checks what is said of a server that is not waited for, or not there.
func (s Suite) absence(t *testing.T) {
	m := serve(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang})}, s.New)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Generate(ctx, Request())
	check(t, err, gateway.Unavailable, Name+" did not answer in time")
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	_, err = m.Generate(cancelled, Request())
	check(t, err, gateway.Unavailable, Name+" was not waited for")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err = s.New(gone.URL, gone.Client(), 0).Generate(t.Context(), Request())
	check(t, err, gateway.Unavailable, Name+" can not be reached")
}

// usage checks that the whole prompt is counted, and what of it was cached.
func (s Suite) usage(t *testing.T) {
	server := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`, CachedTokens: 20})}
	got, err := serve(t, server, s.New).Generate(t.Context(), Request())
	if err != nil {
		t.Fatal(err)
	}
	if want := len(server.Requests()[0].Body) / 4; got.InputTokens != want || got.CachedTokens != 20 || got.OutputTokens != 3 {
		t.Errorf("%d tokens read, %d of them cached, and %d written; want %d, 20 and 3", got.InputTokens, got.CachedTokens, got.OutputTokens, want)
	}
}

// Environment checks that the variables which the provider's library reads have
// no effect. In their values, LURE is the URL of a server that is not to be asked.
func Environment(t *testing.T, newModel New, variables map[string]string) {
	trap := &llmtest.Server{}
	lure := httptest.NewServer(trap)
	defer lure.Close()
	for k, v := range variables {
		t.Setenv(k, strings.ReplaceAll(v, "LURE", lure.URL))
	}
	s := &llmtest.Server{Key: Key}
	if _, err := serve(t, s, newModel).Generate(t.Context(), Request()); err != nil {
		t.Fatal(err)
	}
	if n := len(trap.Requests()) + len(trap.Problems()); n != 0 {
		t.Errorf("%d requests followed the environment", n)
	}
	for name, values := range s.Requests()[0].Header {
		if v := strings.Join(values, ""); strings.Contains(v, "env") || name == "X-Env" {
			t.Errorf("header %s: %s", name, v)
		}
	}
}

// Fuzz feeds the provider with statuses, types of content and bodies.
func Fuzz(f *testing.F, newModel New, seeds ...string) {
	for _, s := range append(seeds, ``, `{}`, `null`, `[]`, `{"error":{"code":429}}`, "data: {}\n\n", "event: error\ndata: {\"error\":7}\n\n", "data: [DONE]\n\n") {
		for _, status := range []int{200, 400} {
			f.Add(status, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			if strings.HasPrefix(string(body), "data:") || strings.HasPrefix(string(body), "event:") {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return w.Result(), nil
		})}
		resp, err := newModel("http://llm.test", client, 0).Generate(t.Context(), Request())
		if err != nil && gateway.KindOf(err) == gateway.Internal {
			t.Errorf("unclassified: %v", err)
		}
		if err == nil && (resp.InputTokens < 0 || resp.OutputTokens < 0 || !utf8.ValidString(resp.Text)) {
			t.Errorf("response = %+v", resp)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
