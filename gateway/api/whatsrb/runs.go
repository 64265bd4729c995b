package whatsrb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// lastRuns is how many runs a list shows. There are no pages.
const lastRuns = 50

// runBody is a run as clients see it.
type runBody struct {
	ID             string             `json:"id"`
	AgentID        string             `json:"agent_id"`
	Status         string             `json:"status" enum:"pending,running,completed,failed"`
	TriggeredBy    string             `json:"triggered_by" enum:"api,auto_inbound"`
	Input          json.RawMessage    `json:"input"`
	Output         *outputBody        `json:"output"`
	Error          *string            `json:"error"`
	ErrorMessage   *string            `json:"error_message"` // the same: the SDK reads one, the OpenAPI document has the other
	ModelUsed      *string            `json:"model_used"`
	InputTokens    int                `json:"input_tokens"`
	OutputTokens   int                `json:"output_tokens"`
	LatencyMS      int64              `json:"latency_ms"`
	DurationMS     int64              `json:"duration_ms"`
	ContextSummary *string            `json:"context_summary"`
	ActionStatuses []actionStatusBody `json:"action_statuses" nullable:"true" description:"Parallel to the actions of output; null where none need be confirmed"`
	ActionsDecided *string            `json:"actions_decided_at"`
	StartedAt      *string            `json:"started_at"`
	CompletedAt    *string            `json:"completed_at"`
	CreatedAt      *string            `json:"created_at"`
}

type outputBody struct {
	Intent          string             `json:"intent"`
	Confidence      float64            `json:"confidence" minimum:"0" maximum:"1"`
	Actions         []outputActionBody `json:"actions"`
	Language        string             `json:"language"`
	SuggestedReply  string             `json:"suggested_reply"`
	AnalysisSummary string             `json:"analysis_summary"`
	ContextSummary  string             `json:"context_summary"`
}

type outputActionBody struct {
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload"`
}

type actionStatusBody struct {
	Status    string  `json:"status" enum:"pending,confirmed,rejected,expired"`
	DecidedAt *string `json:"decided_at"`
	DecidedBy *string `json:"decided_by"`
}

func newRunBody(r *gateway.Run) runBody {
	b := runBody{
		ID:             string(r.ID),
		AgentID:        r.Agent.String(),
		Status:         string(r.Status),
		TriggeredBy:    string(r.Trigger),
		Input:          r.Input,
		Error:          wire.OrNull(r.Error),
		ErrorMessage:   wire.OrNull(r.Error),
		ModelUsed:      wire.OrNull(r.Model),
		InputTokens:    r.InputTokens,
		OutputTokens:   r.OutputTokens,
		LatencyMS:      r.Latency.Milliseconds(),
		DurationMS:     r.Duration.Milliseconds(),
		ActionStatuses: actionStatuses(r),
		ActionsDecided: wire.Stamp(r.ActionsDecided),
		StartedAt:      wire.Stamp(r.StartedAt),
		CompletedAt:    wire.Stamp(r.CompletedAt),
		CreatedAt:      wire.Stamp(r.CreatedAt),
	}
	if len(b.Input) == 0 {
		b.Input = json.RawMessage("null")
	}
	if o := r.Output; o != nil {
		b.ContextSummary = wire.OrNull(o.ContextSummary)
		b.Output = &outputBody{
			Intent:          o.Intent,
			Confidence:      o.Confidence,
			Actions:         make([]outputActionBody, len(o.Actions)),
			Language:        o.Language,
			SuggestedReply:  o.SuggestedReply,
			AnalysisSummary: o.AnalysisSummary,
			ContextSummary:  o.ContextSummary,
		}
		for i, a := range o.Actions {
			if a.Payload == nil {
				a.Payload = map[string]any{} // clients index it
			}
			b.Output.Actions[i] = outputActionBody(a)
		}
	}
	return b
}

// actionStatuses is parallel to the output's actions. It is nil, shown as
// null, for an agent without confirmation: clients then dispatch everything.
func actionStatuses(r *gateway.Run) []actionStatusBody {
	confirm := r.Confirm
	out := make([]actionStatusBody, len(r.Actions))
	for i, a := range r.Actions {
		status := a.Status
		if status == gateway.ActionAuto {
			status = gateway.ActionConfirmed // beside actions that need it: nobody has to confirm this one
		} else {
			confirm = true
		}
		out[i] = actionStatusBody{Status: string(status), DecidedAt: wire.Stamp(a.DecidedAt), DecidedBy: wire.OrNull(a.DecidedBy)}
	}
	if !confirm {
		return nil
	}
	return out
}

func (h *API) listRuns(c echo.Context) error {
	limit, err := limitParam(c, lastRuns)
	if err != nil {
		return err
	}
	a, err := h.pathAgent(c)
	if err != nil {
		return err
	}
	runs, total, err := h.Runs.Runs(c.Request().Context(), gateway.RunFilter{Agent: a.ID, Before: gateway.RunID(c.QueryParam("before")), Limit: limit})
	if err != nil {
		return fmt.Errorf("list runs of agent %s: %w", a.ID, err)
	}
	out := make([]runBody, len(runs))
	for i := range runs {
		out[i] = newRunBody(&runs[i])
	}
	return wire.List(c, out, total)
}

func (h *API) retrieveRun(c echo.Context) error {
	r, err := h.pathRun(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newRunBody(&r))
}

// routeBody is what was decided about a run: why this agent answers it (null for
// runs of the API), how often newer messages called it back, why it ended, and
// what was dropped or repaired on the way.
type routeBody struct {
	RunID      string   `json:"run_id"`
	AgentID    string   `json:"agent_id"`
	Routed     *string  `json:"routed"`
	Supersedes int      `json:"supersedes"`
	StopReason *string  `json:"stop_reason"`
	Notes      []string `json:"notes"`
}

func (h *API) retrieveRoute(c echo.Context) error {
	r, err := h.pathRun(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, routeBody{
		RunID: string(r.ID), AgentID: r.Agent.String(), Routed: wire.OrNull(r.Routed), Supersedes: r.Supersedes,
		StopReason: wire.OrNull(string(r.StopReason)), Notes: append([]string{}, r.Notes...),
	})
}

type runInput struct {
	Input    json.RawMessage `json:"input"`
	Metadata json.RawMessage `json:"metadata"`
}

func (h *API) createRun(c echo.Context) error {
	a, err := h.pathAgent(c)
	if err != nil {
		return err
	}
	var in runInput
	if err := wire.ReadMember(c, "run", &in); err != nil {
		return err
	}
	p := wire.Problems{}
	input := wrapInput(in.Input, p)
	metadata := checkMetadata(in.Metadata, p)
	if !a.Active {
		p.Add("agent", "is not active")
	}
	if err := p.Err(); err != nil {
		return err
	}
	var id gateway.RunID
	if try := idempotency.ID(c); try != "" {
		id = gateway.RunIDOf(try)
	}
	r, err := h.Runner.Start(c.Request().Context(), id, &a, input, metadata)
	if err != nil {
		return fmt.Errorf("start run of agent %s: %w", a.ID, err)
	}
	return wire.Data(c, http.StatusCreated, newRunBody(&r))
}

// absent reports whether a member is missing or null.
func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// wrapInput makes an object of a bare string, which is what the Ruby SDK
// sends. Any other JSON but null is taken as it is.
func wrapInput(raw json.RawMessage, p wire.Problems) json.RawMessage {
	if absent(raw) {
		p.Add("input", "can't be blank")
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		p.Add("input", "holds a number that is out of range")
		return nil
	}
	text, ok := v.(string)
	if !ok {
		return raw
	}
	if strings.TrimSpace(text) == "" {
		p.Add("input", "can't be blank")
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as wire does
	if err := enc.Encode(map[string]string{"last_message": text}); err != nil {
		p.Add("input", "is not valid")
	}
	return bytes.TrimSpace(b.Bytes())
}

// maxConversationKey is in characters; the key is part of an index.
const maxConversationKey = 255

// checkMetadata returns nil where there is none.
func checkMetadata(raw json.RawMessage, p wire.Problems) json.RawMessage {
	if absent(raw) {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		p.Add("metadata", "holds a number that is out of range")
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		p.Add("metadata", "must be an object")
		return nil
	}
	if key, ok := m["conversation_key"]; ok && key != nil {
		if s, ok := key.(string); !ok || utf8.RuneCountInString(s) > maxConversationKey {
			p.Add("metadata", fmt.Sprintf("conversation_key must be a string of at most %d characters", maxConversationKey))
		}
	}
	return raw
}

// pathRun returns the run that the path names.
func (h *API) pathRun(c echo.Context) (gateway.Run, error) {
	agent, id, err := pathRunID(c)
	if err != nil {
		return gateway.Run{}, err
	}
	r, err := h.Runs.Run(c.Request().Context(), agent, id)
	if err != nil {
		err = fmt.Errorf("find run %s: %w", id, err)
	}
	return r, err
}

func pathRunID(c echo.Context) (gateway.AgentID, gateway.RunID, error) {
	agent, err := pathAgentID(c)
	if err != nil {
		return "", "", err
	}
	id, ok := wire.PathID(c, "run")
	if !ok {
		return "", "", wire.NotFound("run")
	}
	return agent, gateway.RunID(id), nil
}

// limitParam reads the optional limit of a list, from 1 to most.
func limitParam(c echo.Context, most int) (int, error) {
	s := c.QueryParam("limit")
	if s == "" {
		return most, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, wire.BadRequest(fmt.Sprintf("limit must be between 1 and %d", most))
	}
	return n, nil
}
