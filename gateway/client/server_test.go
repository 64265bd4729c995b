package client_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"wagent/gateway/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "wrb_test_example"

type object = map[string]any

// gateway is the contract in memory, on the real wire: what each call gets is
// written as JSON, not with the client's types. It keeps what its tests look at.
type gateway struct {
	mu     sync.Mutex
	agents []object
	runs   []object // newest first
	hooks  []object
	pause  object   // nil: agents answer
	posts  []object // the bodies of messages, newest last
	fail   []int
}

const stamp = "2026-03-04T05:06:07Z"

// start returns a client of a new gateway, and what ends both.
func start(options ...client.Option) (*client.Client, func()) {
	g := &gateway{}
	c, _, end := g.serve(options...)
	return c, end
}

func (g *gateway) serve(options ...client.Option) (*client.Client, string, func()) {
	s := httptest.NewServer(g)
	c, err := client.New(s.URL, testKey, append([]client.Option{client.WithHTTPClient(s.Client())}, options...)...)
	if err != nil {
		panic(err)
	}
	return c, s.URL, s.Close
}

type refusal struct {
	status  int
	message string
	details object
}

func missing() *refusal { return &refusal{404, "Not found", nil} }

func invalid(field, message string) *refusal {
	return &refusal{422, "Validation failed", object{field: []string{message}}}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status, out, refused := g.answer(r)
	if refused != nil {
		body := object{"error": refused.message}
		if refused.details != nil {
			body["details"] = refused.details
		}
		status, out = refused.status, body
	}
	w.WriteHeader(status)
	if out != nil {
		_ = json.NewEncoder(w).Encode(out)
	}
}

func data(v any) any { return object{"data": v} }

func list(vs []object) any {
	return object{"data": append([]object{}, vs...), "meta": object{"total": len(vs)}}
}

func (g *gateway) answer(r *http.Request) (int, any, *refusal) {
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		return 0, nil, &refusal{401, "Invalid or missing API key", nil}
	}
	if len(g.fail) > 0 {
		status := g.fail[0]
		g.fail = g.fail[1:]
		return 0, nil, &refusal{status, "Internal error", nil}
	}
	var in object
	if r.ContentLength > 0 {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return 0, nil, &refusal{400, "The body is not JSON", nil}
		}
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !ok {
		return 0, nil, missing()
	}
	segments := strings.Split(path, "/")
	switch segments[0] {
	case "agents", "agent_templates":
		return g.agentCall(r.Method, segments, in)
	case "webhooks":
		return g.webhookCall(r.Method, segments, in)
	case "business_accounts", "connects", "sessions":
		return g.accountCall(r, segments, in)
	case "usage":
		return 200, data(counted(r)), nil
	}
	return 0, nil, missing()
}

func find(in []object, id string) object {
	if i := slices.IndexFunc(in, func(o object) bool { return fmt.Sprint(o["id"]) == id }); i >= 0 {
		return in[i]
	}
	return nil
}

func (g *gateway) agentCall(method string, path []string, in object) (int, any, *refusal) {
	switch {
	case path[0] == "agent_templates":
		return 200, list([]object{{"key": "support", "name": "Customer support", "description": "…", "system_prompt": "…"}}), nil
	case len(path) == 1 && method == http.MethodGet:
		return 200, list(g.agents), nil
	case len(path) == 1 && method == http.MethodPost:
		return g.createAgent(in)
	}
	a := find(g.agents, path[1])
	if a == nil {
		return 0, nil, missing()
	}
	switch {
	case len(path) > 2:
		return g.runCall(method, a, path[3:], in)
	case method == http.MethodPatch:
		maps.Copy(a, in["agent"].(object))
		return 200, data(a), nil
	case method == http.MethodDelete:
		g.agents = slices.DeleteFunc(g.agents, func(o object) bool { return o["id"] == a["id"] })
		return 204, nil, nil
	}
	return 200, data(a), nil
}

func (g *gateway) createAgent(in object) (int, any, *refusal) {
	agent, ok := in["agent"].(object)
	if !ok {
		return 0, nil, &refusal{400, "Missing parameter: agent", nil}
	}
	if agent["system_prompt"] == nil {
		return 0, nil, invalid("system_prompt", "can't be blank")
	}
	a := object{
		"id": fmt.Sprintf("agt_%d", len(g.agents)+1), "description": nil, "model": "gpt-4o-mini", "temperature": 0.3, "max_tokens": 1024,
		"active": true, "auto_run_inbound": false, "debounce_seconds": 10, "context_ttl_minutes": 60, "business_account_id": nil,
		"allowed_actions": []string{}, "payload_schema": []object{}, "confirmation_mode": "auto", "confirmation_timeout_minutes": 30,
		"inbound_config": object{"trigger_on": "all"}, "created_at": stamp, "updated_at": stamp, "unknown": object{"to": "the client"},
	}
	maps.Copy(a, agent)
	var tools []object
	allowed, _ := a["allowed_actions"].([]any)
	for _, key := range allowed {
		words := strings.NewReplacer(".", " ", "_", " ").Replace(key.(string))
		tools = append(tools, object{"key": key, "name": strings.ToUpper(words[:1]) + words[1:]})
	}
	a["tools"] = tools
	g.agents = append(g.agents, a)
	return 201, data(a), nil
}

// understood is what the agents of the examples make of words.
var understood = map[string]object{
	"Clean room 204 tomorrow at 8": {
		"intent": "task_extraction", "confidence": 0.95, "language": "en", "suggested_reply": "I'll arrange cleaning for room 204 tomorrow at 8am.",
		"context_summary": "Guest requested room 204 cleaning for tomorrow 8am.",
		"actions":         []object{{"type": "hospitality.room_service.request", "payload": object{"room_number": "204", "priority": "normal"}}},
	},
	"I want a refund for order #1234": {
		"intent": "refund", "confidence": 0.9, "language": "en", "suggested_reply": "I'm sorry! A colleague looks at it.",
		"context_summary": "Wants a refund of order 1234.",
		"actions": []object{
			{"type": "support.refund.process", "payload": object{"order": "1234"}},
			{"type": "support.escalation.request", "payload": object{"to": "manager"}},
			{"type": "support.ticket.create", "payload": object{"message": "refund of order 1234"}},
		},
	},
}

func (g *gateway) runCall(method string, agent object, path []string, in object) (int, any, *refusal) {
	switch {
	case len(path) == 0 && method == http.MethodGet:
		return 200, list(g.runs), nil
	case len(path) == 0:
		input := in["run"].(object)["input"]
		if text, ok := input.(string); ok {
			input = object{"last_message": text}
		}
		run := object{
			"id": fmt.Sprintf("run_%d", len(g.runs)+1), "agent_id": agent["id"], "status": "pending", "triggered_by": "api", "input": input,
			"output": nil, "error": nil, "error_message": nil, "model_used": nil, "action_statuses": nil, "created_at": stamp, "completed_at": nil,
		}
		g.runs = slices.Insert(g.runs, 0, run)
		return 201, data(run), nil
	}
	run := find(g.runs, path[0])
	switch {
	case run == nil:
		return 0, nil, missing()
	case len(path) == 2:
		return g.decide(run, in["actions"].([]any))
	case run["status"] == "pending": // it is finished when somebody looks
		finish(agent, run)
	}
	return 200, data(run), nil
}

func finish(agent, run object) {
	output := understood[fmt.Sprint(run["input"].(object)["last_message"])]
	if output == nil {
		run["status"], run["error"], run["error_message"] = "failed", "the model did not answer", "the model did not answer"
		return
	}
	maps.Copy(run, object{
		"status": "completed", "output": output, "model_used": "openai/gpt-4o-mini", "input_tokens": 210, "output_tokens": 64,
		"latency_ms": 812, "duration_ms": 1430, "context_summary": output["context_summary"], "completed_at": stamp,
	})
	if agent["confirmation_mode"] == "confirm" {
		var statuses []object
		for range output["actions"].([]object) {
			statuses = append(statuses, object{"status": "pending", "decided_at": nil, "decided_by": nil})
		}
		run["action_statuses"] = statuses
	}
}

func (g *gateway) decide(run object, decisions []any) (int, any, *refusal) {
	statuses, ok := run["action_statuses"].([]object)
	if !ok {
		return 0, nil, invalid("actions", "need no confirmation")
	}
	for _, d := range decisions {
		i := int(d.(object)["index"].(float64))
		if i >= len(statuses) {
			return 0, nil, invalid("actions", fmt.Sprintf("there is no action %d", i))
		}
		if statuses[i]["status"] != "pending" {
			return 0, nil, &refusal{409, fmt.Sprintf("Action %d is already decided", i), nil}
		}
	}
	for _, d := range decisions {
		statuses[int(d.(object)["index"].(float64))] = object{"status": d.(object)["status"], "decided_at": stamp, "decided_by": "api"}
	}
	if !slices.ContainsFunc(statuses, func(o object) bool { return o["status"] == "pending" }) {
		run["actions_decided_at"] = stamp
	}
	return 200, data(run), nil
}
