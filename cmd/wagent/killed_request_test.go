package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// ask calls the agents API of the process, under an Idempotency-Key if there is
// one, and decodes the answer's data.
func (r *rig) ask(method, path, key, body string, out any) (status int, replayed bool) {
	r.Helper()
	status, replayed, b, err := r.tryAsk(method, path, key, body)
	if err != nil {
		r.Fatal(err)
	}
	if err := json.Unmarshal(b, &struct{ Data any }{out}); err != nil {
		r.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
	return status, replayed
}

// tryAsk is ask of a process that may die meanwhile.
func (r *rig) tryAsk(method, path, key, body string) (status int, replayed bool, answer []byte, err error) {
	req, err := http.NewRequestWithContext(r.Context(), method, r.proc.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, false, nil, err
	}
	req.Header.Set("Authorization", "Bearer key-of-the-crash-test")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Idempotent-Replayed") == "true", b, err
}

// apiRun is what these tests read of a run.
type apiRun struct {
	ID, Status string
	Output     struct {
		SuggestedReply string `json:"suggested_reply"`
	}
}

// concierge returns the path of the agent's runs.
func (r *rig) concierge() string {
	r.Helper()
	var agents []struct{ ID string }
	if status, _ := r.ask(http.MethodGet, "/agents", "", "", &agents); status != http.StatusOK || len(agents) != 1 {
		r.Fatalf("list agents: %d, %v", status, agents)
	}
	return "/agents/" + agents[0].ID + "/runs"
}

// completed waits until the only run of the agent is completed, and checks that
// this happened once: each of its actions is delivered under one id.
func (r *rig) completed(path, id string) {
	r.Helper()
	var run apiRun
	r.until("the run to be completed", time.Minute, func() bool {
		r.ask(http.MethodGet, path+"/"+id, "", "", &run)
		return run.Status == "completed"
	})
	if run.Output.SuggestedReply != "re: one" {
		r.Errorf("the run answers %q", run.Output.SuggestedReply)
	}
	r.settled(time.Minute)
	var runs []apiRun
	if r.ask(http.MethodGet, path, "", "", &runs); len(runs) != 1 || runs[0].ID != id {
		r.Errorf("the agent has the runs %+v, want %s", runs, id)
	}
	ids := map[string]any{}
	for _, h := range r.hooks.events(gateway.EventAction) {
		ids[h.id] = h.data["index"]
	}
	if len(ids) != 2 {
		r.Errorf("delivered actions by id: %v, want both once", ids)
	}
	if n := len(r.graph.Sent()); n != 0 {
		r.Errorf("a run of the API sent %d messages to a customer", n)
	}
}

const runOne = `{"run":{"input":"one"}}`

// TestKilledInARunOfTheAPI: between its 201 and its end.
func TestKilledInARunOfTheAPI(t *testing.T) {
	for name, embedded := range map[string]bool{"embedded": true, "on PostgreSQL and Redis": false} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			r := newRig(t, embedded, func(q llmtest.Request) llmtest.Reply { g.pass(); return clean(q) })
			t.Cleanup(g.lift)
			path := r.concierge()
			var made, again apiRun
			if status, _ := r.ask(http.MethodPost, path, "k", runOne, &made); status != http.StatusCreated || made.Status != "pending" {
				t.Fatalf("start a run: %d, %+v", status, made)
			}
			r.wait("the model to be asked", g.came)
			r.proc.kill()
			g.lift()
			r.proc = r.start()
			if status, replayed := r.ask(http.MethodPost, path, "k", runOne, &again); status != http.StatusCreated || !replayed || again != made {
				t.Errorf("repeated after the crash: %d, replayed %v, %+v", status, replayed, again)
			}
			r.completed(path, made.ID)
			if n := len(r.model.Requests()); n != 2 {
				t.Errorf("the model was asked %d times, want 2: before the crash and after it", n)
			}
		})
	}
}

// TestKilledBetweenTheRunAndItsAnswer: nobody knows the run, so its client asks
// for it again, and finds it.
func TestKilledBetweenTheRunAndItsAnswer(t *testing.T) {
	r := newRig(t, false, clean)
	path := r.concierge()
	r.exec(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$`)
	r.exec(`CREATE TRIGGER hold BEFORE UPDATE ON idempotency FOR EACH ROW EXECUTE FUNCTION hold()`)
	lock, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock(42)`); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error)
	go func() {
		_, _, _, err := r.tryAsk(http.MethodPost, path, "k", runOne)
		cut <- err
	}()
	r.locked("update idempotency")
	r.proc.kill()
	if err := <-cut; err == nil {
		t.Fatal("the client has an answer that is not on record")
	}
	// PostgreSQL would go on with what a dead client asked for.
	r.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE 'update idempotency%'`)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	r.exec(`DROP TRIGGER hold ON idempotency`)
	var id string
	if err := r.db.QueryRowContext(t.Context(), `SELECT id FROM runs`).Scan(&id); err != nil {
		t.Fatalf("the run that was made: %v", err)
	}
	r.proc = r.start()
	if status, _, b, err := r.tryAsk(http.MethodPost, path, "k", runOne); err != nil || status != http.StatusConflict {
		t.Errorf("repeated at once: %d %s, %v", status, b, err)
	}
	r.exec(`UPDATE idempotency SET until = 1`) // a minute goes by
	var made apiRun
	if status, replayed := r.ask(http.MethodPost, path, "k", runOne, &made); status != http.StatusCreated || replayed || made.ID != id {
		t.Errorf("repeated once the lease was over: %d, replayed %v, %+v; want run %s", status, replayed, made, id)
	}
	r.completed(path, id)
}
