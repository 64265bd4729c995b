package store

import (
	"context"

	"wagent/gateway"
)

const agentSelect = `SELECT id, config_key, account, name, description, system_prompt, model, temperature, max_tokens,
	active, auto_run, quiet_ms, max_wait_ms, max_batch, context_ttl_ms, allowed_actions, payload_schema,
	confirm, confirmation_timeout_ms, inbound_filter, fallback_reply, on_new_message, max_supersedes,
	fallbacks, model_settings, spend_limits, compaction, memory_blocks, contact_memory, answers, created_at, updated_at FROM agents `

// A field is a gateway.Field as the database keeps it.
type field struct {
	Name     string            `json:"name"`
	Type     gateway.FieldType `json:"type"`
	Required bool              `json:"required"`
}

// A filter is a gateway.InboundFilter as the database keeps it.
type filter struct {
	TextOnly       bool     `json:"text_only"`
	MinLength      int      `json:"min_length"`
	MaxPerHour     int      `json:"max_per_hour"`
	IgnorePatterns []string `json:"ignore_patterns"`
	IgnoreEmoji    bool     `json:"ignore_emoji"`
	IgnoreGreeting bool     `json:"ignore_greeting"`
}

// modelSettings are gateway.ModelSettings as the database keeps them.
type modelSettings struct {
	Seed              *int64 `json:"seed"`
	ReasoningEffort   string `json:"reasoning_effort"`
	ThinkingBudget    int    `json:"thinking_budget"`
	ParallelToolCalls *bool  `json:"parallel_tool_calls"`
}

// spendLimits are gateway.SpendLimits as the database keeps them.
type spendLimits struct {
	RunsPerHour  int `json:"runs_per_hour"`
	TokensPerDay int `json:"tokens_per_day"`
}

// A compaction is a gateway.Compaction as the database keeps it.
type compaction struct {
	Mode      gateway.CompactionMode `json:"mode"`
	Model     string                 `json:"model"`
	MaxTokens int                    `json:"max_tokens"`
}

// A block is a gateway.Block as the database keeps it.
type block struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// A routeRule is a gateway.RouteRule as the database keeps it.
type routeRule struct {
	Keywords  []string `json:"keywords"`
	Languages []string `json:"languages"`
	Tags      []string `json:"tags"`
	Hours     string   `json:"hours"`
}

func scanAgent(r row) (gateway.Agent, error) {
	var a gateway.Agent
	var fields []field
	var f filter
	var settings modelSettings
	var spend spendLimits
	var compact compaction
	var blocks []block
	var rule routeRule
	err := r.Scan(&a.ID, &a.Key, &a.Account, &a.Name, &a.Description, &a.SystemPrompt, &a.Model, &a.Temperature, &a.MaxTokens,
		&a.Active, &a.AutoRun, span(&a.Quiet), span(&a.MaxWait), &a.MaxBatch, span(&a.ContextTTL), from(&a.AllowedActions), from(&fields),
		&a.Confirm, span(&a.ConfirmationTimeout), from(&f), &a.FallbackReply, &a.OnNewMessage, &a.MaxSupersedes,
		from(&a.Fallbacks), from(&settings), from(&spend), from(&compact), from(&blocks), &a.ContactMemory, from(&rule), at(&a.CreatedAt), at(&a.UpdatedAt))
	for _, x := range fields {
		a.PayloadSchema = append(a.PayloadSchema, gateway.Field(x))
	}
	for _, b := range blocks {
		a.Blocks = append(a.Blocks, gateway.Block(b))
	}
	a.Filter = gateway.InboundFilter(f)
	a.Settings, a.Spend, a.Compaction = gateway.ModelSettings(settings), gateway.SpendLimits(spend), gateway.Compaction(compact)
	a.Route = gateway.RouteRule(rule)
	return a, err
}

// agentValues returns the settings of an agent in the order of the statements
// below, as $2 and on.
func agentValues(a *gateway.Agent) []any {
	fields := make([]field, len(a.PayloadSchema))
	for i, x := range a.PayloadSchema {
		fields[i] = field(x)
	}
	blocks := make([]block, len(a.Blocks))
	for i, b := range a.Blocks {
		blocks[i] = block(b)
	}
	var rule any = "" // so that a statement can tell who has none
	if !a.Route.IsZero() {
		rule = asJSON{routeRule(a.Route)}
	}
	return []any{
		a.ID, a.Account, a.Name, a.Description, a.SystemPrompt, a.Model, a.Temperature, a.MaxTokens,
		a.Active, a.AutoRun, a.Quiet, a.MaxWait, a.MaxBatch, a.ContextTTL,
		asJSON{a.AllowedActions},
		asJSON{fields},
		a.Confirm, a.ConfirmationTimeout,
		asJSON{filter(a.Filter)},
		a.FallbackReply, a.OnNewMessage, a.MaxSupersedes,
		asJSON{a.Fallbacks},
		asJSON{modelSettings(a.Settings)},
		asJSON{spendLimits(a.Spend)},
		asJSON{compaction(a.Compaction)},
		asJSON{blocks},
		a.ContactMemory, rule, a.UpdatedAt,
	}
}

func insertAgent(ctx context.Context, q queries, a *gateway.Agent) error {
	_, err := q.exec(ctx, `INSERT INTO agents (id, account, name, description, system_prompt, model, temperature, max_tokens,
			active, auto_run, quiet_ms, max_wait_ms, max_batch, context_ttl_ms, allowed_actions, payload_schema,
			confirm, confirmation_timeout_ms, inbound_filter, fallback_reply, on_new_message, max_supersedes,
			fallbacks, model_settings, spend_limits, compaction, memory_blocks, contact_memory, answers, updated_at, config_key, created_at, deleted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
			$26, $27, $28, $29, $30, $31, $32, 0)`,
		append(agentValues(a), a.Key, a.CreatedAt)...)
	return err
}

func updateAgent(ctx context.Context, q queries, a *gateway.Agent) error {
	_, err := q.exec(ctx, `UPDATE agents SET account = $2, name = $3, description = $4, system_prompt = $5, model = $6,
			temperature = $7, max_tokens = $8, active = $9, auto_run = $10, quiet_ms = $11, max_wait_ms = $12, max_batch = $13,
			context_ttl_ms = $14, allowed_actions = $15, payload_schema = $16, confirm = $17, confirmation_timeout_ms = $18,
			inbound_filter = $19, fallback_reply = $20, on_new_message = $21, max_supersedes = $22,
			fallbacks = $23, model_settings = $24, spend_limits = $25, compaction = $26, memory_blocks = $27, contact_memory = $28,
			answers = $29, updated_at = $30
		WHERE id = $1`, agentValues(a)...)
	return err
}
