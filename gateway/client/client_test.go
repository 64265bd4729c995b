package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway/client"
	"wagent/gateway/client/actions"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/runs"
)

// answering returns a client of a server that always answers so.
func answering(t *testing.T, status int, header, body string) *client.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, testKey, client.WithRetries(0), client.WithHTTPClient(s.Client()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARefusalHasItsKind(t *testing.T) {
	kinds := []error{
		client.ErrBadRequest, client.ErrUnauthorized, client.ErrForbidden, client.ErrNotFound, client.ErrConflict,
		client.ErrValidation, client.ErrRateLimited, client.ErrServer,
	}
	for name, c := range map[string]struct {
		status       int
		header, body string
		kind         error // nil: none
		want         client.APIError
		text         string
	}{
		"malformed":      {status: 400, body: `{"error":"The body is not JSON"}`, kind: client.ErrBadRequest, want: client.APIError{Status: 400, Message: "The body is not JSON"}, text: "400 The body is not JSON"},
		"no key":         {status: 401, body: `{"error":"Invalid or missing API key"}`, kind: client.ErrUnauthorized, want: client.APIError{Status: 401, Message: "Invalid or missing API key"}},
		"scope":          {status: 403, body: `{"error":"no","upgrade_url":"https://u"}`, kind: client.ErrForbidden, want: client.APIError{Status: 403, Message: "no", UpgradeURL: "https://u"}},
		"missing":        {status: 404, body: `{"error":"Not found"}`, kind: client.ErrNotFound, want: client.APIError{Status: 404, Message: "Not found"}},
		"conflict":       {status: 409, body: `{"error":"decided"}`, kind: client.ErrConflict, want: client.APIError{Status: 409, Message: "decided"}},
		"invalid":        {status: 422, body: `{"error":"Validation failed","details":{"b":["x"],"a":["y","z"]}}`, kind: client.ErrValidation, want: client.APIError{Status: 422, Message: "Validation failed", Details: map[string][]string{"a": {"y", "z"}, "b": {"x"}}}, text: "422 Validation failed: a y, a z, b x"},
		"other details":  {status: 422, body: `{"error":"Validation failed","details":{"a":["x"],"b":"y"}}`, kind: client.ErrValidation, want: client.APIError{Status: 422, Message: "Validation failed"}},
		"rate":           {status: 429, header: "Retry-After: 17", body: `{"error":"slow down"}`, kind: client.ErrRateLimited, want: client.APIError{Status: 429, Message: "slow down", RetryAfter: 17 * time.Second}},
		"trouble":        {status: 500, body: `{"error":"Internal error"}`, kind: client.ErrServer, want: client.APIError{Status: 500, Message: "Internal error"}},
		"a proxy's page": {status: 502, body: "<html>nginx</html>", kind: client.ErrServer, want: client.APIError{Status: 502, Message: "Bad Gateway"}},
		"a teapot":       {status: 418, body: "", want: client.APIError{Status: 418, Message: "I'm a teapot"}},
		"no known one":   {status: 499, body: "[]", want: client.APIError{Status: 499, Message: "unknown status"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := answering(t, c.status, c.header, c.body).Agents.Retrieve(t.Context(), "agt_1")
			got, ok := errors.AsType[*client.APIError](err)
			if !ok {
				t.Fatalf("Retrieve = %v, which is no APIError", err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("the error (-want +got):\n%s", diff)
			}
			for _, kind := range kinds {
				if errors.Is(err, kind) != errors.Is(c.kind, kind) {
					t.Errorf("errors.Is(%v, %v) = %v", err, kind, errors.Is(err, kind))
				}
			}
			if c.text != "" && got.Error() != c.text {
				t.Errorf("the text is %q, want %q", got, c.text)
			}
		})
	}
}

func TestAWrongKeyIsUnauthorized(t *testing.T) {
	_, url, end := (&gateway{}).serve()
	defer end()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := client.New(url, "wrb_live_another", client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Agents.List(t.Context()); !errors.Is(err, client.ErrUnauthorized) {
		t.Errorf("List = %v", err)
	}
}

func TestRetriesCanBeNone(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: true} {
		g := &gateway{fail: []int{503}}
		c, _, end := g.serve(client.WithRetries(n))
		if _, err := c.Agents.List(t.Context()); (err == nil) != want {
			t.Errorf("with %d retries, List = %v", n, err)
		}
		end()
	}
}

// What a Params leaves out is not sent: the gateway would take it for a change.
func TestParamsSendOnlyWhatIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		in   any
		want string
	}{
		"nothing":                {agents.Params{}, `{}`},
		"zeros that are meant":   {agents.Params{Active: new(false), Temperature: new(0.0), ContextTTLMinutes: new(0), Description: new("")}, `{"description":"","temperature":0,"active":false,"context_ttl_minutes":0}`},
		"lists that are emptied": {agents.Params{AllowedActions: []string{}, PayloadSchema: []agents.Field{}}, `{"allowed_actions":[],"payload_schema":[]}`},
		"the key stays here":     {agents.Params{Name: "x", IdempotencyKey: "k"}, `{"name":"x"}`},
		"a run of a string":      {runs.Params{Input: "x", IdempotencyKey: "k"}, `{"input":"x"}`},
		"a run of an object":     {runs.Params{Input: runs.Input{LastMessage: "x"}, Metadata: map[string]any{"a": 1}}, `{"input":{"last_message":"x"},"metadata":{"a":1}}`},
		"a message's buttons":    {messages.Params{To: "+1", MessageType: "interactive", Content: "?", MessageMetadata: &messages.Metadata{Buttons: []messages.Button{{ID: "y", Title: "Yes"}}}}, `{"to":"+1","message_type":"interactive","content":"?","message_metadata":{"buttons":[{"id":"y","title":"Yes"}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(c.in)
			if err != nil || string(got) != c.want {
				t.Errorf("sent as %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestOnlyConfirmedActionsAreDispatched(t *testing.T) {
	const output = `"output":{"actions":[{"type":"a.b.c","payload":{}},{"type":"a.b.c","payload":{}},{"type":"a.b.c","payload":{}}]}`
	for name, c := range map[string]struct {
		run  string
		want []int
	}{
		"null: all":              {`{"action_statuses":null,` + output + `}`, []int{0, 1, 2}},
		"absent: all":            {`{` + output + `}`, []int{0, 1, 2}},
		"confirmed":              {`{"action_statuses":[{"status":"confirmed"},{"status":"rejected"},{"status":"confirmed"}],` + output + `}`, []int{0, 2}},
		"pending and expired":    {`{"action_statuses":[{"status":"pending"},{"status":"expired"},{"status":"confirmed"}],` + output + `}`, []int{2}},
		"none":                   {`{"action_statuses":[],` + output + `}`, nil},
		"fewer than the actions": {`{"action_statuses":[{"status":"confirmed"}],` + output + `}`, []int{0}},
		"no output":              {`{"output":null,"action_statuses":null}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := (&client.Client{}).AgentRuns("agt_1").FromEvent(json.RawMessage(c.run))
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			var r actions.Registry
			r.Register("a.b.c", func(_ context.Context, a actions.Action) error {
				got = append(got, a.Index)
				return nil
			})
			report, err := run.Dispatch(t.Context(), &r)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil || len(report.Done) != len(c.want) {
				t.Errorf("dispatched %v, %v, report %+v", got, err, report)
			}
		})
	}
}

func TestADispatchTellsItsRunAndEachFailure(t *testing.T) {
	run, err := (&client.Client{}).AgentRuns("agt_1").FromEvent(json.RawMessage(`{"id":"run_7","output":{"actions":[{"type":"a.b.c"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var r actions.Registry
	r.Register("a.b.c", func(context.Context, actions.Action) error { return errors.New("no paper") })
	_, err = run.Dispatch(t.Context(), &r)
	if want := "dispatch run run_7: action 0 (a.b.c): no paper"; err == nil || err.Error() != want {
		t.Errorf("Dispatch = %v, want %s", err, want)
	}
}

// scripted answers without a network, as a bubble needs it.
type scripted func(*http.Request) string

func (f scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	fmt.Fprint(w, f(r))
	return w.Result(), nil
}

func waiting(t *testing.T, answer func(n int) string) (*runs.Run, *[]time.Duration) {
	t.Helper()
	began, looks := time.Now(), &[]time.Duration{}
	c, err := client.New("http://wagent.test", testKey, client.WithHTTPClient(&http.Client{Transport: scripted(func(r *http.Request) string {
		if r.Method == http.MethodPost {
			return `{"data":{"id":"run_1","status":"pending"}}`
		}
		*looks = append(*looks, time.Since(began))
		return answer(len(*looks))
	})}))
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.AgentRuns("agt_1").Create(t.Context(), runs.Params{Input: "x"})
	if err != nil {
		t.Fatal(err)
	}
	return run, looks
}

func TestWaitLooksOftenAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, looks := waiting(t, func(n int) string {
			if n == 6 {
				return `{"data":{"id":"run_1","status":"completed"}}`
			}
			return `{"data":{"id":"run_1","status":"running"}}`
		})
		if err := run.Wait(t.Context()); err != nil || run.Status != runs.Completed {
			t.Fatalf("Wait = %v, %s", err, run.Status)
		}
		ms := time.Millisecond
		if diff := cmp.Diff([]time.Duration{200 * ms, 600 * ms, 1400 * ms, 2400 * ms, 3400 * ms, 4400 * ms}, *looks); diff != "" {
			t.Errorf("it looked at (-want +got):\n%s", diff)
		}
		if err := run.Wait(t.Context()); err != nil || len(*looks) != 6 {
			t.Errorf("a second Wait = %v after %d looks, want none more", err, len(*looks))
		}
	})
}

func TestWaitEndsWithItsContextAndTheRunGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, _ := waiting(t, func(int) string { return `{"data":{"id":"run_1","status":"running"}}` })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		err := run.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 30*time.Second || run.Status != runs.Running || !strings.Contains(err.Error(), "run_1") {
			t.Errorf("Wait = %v after %v, %s", err, time.Since(began), run.Status)
		}
	})
}

func TestWaitTellsWhyARunFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, _ := waiting(t, func(int) string { return `{"data":{"id":"run_1","status":"failed","error":"the model is away"}}` })
		if err := run.Wait(t.Context()); !errors.Is(err, runs.ErrFailed) || !strings.Contains(err.Error(), "the model is away") || run.Error == "" {
			t.Errorf("Wait = %v, %+v", err, run)
		}
	})
}

func TestWhatIsListedCanBeUsed(t *testing.T) {
	c, _, end := concierge(agents.Params{ConfirmationMode: new(agents.Confirm)})
	defer end()
	for agent, err := range c.Agents.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := agent.Run(t.Context(), "I want a refund for order #1234"); err != nil {
			t.Fatal(err)
		}
	}
	decided := 0
	for run, err := range c.AgentRuns("agt_1").All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := run.RejectActions(t.Context(), 1); err != nil || run.ActionStatuses[1].Status != runs.Rejected {
			t.Errorf("RejectActions = %v, %+v", err, run.ActionStatuses)
		}
		decided++
	}
	if decided != 1 {
		t.Errorf("%d runs", decided)
	}
}

func TestADecisionIsAllOrNothing(t *testing.T) {
	_, agent, end := concierge(agents.Params{ConfirmationMode: new(agents.Confirm)})
	defer end()
	run, err := agent.Run(t.Context(), "I want a refund for order #1234")
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Decide(t.Context(), []int{0}, []int{1}); err != nil {
		t.Fatal(err)
	}
	if err := run.ConfirmActions(t.Context(), 2, 1); !errors.Is(err, client.ErrConflict) {
		t.Errorf("confirming a rejected action = %v", err)
	}
	if err := run.RejectActions(t.Context(), 3); !errors.Is(err, client.ErrValidation) {
		t.Errorf("rejecting what is not there = %v", err)
	}
	if err := run.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range run.ActionStatuses {
		got = append(got, s.Status)
	}
	if diff := cmp.Diff([]string{runs.Confirmed, runs.Rejected, runs.Pending}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}
