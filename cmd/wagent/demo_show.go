package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wagent/debounce"
	"wagent/gateway"
)

// show is the demo's story: it writes as a guest does, watches each step, and
// fails if one does not come.
type show struct {
	w        io.Writer
	start    time.Time
	api      apiClient
	receiver *receiver
	batches  chan debounce.Batch
	sends    chan gateway.Send
	took     []string // lines of the closing table
}

const guest = "+15550001234"

func (s *show) play(ctx context.Context) error {
	fmt.Fprintln(s.w, "A guest writes to a hotel. Everything runs in this process: no server, account, key or network.")
	fmt.Fprintln(s.w, "\nA burst of three messages becomes one run, one reply and one action:")
	first, err := s.burst(ctx, "acc_desk", "hi there!", "could you please clean", "room 204 tomorrow at 8?")
	if err != nil {
		return err
	}
	if err := s.delivered(ctx, first, gateway.EventRunCompleted, gateway.EventAction); err != nil {
		return err
	}
	fmt.Fprintln(s.w, "\nA second burst names no room; the summary of the first run supplies it:")
	second, err := s.burst(ctx, "acc_desk", "oh, and", "fresh towels please")
	if err != nil {
		return err
	}
	if !strings.Contains(string(second.Input), "Guest of room 204") {
		return fmt.Errorf("the second run was not given the first one's summary: %s", second.Input)
	}
	s.step("context", "the run was given %q", "Guest of room 204 asked for cleaning.")
	if err := s.delivered(ctx, second, gateway.EventRunCompleted, gateway.EventAction); err != nil {
		return err
	}
	fmt.Fprintln(s.w, "\nAnother number's agent needs a person to confirm its actions:")
	third, err := s.burst(ctx, "acc_billing", "you charged me twice", "I want a refund")
	if err != nil {
		return err
	}
	if err := s.delivered(ctx, third, gateway.EventRunCompleted); err != nil {
		return err
	}
	if err := s.confirm(ctx, third); err != nil {
		return err
	}
	if err := s.delivered(ctx, third, gateway.EventAction, gateway.EventRunActioned); err != nil {
		return err
	}
	fmt.Fprintf(s.w, "\nAll of it happened, in %.1f s:\n", time.Since(s.start).Seconds())
	for _, line := range s.took {
		fmt.Fprintln(s.w, "  "+line)
	}
	return nil
}

// demoRun is a run as the API shows it, as far as the show looks at it.
type demoRun struct {
	ID             string          `json:"id"`
	AgentID        string          `json:"agent_id"`
	Status         string          `json:"status"`
	Error          string          `json:"error"`
	Input          json.RawMessage `json:"input"`
	Output         gateway.Output  `json:"output"`
	DurationMS     int             `json:"duration_ms"`
	ActionStatuses []struct {
		Status string `json:"status"`
	} `json:"action_statuses"`
}

// burst writes texts as the guest and follows them to the reply.
func (s *show) burst(ctx context.Context, account string, texts ...string) (demoRun, error) {
	for i, text := range texts {
		if i > 0 {
			pause := time.NewTimer(350 * time.Millisecond)
			select {
			case <-ctx.Done():
				pause.Stop()
				return demoRun{}, ctx.Err()
			case <-pause.C:
			}
		}
		var stored struct{ ID, Outcome string }
		body := map[string]any{"message": map[string]any{"from": guest, "name": "Ada", "text": text}}
		if err := s.api.call(ctx, http.MethodPost, "/api/v1/sandbox/"+account+"/messages", body, &stored); err != nil {
			return demoRun{}, err
		}
		window := "its window opens: due in 1 s of quiet"
		if i > 0 {
			window = "the window moves: due in 1 s again"
		}
		s.step("gateway", "%q is %s as %s; %s", text, stored.Outcome, short(stored.ID), window)
	}
	b, err := wait(ctx, s.batches, "the window to fall due")
	if err != nil {
		return demoRun{}, err
	}
	late := time.Since(b.DueAt)
	s.step("debounce", "the window is due: %d messages, open for %.2f s, handed over %.1f ms late",
		len(b.Items), b.DueAt.Sub(b.OpenedAt).Seconds(), float64(late.Microseconds())/1000)
	if len(b.Items) != len(texts) {
		return demoRun{}, fmt.Errorf("the batch holds %d messages, not %d", len(b.Items), len(texts))
	}
	sent, err := wait(ctx, s.sends, "the reply")
	if err != nil {
		return demoRun{}, err
	}
	if sent.State != gateway.SendAccepted {
		return demoRun{}, fmt.Errorf("the reply was not accepted: %s %s", sent.State, sent.Error)
	}
	replied := time.Since(b.DueAt)
	r, err := s.run(ctx, sent.OriginID)
	if err != nil {
		return demoRun{}, err
	}
	s.step("dispatch", "%s %s: intent %s, confidence %.2f; the output is valid", short(r.ID), r.Status, r.Output.Intent, r.Output.Confidence)
	for i, a := range r.Output.Actions {
		payload, _ := json.Marshal(a.Payload) // decoded from JSON just now
		state := "dispatched at once"
		if i < len(r.ActionStatuses) {
			state = r.ActionStatuses[i].Status
		}
		s.step("dispatch", "action %s %s: %s", a.Type, payload, state)
	}
	s.step("reply", "%q", sent.Text)
	s.took = append(s.took, fmt.Sprintf("%-12s %d messages → 1 run; window due → reply accepted in %.1f ms", account, len(texts), float64(replied.Microseconds())/1000))
	return r, nil
}

// run looks a run up among those of every agent.
func (s *show) run(ctx context.Context, id string) (demoRun, error) {
	var agents []struct{ ID string }
	if err := s.api.call(ctx, http.MethodGet, "/api/v1/agents", nil, &agents); err != nil {
		return demoRun{}, err
	}
	for _, a := range agents {
		var runs []demoRun
		if err := s.api.call(ctx, http.MethodGet, "/api/v1/agents/"+url.PathEscape(a.ID)+"/runs", nil, &runs); err != nil {
			return demoRun{}, err
		}
		for _, r := range runs {
			if r.ID == id && r.Status == string(gateway.RunCompleted) {
				return r, nil
			}
		}
	}
	return demoRun{}, fmt.Errorf("run %s is not there, or not completed", id)
}

// delivered waits until the receiver has verified each of a run's events.
func (s *show) delivered(ctx context.Context, r demoRun, events ...string) error {
	for range events {
		got, err := wait(ctx, s.receiver.got, "a webhook delivery")
		if err != nil {
			return err
		}
		if got.err != nil {
			return got.err
		}
		if got.run != r.ID {
			return fmt.Errorf("a delivery of run %s came, not of %s", got.run, r.ID)
		}
		s.step("webhook", "%s %s arrived; the receiver verified its signature", got.event, got.action)
	}
	return nil
}

func (s *show) confirm(ctx context.Context, r demoRun) error {
	if len(r.ActionStatuses) != 1 || r.ActionStatuses[0].Status != string(gateway.ActionPending) {
		return fmt.Errorf("run %s has no pending action to confirm", r.ID)
	}
	body := map[string]any{"actions": []any{map[string]any{"index": 0, "status": "confirmed"}}}
	var decided demoRun
	if err := s.api.call(ctx, http.MethodPost, "/api/v1/agents/"+r.AgentID+"/runs/"+r.ID+"/actions", body, &decided); err != nil {
		return err
	}
	s.step("person", "confirms action 0 over the API: now %s", decided.ActionStatuses[0].Status)
	return nil
}

func wait[T any](ctx context.Context, from <-chan T, what string) (T, error) {
	select {
	case v := <-from:
		return v, nil
	case <-ctx.Done():
		var zero T
		return zero, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
	}
}

func short(id string) string {
	if len(id) > 10 {
		return id[:10] + "…"
	}
	return id
}

// apiClient calls the agents API as a customer's program does.
type apiClient struct{ base, key string }

func (c apiClient) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("call the API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if err := json.Unmarshal(b, &struct{ Data any }{Data: out}); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}
