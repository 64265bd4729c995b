package whatsrb

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

type blockInput struct {
	Label string `json:"label"`
	Value string `json:"value"`
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
	var s struct {
		Seed              *int64 `json:"seed"`
		ReasoningEffort   string `json:"reasoning_effort"`
		ThinkingBudget    int    `json:"thinking_budget_tokens"`
		ParallelToolCalls *bool  `json:"parallel_tool_calls"`
	}
	if members(in.ModelSettings.Value, &s, "model_settings", p) {
		a.Settings = gateway.ModelSettings{
			Seed: s.Seed, ReasoningEffort: s.ReasoningEffort, ThinkingBudget: s.ThinkingBudget, ParallelToolCalls: s.ParallelToolCalls,
		}
	}
}

func (in *agentInput) applySpendLimits(a *gateway.Agent, p wire.Problems) {
	if !in.SpendLimits.Set {
		return
	}
	var l struct {
		RunsPerHour  int `json:"runs_per_conversation_hour"`
		TokensPerDay int `json:"tokens_per_day"`
	}
	if members(in.SpendLimits.Value, &l, "spend_limits", p) {
		a.Spend = gateway.SpendLimits{RunsPerHour: l.RunsPerHour, TokensPerDay: l.TokensPerDay}
	}
}

func (in *agentInput) applyCompaction(a *gateway.Agent, p wire.Problems) {
	if !in.Compaction.Set {
		return
	}
	var c struct {
		Mode      gateway.CompactionMode `json:"mode"`
		Model     string                 `json:"model"`
		MaxTokens int                    `json:"max_tokens"`
	}
	c.Mode = gateway.DefaultAgent().Compaction.Mode
	if members(in.Compaction.Value, &c, "compaction", p) {
		a.Compaction = gateway.Compaction{Mode: c.Mode, Model: c.Model, MaxTokens: c.MaxTokens}
	}
}

func (in *agentInput) applyAnswers(a *gateway.Agent, p wire.Problems) {
	if !in.Answers.Set {
		return
	}
	var r struct {
		Keywords  []string `json:"keywords"`
		Languages []string `json:"languages"`
		Tags      []string `json:"tags"`
		Hours     string   `json:"hours"`
	}
	if members(in.Answers.Value, &r, "answers", p) {
		a.Route = gateway.RouteRule{Keywords: r.Keywords, Languages: r.Languages, Tags: r.Tags, Hours: r.Hours}
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
