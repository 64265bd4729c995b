package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
)

// repeat posts JSON under an Idempotency-Key, and returns the answer's status
// and body, and whether it was given before.
func (w *world) repeat(path, key, body string) (status int, answer string, replayed bool) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, "http://wagent.test"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.app.home.newKey)
	req.Header.Set("Idempotency-Key", key)
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header.Get("Idempotent-Replayed") == "true"
}

// TestARunThatIsAskedForTwiceIsMadeOnce: the repetition gets the answer of then,
// though the run has gone on.
func TestARunThatIsAskedForTwiceIsMadeOnce(t *testing.T) {
	inWorld(t, nil, func(llmtest.Request) llmtest.Reply { return output("hello", "") }, func(w *world) {
		agents, err := w.app.store.Agents(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		path, body := "/api/v1/agents/"+agents[0].ID.String()+"/runs", `{"run":{"input":"hi"}}`
		status, one, replayed := w.repeat(path, "k", body)
		if status != http.StatusCreated || replayed || !strings.Contains(one, `"status":"pending"`) {
			w.Fatalf("the first: %d %s", status, one)
		}
		w.at(10 * time.Second)
		if status, two, replayed := w.repeat(path, "k", body); status != http.StatusCreated || two != one || !replayed {
			w.Errorf("repeated: %d, replayed %v\n%s\nwant\n%s", status, replayed, two, one)
		}
		if status, answer, _ := w.repeat(path, "k", `{"run":{"input":"ho"}}`); status != http.StatusConflict {
			w.Errorf("another body: %d %s", status, answer)
		}
		if n := len(w.runs("acc_a")); n != 1 {
			w.Errorf("there are %d runs", n)
		}
	})
}
