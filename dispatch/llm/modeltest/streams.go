package modeltest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// Streams checks what only an answer that comes in parts can do.
func (s Suite) Streams(t *testing.T) {
	t.Run("whole", s.whole)
	t.Run("broken", s.broken)
	t.Run("no stream", s.unstreamed)
}

// whole checks that an answer is put together again.
func (s Suite) whole(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"a short one":         {llmtest.Reply{Text: `{"a":"b"}`}, llm.Response{Text: `{"a":"b"}`}},
		"one in many letters": {llmtest.Reply{Text: strings.Repeat("Grüße 👋🏽 ", 50)}, llm.Response{Text: strings.Repeat("Grüße 👋🏽 ", 50)}},
		"none":                {llmtest.Reply{}, llm.Response{}},
		"a refusal":           {llmtest.Reply{Refusal: "I can't"}, llm.Response{Text: "I can't", Refused: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			got, err := serve(t, server, s.New).Generate(t.Context(), Request())
			if err != nil {
				t.Fatal(err)
			}
			if r := server.Requests()[0]; !r.Stream || !r.Usage || got.Model != r.Model || got.InputTokens == 0 || got.OutputTokens == 0 || got.Latency <= 0 {
				t.Errorf("request %+v, response %+v", r, got)
			}
			got.Model, got.InputTokens, got.OutputTokens, got.Latency = "", 0, 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string(nil), server.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// broken is the table of how streams end that do not come to their end.
func (s Suite) broken(t *testing.T) {
	text := strings.Repeat("x", 1000)
	late := func(code string) llmtest.Reply {
		return llmtest.Reply{Text: text, Fault: llmtest.Late, Code: code, Message: secret + Key}
	}
	tests := map[string]struct {
		reply    llmtest.Reply
		wantKind gateway.Kind
		wantMsg  string // after the name
	}{
		"cut at once":          {llmtest.Reply{Text: text, Fault: llmtest.Cut, After: 1}, gateway.Unavailable, "broke off in the middle of its answer"},
		"cut in the middle":    {llmtest.Reply{Text: text, Fault: llmtest.Cut}, gateway.Unavailable, "broke off in the middle of its answer"},
		"an early end":         {llmtest.Reply{Text: text, Fault: llmtest.Unended}, gateway.Unavailable, "answered 200 with a stream that did not come to its end"},
		"an error":             {late("server_error"), gateway.Unavailable, "broke off its answer with an error (server_error)"},
		"an overload":          {late("overloaded_error"), gateway.Unavailable, "broke off its answer with an error (overloaded_error)"},
		"a limit":              {late("rate_limit_error"), gateway.RateLimited, "broke off its answer with an error (rate_limit_error)"},
		"a prompt too long":    {late("context_length_exceeded"), gateway.TooLong, "broke off its answer with an error (context_length_exceeded)"},
		"a key that ended":     {late("authentication_error"), gateway.Unauthorized, "broke off its answer with an error (authentication_error)"},
		"an error without end": {llmtest.Reply{Fault: llmtest.Huge}, gateway.Unavailable, "answered 200 with more than 4 MiB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			_, err := serve(t, server, s.New).Generate(t.Context(), Request())
			check(t, err, tt.wantKind, Name+" "+tt.wantMsg)
			if n := len(server.Requests()); n != 1 {
				t.Errorf("%d requests, want 1: the caller repeats them", n)
			}
		})
	}
	t.Run("stalled", func(t *testing.T) {
		server := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: text, Fault: llmtest.Stall})}
		_, err := impatient(t, server, s.New, 20*time.Millisecond).Generate(t.Context(), Request())
		check(t, err, gateway.Unavailable, Name+" stalled in the middle of its answer")
	})
	t.Run("a filter", func(t *testing.T) {
		got, err := serve(t, &llmtest.Server{Answer: llmtest.Queue(late("content_filter"))}, s.New).Generate(t.Context(), Request())
		if err != nil || !got.Refused {
			t.Errorf("%+v, %v, want it refused", got, err)
		}
	})
}

// unstreamed checks what is made of an answer in one piece, which nobody asked
// for.
func (s Suite) unstreamed(t *testing.T) {
	tests := map[string]struct {
		body     string
		wantKind gateway.Kind
		wantMsg  string
	}{
		"an answer":        {`{"choices":[{"message":{"content":"x"}}]}`, gateway.Unavailable, "acme answered 200 with what is no stream"},
		"garbage":          {`<html>`, gateway.Unavailable, "acme answered 200 with what is no stream"},
		"a router's error": {`{"error":{"code":429,"message":"x"}}`, gateway.RateLimited, "acme answered 429"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, tt.body)
			})
			_, err := serve(t, h, s.New).Generate(t.Context(), Request())
			check(t, err, tt.wantKind, tt.wantMsg)
		})
	}
}
