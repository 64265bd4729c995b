package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/client"
	"wagent/gateway/client/actions"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/events"
	"wagent/gateway/client/pauses"
	"wagent/gateway/client/runs"
)

// These tests are the Go SDK against the built program, over a real network:
// what it takes for the contract is what the program does.

// sdkRig is a rig whose webhooks of the agents API are taken by the SDK.
type sdkRig struct {
	*rig
	c    *client.Client
	mu   sync.Mutex
	came map[string][]events.Event // by event
}

func newSDKRig(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply) *sdkRig {
	t.Helper()
	return newSDKRigWith(t, embedded, answer, func(map[string]any) {})
}

// newSDKRigWith is newSDKRig with a changed configuration.
func newSDKRigWith(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply, change func(map[string]any)) *sdkRig {
	t.Helper()
	s := &sdkRig{came: map[string][]events.Event{}}
	var registry events.Registry
	for _, event := range []string{"agent_run.completed", "agent_run.actioned", "agent_run.failed"} {
		registry.On(event, func(_ context.Context, e events.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.came[e.Event] = append(s.came[e.Event], e)
			return nil
		})
	}
	hook := httptest.NewServer(registry.Handler("another", receiverSecret))
	t.Cleanup(hook.Close)
	s.rig = newRigWith(t, embedded, answer, func(cfg map[string]any) {
		cfg["webhooks"] = append(cfg["webhooks"].([]any), map[string]any{"id": "sdk", "url": hook.URL, "secret": receiverSecret})
		change(cfg)
	})
	s.proc = s.start()
	s.c = s.client("key-of-the-crash-test")
	return s
}

func (s *sdkRig) client(key string) *client.Client {
	s.Helper()
	transport := &http.Transport{}
	s.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(s.proc.url, key, client.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// event waits for the webhook about a run.
func (s *sdkRig) event(event, run string) (found events.Event) {
	s.Helper()
	s.until(event+" of "+run, 20*time.Second, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.came[event], func(e events.Event) bool { return strings.Contains(string(e.Data), run) })
		if i >= 0 {
			found = s.came[event][i]
		}
		return i >= 0
	})
	return found
}

func (s *sdkRig) agent(p agents.Params) *agents.Agent {
	s.Helper()
	p.Name, p.SystemPrompt, p.Model = "Support", "Help.", new("fake/model")
	p.AllowedActions = []string{"hotel.room.clean"}
	p.PayloadSchema = []agents.Field{{Name: "room", FieldType: "text", Required: true}}
	a, err := s.c.Agents.Create(s.Context(), p)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

// cleans returns a registry that notes which actions it was given, with their
// rooms.
func cleans(did *[]string) *actions.Registry {
	var r actions.Registry
	r.Register("hotel.room.clean", func(_ context.Context, a actions.Action) error {
		var payload struct{ Room string }
		if err := a.Decode(&payload); err != nil {
			return err
		}
		*did = append(*did, fmt.Sprintf("%d: %s", a.Index, payload.Room))
		return nil
	})
	return &r
}

func threeRooms(llmtest.Request) llmtest.Reply {
	return output("Three rooms.", "Wants it clean.", "101", "102", "103")
}

func TestClientConfirmsRejectsAndDispatches(t *testing.T) {
	for name, embedded := range map[string]bool{"embedded": true, "postgres and redis": false} {
		t.Run(name, func(t *testing.T) {
			s := newSDKRig(t, embedded, threeRooms)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			agent := s.agent(agents.Params{ConfirmationMode: new(agents.Confirm)})
			run, err := agent.Run(ctx, "Clean 101, 102 and 103")
			if err != nil {
				t.Fatal(err)
			}
			if run.Status != runs.Completed || run.SuggestedReply() != "Three rooms." || run.ContextSummary != "Wants it clean." ||
				string(run.Input) != `{"last_message":"Clean 101, 102 and 103"}` || run.CompletedAt.IsZero() || run.ModelUsed == "" {
				t.Errorf("run %+v", run)
			}
			var did []string
			if report, err := run.Dispatch(ctx, cleans(&did)); err != nil || len(report.Done) != 0 || len(did) != 0 {
				t.Errorf("before anybody confirmed, %v was dispatched, %v", did, err)
			}

			if err := run.ConfirmActions(ctx, 0, 2); err != nil {
				t.Fatal(err)
			}
			if !run.ActionsDecidedAt.IsZero() || run.ActionStatuses[0].DecidedBy != "api" || run.ActionStatuses[1].Status != runs.Pending {
				t.Errorf("after a part: %+v", run)
			}
			if err := run.ConfirmActions(ctx, 1, 0); !errors.Is(err, client.ErrConflict) {
				t.Errorf("confirming what is confirmed = %v", err)
			}
			if err := run.RejectActions(ctx, 3); !errors.Is(err, client.ErrValidation) {
				t.Errorf("rejecting what is not there = %v", err)
			}
			if err := run.RejectActions(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if run.ActionsDecidedAt.IsZero() {
				t.Errorf("after all: %+v", run)
			}
			want := []string{"0: 101", "2: 103"}
			if _, err := run.Dispatch(ctx, cleans(&did)); err != nil || !slices.Equal(did, want) {
				t.Errorf("dispatched %v, %v, want %v", did, err, want)
			}

			// The webhook tells the same, and so does what the gateway dispatches.
			told, err := agent.Runs().FromEvent(s.event("agent_run.actioned", run.ID).Data)
			if err != nil {
				t.Fatal(err)
			}
			did = nil
			if _, err := told.Dispatch(ctx, cleans(&did)); err != nil || !slices.Equal(did, want) || told.ID != run.ID {
				t.Errorf("by the webhook, dispatched %v of %s, %v, want %v", did, told.ID, err, want)
			}
			s.event("agent_run.completed", run.ID)
			s.settled(20 * time.Second)
			var indexes []int
			for _, h := range s.hooks.events(gateway.EventAction) {
				indexes = append(indexes, int(h.data["index"].(float64)))
			}
			slices.Sort(indexes)
			if diff := cmp.Diff([]int{0, 2}, indexes); diff != "" {
				t.Errorf("the gateway dispatched (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientAgentsAndRuns(t *testing.T) {
	s := newSDKRig(t, true, func(r llmtest.Request) llmtest.Reply {
		if strings.Contains(asked(r), "break") {
			return llmtest.Reply{Status: http.StatusBadRequest, Code: "invalid", Message: "no"}
		}
		return threeRooms(r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	agent := s.agent(agents.Params{Description: new("d"), Temperature: new(0.0)})
	if agent.Temperature != 0 || !agent.Active || agent.DebounceSeconds != 10 || agent.CreatedAt.IsZero() {
		t.Errorf("created %+v", agent)
	}
	agent, err := s.c.Agents.Update(ctx, agent.ID, agents.Params{Name: "Updated", Description: new(""), ContextTTLMinutes: new(0)})
	if err != nil {
		t.Fatal(err)
	}
	if agent.Name != "Updated" || agent.Description != "" || agent.ContextTTLMinutes != 0 || agent.SystemPrompt != "Help." || len(agent.AllowedActions) != 1 {
		t.Errorf("updated %+v", agent)
	}

	run, err := agent.RunAsync(ctx, runs.Input{LastMessage: "Clean", RecentMessages: []string{"Hi"}})
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != runs.Pending {
		t.Errorf("a new run is %s", run.Status)
	}
	if err := run.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	var did []string
	if _, err := run.Dispatch(ctx, cleans(&did)); err != nil || len(did) != 3 || run.ActionStatuses != nil {
		t.Errorf("in auto mode, dispatched %v, %v, statuses %v", did, err, run.ActionStatuses)
	}
	if err := run.ConfirmActions(ctx, 0); !errors.Is(err, client.ErrValidation) {
		t.Errorf("confirming in auto mode = %v", err)
	}
	failed, err := agent.Run(ctx, "break")
	if !errors.Is(err, runs.ErrFailed) || failed == nil || failed.Error == "" {
		t.Errorf("a run that fails = %+v, %v", failed, err)
	}

	var listed []string
	for r, err := range agent.Runs().All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, r.ID)
	}
	if diff := cmp.Diff([]string{failed.ID, run.ID}, listed); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	names := map[string]bool{}
	for a, err := range s.c.Agents.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names[a.Name] = true
		if a.Name == "Concierge" {
			if _, err := s.c.Agents.Update(ctx, a.ID, agents.Params{Name: "x"}); !errors.Is(err, client.ErrConflict) {
				t.Errorf("updating an agent of the configuration file = %v", err)
			}
		}
	}
	if !names["Updated"] || !names["Concierge"] {
		t.Errorf("agents %v", names)
	}
	if templates, err := s.c.Agents.Templates(ctx); err != nil || templates.Total != 4 || len(templates.Items) != 4 {
		t.Errorf("templates %+v, %v", templates, err)
	}
	if err := s.c.Agents.Delete(ctx, agent.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Agents.Retrieve(ctx, agent.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a deleted agent = %v", err)
	}
}

func TestClientErrorsAndPauses(t *testing.T) {
	s := newSDKRig(t, true, threeRooms)
	ctx := t.Context()
	if _, err := s.client("wrb_live_nobodys").Agents.List(ctx); !errors.Is(err, client.ErrUnauthorized) {
		t.Errorf("with another key, List = %v", err)
	}
	_, err := s.c.Agents.Create(ctx, agents.Params{Name: "No prompt", Temperature: new(3.0)})
	e, ok := errors.AsType[*client.APIError](err)
	if !ok || !errors.Is(err, client.ErrValidation) || len(e.Details["system_prompt"]) == 0 || len(e.Details["temperature"]) == 0 {
		t.Errorf("an invalid agent = %v", err)
	}
	if _, err := s.c.AgentRuns("agt_none").List(ctx); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("runs of no agent = %v", err)
	}

	takeovers := s.c.Pauses("acc_a")
	pause, err := takeovers.Create(ctx, pauses.Params{PhoneNumber: "+15550001234", DurationMinutes: 5})
	if err != nil || pause.ID == 0 || pause.RemainingMinutes != 5 || pause.Reason != "manual" {
		t.Fatalf("a pause = %+v, %v", pause, err)
	}
	if p, err := takeovers.Check(ctx, "15550001234"); err != nil || p == nil || p.ID != pause.ID {
		t.Errorf("Check = %+v, %v", p, err)
	}
	if p, err := takeovers.Resume(ctx, pause.ID); err != nil || p.ResumedAt.IsZero() {
		t.Errorf("Resume = %+v, %v", p, err)
	}
	if p, err := takeovers.Check(ctx, "+15550001234"); err != nil || p != nil {
		t.Errorf("after it, Check = %+v, %v", p, err)
	}
	all, err := takeovers.List(ctx, true)
	if err != nil || all.Total != 1 || len(all.Items) != 1 {
		t.Errorf("List = %+v, %v", all, err)
	}
	if active, err := takeovers.List(ctx, false); err != nil || active.Total != 0 {
		t.Errorf("List of active ones = %+v, %v", active, err)
	}
}
