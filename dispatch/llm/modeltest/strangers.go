package modeltest

import (
	"errors"
	"net/http"
	"testing"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// strangers checks that what a customer wrote, or the model, does not decide what
// an error means where a server repeats it, and that what may be one prompt's
// trouble or one model's is told from what is the provider's.
func (s Suite) strangers(t *testing.T) {
	const echoed = `insufficient balance, API key not valid, prompt is too long, content exists risk, response_format temperature tool json_schema not supported`
	tests := map[string]struct {
		status int
		body   string
		want   gateway.Kind
		msg    string
		alone  error // what the error wraps, if any of the two
	}{
		"FastAPI, of the input":         {422, `{"detail":[{"type":"missing","loc":["body","x"],"msg":"Field required","input":{"messages":"` + echoed + `"}}]}`, gateway.Invalid, "acme answered 422", nil},
		"FastAPI, of another context":   {400, `{"detail":[{"type":"value_error","loc":["body",0],"msg":"no","ctx":{"error":"` + echoed + `"}}]}`, gateway.Invalid, "acme answered 400", nil},
		"FastAPI, of a prompt too long": {422, `{"detail":[{"type":"value_error","loc":["body","messages"],"msg":"Prompt is too long"}]}`, gateway.TooLong, "acme answered 422", nil},
		"Mistral, of a prompt too long": {422, `{"object":"error","message":{"detail":[{"type":"x","loc":["body"],"msg":"prompt is too long"}]}}`, gateway.TooLong, "acme answered 422", nil},
		"vLLM, of the input":            {400, `{"object":"error","message":"[{'type': 'missing', 'loc': ('body', 'x'), 'msg': 'Field required', 'input': {'messages': '` + echoed + `'}}]","code":400}`, gateway.Invalid, "acme answered 400", nil},
		"one that repeats the request":  {400, `{"error":{"message":"no","code":"invalid_value","request":"` + echoed + `"},"input":"` + echoed + `"}`, gateway.Invalid, "acme answered 400 (invalid_value)", nil},
		"a tool that was called badly":  {400, `{"error":{"message":"no","code":"x","failed_generation":{"a":"` + echoed + `"}}}`, gateway.Invalid, "acme answered 400 (x)", nil},
		"a page":                        {400, `<html>` + echoed, gateway.Invalid, "acme answered 400", nil},
		"a firewall's page":             {403, `<html>` + echoed, gateway.Unauthorized, "acme answered 403", llm.ErrThisPrompt},
		"a 403 that says nothing":       {403, `{"error":{"message":"Forbidden"}}`, gateway.Unauthorized, "acme answered 403", llm.ErrThisPrompt},
		"a 403 about the key":           {403, `{"error":{"type":"permission_error"}}`, gateway.Unauthorized, "acme answered 403 (permission_error)", nil},
		"a 401":                         {401, `<html>`, gateway.Unauthorized, "acme answered 401", nil},
		"a model that is down":          {503, `{}`, gateway.Unavailable, "acme answered 503", llm.ErrThisModel},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := serve(t, h, s.New).Generate(t.Context(), Request())
			check(t, err, tt.want, tt.msg)
			for _, alone := range []error{llm.ErrThisModel, llm.ErrThisPrompt} {
				if errors.Is(err, alone) != (alone == tt.alone) { //nolint:errorlint // it is one of ours
					t.Errorf("error wraps %q: %v", alone, err)
				}
			}
			if asked != 1 {
				t.Errorf("asked %d times: it took a stranger's words for the server's", asked)
			}
		})
	}
	t.Run("the server is not there", func(t *testing.T) {
		_, err := serve(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Fault: llmtest.Cut, Text: "x"})}, s.New).Generate(t.Context(), Request())
		if gateway.KindOf(err) != gateway.Unavailable || errors.Is(err, llm.ErrThisModel) {
			t.Errorf("error = %v", err)
		}
	})
}
