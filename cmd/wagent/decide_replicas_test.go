package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"wagent/gateway"
	"wagent/gateway/client/agents"
)

// TestTwoReplicasDecideAtTheSameMoment has two replicas confirm the same actions of
// a run and reject the same other one, all at once: one of them does, the other is
// told that it is done, and what was confirmed leaves once. An Idempotency-Key that
// is another one for each request changes nothing of that.
func TestTwoReplicasDecideAtTheSameMoment(t *testing.T) {
	const runs = 10
	s := &sdkRig{rig: newRigWith(t, false, threeRooms, func(cfg map[string]any) {
		cfg["webhooks"].([]any)[0].(map[string]any)["events"] = []any{gateway.EventAction, gateway.EventRunActioned}
	})}
	replicas := []*replica{s.start(), s.start()}
	s.proc = replicas[0]
	s.c = s.client("key-of-the-crash-test")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	agent := s.agent(agents.Params{ConfirmationMode: new(agents.Confirm)})
	want := map[string][]string{}
	for i := range runs {
		run, err := agent.Run(ctx, "Clean 101, 102 and 103")
		if err != nil {
			t.Fatal(err)
		}
		key := ""
		if i%2 == 1 {
			key = run.ID
		}
		confirmed, rejected := s.race(replicas, agent.ID, run.ID, key)
		once := []int{http.StatusOK, http.StatusConflict}
		if !slices.Equal(confirmed, once) || !slices.Equal(rejected, once) {
			t.Errorf("run %d, with an Idempotency-Key: %v: confirming was answered with %d, rejecting with %d, want %d of each", i, key != "", confirmed, rejected, once)
		}
		want[run.ID] = []string{"action 0", "action 2", "actioned"}
	}

	s.settled(time.Minute)
	got := map[string][]string{}
	add := func(h hook, what string) {
		run := fmt.Sprint(h.data["run_id"])
		got[run] = append(got[run], what)
	}
	for _, h := range s.hooks.events(gateway.EventAction) {
		add(h, fmt.Sprint("action ", h.data["index"]))
	}
	for _, h := range s.hooks.events(gateway.EventRunActioned) {
		add(h, "actioned")
	}
	for run := range got {
		slices.Sort(got[run])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

// race has each replica confirm actions 0 and 2 of a run, and reject action 1, at
// the same moment, and returns the statuses of both kinds in their order. Where a
// key is given, each request has an Idempotency-Key of its own, made of it.
func (r *rig) race(replicas []*replica, agent, run, key string) (confirmed, rejected []int) {
	r.Helper()
	bodies := []string{
		`{"actions":[{"index":0,"status":"confirmed"},{"index":2,"status":"confirmed"}]}`,
		`{"actions":[{"index":1,"status":"rejected"}]}`,
	}
	answers := make([][]int, len(bodies))
	for i := range answers {
		answers[i] = make([]int, len(replicas))
	}
	start := make(chan struct{})
	var g errgroup.Group
	for i, body := range bodies {
		for j, p := range replicas {
			g.Go(func() (err error) {
				<-start
				one := key
				if key != "" {
					one = fmt.Sprint(key, " ", i, " ", j)
				}
				answers[i][j], err = decide(r.Context(), p.url+"/api/v1/agents/"+agent+"/runs/"+run+"/actions", one, body)
				return err
			})
		}
	}
	close(start)
	if err := g.Wait(); err != nil {
		r.Fatal(err)
	}
	slices.Sort(answers[0])
	slices.Sort(answers[1])
	return answers[0], answers[1]
}

// decide posts decisions and returns the answer's status. The key may be empty.
func decide(ctx context.Context, url, key, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer key-of-the-crash-test")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
