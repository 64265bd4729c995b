package whatsrb

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// settingsBody are the settings of an agent that the contract does not have, in
// the form that agentInput takes: a client changes some of what it read and sends
// it back as the agent.
type settingsBody struct {
	MaxWait       int                      `json:"max_wait_seconds"`
	MaxBatch      int                      `json:"max_batch_messages"`
	OnNewMessage  gateway.NewMessagePolicy `json:"on_new_message" enum:"follow_up,supersede"`
	MaxSupersedes int                      `json:"max_supersedes"`
	InboundConfig inboundSettings          `json:"inbound_config"`
	FallbackReply string                   `json:"fallback_reply"`
	Models        []string                 `json:"models"`
	ModelSettings modelSettings            `json:"model_settings"`
	SpendLimits   spendLimits              `json:"spend_limits"`
	Compaction    compaction               `json:"compaction"`
	MemoryBlocks  []block                  `json:"memory_blocks"`
	ContactMemory int                      `json:"contact_memory_limit"`
	Answers       routeRule                `json:"answers"`
}

// inboundSettings is the whole filter: where it is named, it is replaced.
type inboundSettings struct {
	inboundConfig
	IgnoreEmoji    bool `json:"ignore_emoji_only"`
	IgnoreGreeting bool `json:"ignore_greetings"`
}

type modelSettings struct {
	Seed              *int64 `json:"seed"`
	ReasoningEffort   string `json:"reasoning_effort"`
	ThinkingBudget    int    `json:"thinking_budget_tokens"`
	ParallelToolCalls *bool  `json:"parallel_tool_calls"`
}

type spendLimits struct {
	RunsPerHour  int `json:"runs_per_conversation_hour"`
	TokensPerDay int `json:"tokens_per_day"`
}

type compaction struct {
	Mode      gateway.CompactionMode `json:"mode"`
	Model     string                 `json:"model"`
	MaxTokens int                    `json:"max_tokens"`
}

type block struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

type routeRule struct {
	Keywords  []string `json:"keywords"`
	Languages []string `json:"languages"`
	Tags      []string `json:"tags"`
	Hours     string   `json:"hours"`
}

func newSettingsBody(a *gateway.Agent) settingsBody {
	list := func(in []string) []string { return append([]string{}, in...) } // clients index it
	b := settingsBody{
		MaxWait: int(a.MaxWait / time.Second), MaxBatch: a.MaxBatch, OnNewMessage: a.OnNewMessage, MaxSupersedes: a.MaxSupersedes,
		InboundConfig: inboundSettings{newAgentBody(a).InboundConfig, a.Filter.IgnoreEmoji, a.Filter.IgnoreGreeting},
		FallbackReply: a.FallbackReply, Models: append([]string{a.Model}, a.Fallbacks...), ModelSettings: modelSettings(a.Settings),
		SpendLimits: spendLimits(a.Spend), Compaction: compaction(a.Compaction), MemoryBlocks: make([]block, len(a.Blocks)),
		ContactMemory: a.ContactMemory, Answers: routeRule{list(a.Route.Keywords), list(a.Route.Languages), list(a.Route.Tags), a.Route.Hours},
	}
	for i, x := range a.Blocks {
		b.MemoryBlocks[i] = block(x)
	}
	return b
}

func (h *API) retrieveSettings(c echo.Context) error {
	a, err := h.pathAgent(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newSettingsBody(&a))
}

// applySettings changes what the input names of the settings that the contract
// does not have. One that is named is replaced as a whole: what it leaves out,
// and what is null, is at its default.
func (in *agentInput) applySettings(a *gateway.Agent, p wire.Problems) {
	in.applyModels(a, p)
	in.applyModelSettings(a, p)
	in.applySpendLimits(a, p)
	in.applyCompaction(a, p)
	in.applyAnswers(a, p)
	in.ContactMemory.To(&a.ContactMemory)
	if in.MemoryBlocks.Set {
		a.Blocks = nil
		for _, b := range in.MemoryBlocks.Value {
			a.Blocks = append(a.Blocks, gateway.Block(b))
		}
	}
}

// applyModels takes a model and its fallbacks. Null takes the fallbacks away
// and leaves the model, which has a member of its own.
func (in *agentInput) applyModels(a *gateway.Agent, p wire.Problems) {
	models := in.Models.Value
	switch {
	case !in.Models.Set:
	case models == nil:
		a.Fallbacks = nil
	case in.Model != nil:
		p.Add("models", "stands beside model: give one of them, the first of models is what model is")
	case len(models) == 0:
		p.Add("models", "must name a model")
	default:
		a.Model, a.Fallbacks = models[0], slices.Clone(models[1:])
	}
}

func (in *agentInput) applyModelSettings(a *gateway.Agent, p wire.Problems) {
	if !in.ModelSettings.Set {
		return
	}
	var s modelSettings
	if members(in.ModelSettings.Value, &s, "model_settings", p) {
		a.Settings = gateway.ModelSettings(s)
	}
}

func (in *agentInput) applySpendLimits(a *gateway.Agent, p wire.Problems) {
	if !in.SpendLimits.Set {
		return
	}
	var l spendLimits
	if members(in.SpendLimits.Value, &l, "spend_limits", p) {
		a.Spend = gateway.SpendLimits(l)
	}
}

func (in *agentInput) applyCompaction(a *gateway.Agent, p wire.Problems) {
	if !in.Compaction.Set {
		return
	}
	c := compaction{Mode: gateway.DefaultAgent().Compaction.Mode}
	if members(in.Compaction.Value, &c, "compaction", p) {
		a.Compaction = gateway.Compaction(c)
	}
}

func (in *agentInput) applyAnswers(a *gateway.Agent, p wire.Problems) {
	if !in.Answers.Set {
		return
	}
	var r routeRule
	if members(in.Answers.Value, &r, "answers", p) {
		a.Route = gateway.RouteRule(r)
	}
}

// members fills the struct that dst points to from a member of the input, and
// reports whether it could. A name that the struct does not have is refused,
// other than in the contract's own members: who misspells a limit would have
// none.
func members(o wire.Object, dst any, name string, p wire.Problems) bool {
	e, wrong := errors.AsType[*gateway.Error](o.IntoAll(dst))
	if !wrong {
		return true
	}
	for _, field := range slices.Sorted(maps.Keys(e.Details)) {
		for _, msg := range e.Details[field] {
			if strings.HasPrefix(msg, "each entry") {
				msg = ": " + msg
			} else {
				msg = " " + msg
			}
			p.Add(name, field+msg)
		}
	}
	return false
}
