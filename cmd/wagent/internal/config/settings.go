package config

import (
	"strings"
	"time"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// A namedModel is a model's handle, where the file names it. It is checked when
// the temperature that it is asked with is known.
type namedModel struct {
	value
	handle string
}

// handle reads a model's handle.
func (v value) handle(to *string, named *[]namedModel) {
	v.Text(to)
	*named = append(*named, namedModel{v, *to})
}

// models reads an agent's model and its fallbacks.
func (v value) models(a *gateway.Agent, named *[]namedModel) {
	var handles []string
	seen := document.Places{}
	v.list(func(v value) {
		var s string
		v.handle(&s, named)
		if strings.TrimSpace(s) == "" && !v.Faulty(v.Path) {
			v.Fault("can't be blank")
		}
		seen.Once(v.Value, s)
		handles = append(handles, s)
	})
	switch {
	case len(handles) > 0:
		a.Model, a.Fallbacks = handles[0], handles[1:]
	case !v.Faulty(v.Path):
		v.Fault("must name a model, such as openai/gpt-4o-mini")
	}
}

// oneOfModels faults an agent that says twice which model is its first.
func (v value) oneOfModels(set map[string]document.Value) {
	if given(set, "model") && given(set, "models") {
		set["models"].Fault("stands beside model in line %d, keep one: the first of models is what model is", set["model"].Line)
	}
}

// given reports whether a key has a value.
func given(set map[string]document.Value, key string) bool {
	at, ok := set[key]
	return ok && !at.Null()
}

func (v value) modelSettings(s *gateway.ModelSettings) {
	v.mapping(fields{
		"seed": func(v value) {
			s.Seed = new(int64)
			v.Whole(s.Seed)
		},
		"reasoning_effort": func(v value) { v.OneOf(&s.ReasoningEffort, gateway.ReasoningEfforts()...) },
		"thinking_budget_tokens": func(v value) {
			v.Integer(&s.ThinkingBudget)
			v.allow(gateway.Agent{Settings: gateway.ModelSettings{ThinkingBudget: s.ThinkingBudget}}, "model_settings")
		},
		"parallel_tool_calls": func(v value) {
			s.ParallelToolCalls = new(bool)
			v.Boolean(s.ParallelToolCalls)
		},
	})
}

func (v value) spendLimits(l *gateway.SpendLimits) {
	v.mapping(fields{
		"runs_per_conversation_hour": func(v value) {
			v.Integer(&l.RunsPerHour)
			v.allow(gateway.Agent{Spend: gateway.SpendLimits{RunsPerHour: l.RunsPerHour}}, "spend_limits")
		},
		"tokens_per_day": func(v value) {
			v.Integer(&l.TokensPerDay)
			v.allow(gateway.Agent{Spend: gateway.SpendLimits{TokensPerDay: l.TokensPerDay}}, "spend_limits")
		},
	})
}

func (v value) compaction(c *Config, k *gateway.Compaction) {
	mode := string(k.Mode)
	v.mapping(fields{
		"mode": func(v value) {
			v.OneOf(&mode, string(gateway.CompactionOff), string(gateway.CompactionSliding), string(gateway.CompactionAll))
		},
		"model": func(v value) {
			v.Text(&k.Model)
			if k.Model != "" && v.allow(gateway.Agent{Compaction: gateway.Compaction{Model: k.Model}}, "compaction") {
				v.model(c, k.Model, llm.Request{})
			}
		},
		"max_tokens": func(v value) {
			v.Integer(&k.MaxTokens)
			v.allow(gateway.Agent{Compaction: gateway.Compaction{MaxTokens: k.MaxTokens}}, "compaction")
		},
	})
	k.Mode = gateway.CompactionMode(mode)
}

func (v value) blocks(to *[]gateway.Block) {
	labels := document.Places{}
	v.list(func(v value) {
		var b gateway.Block
		set := v.mapping(fields{
			"label": func(v value) { v.Text(&b.Label) },
			"value": func(v value) { v.Text(&b.Value) },
		})
		v.Require(set, "", map[string]bool{"label": b.Label == ""})
		labels.Once(set["label"], b.Label)
		if !v.Faulty(v.Path) && v.allow(gateway.Agent{Blocks: []gateway.Block{b}}, "memory_blocks") {
			*to = append(*to, b)
		}
	})
}

// answers reads which messages an agent answers.
func (v value) answers(r *gateway.RouteRule) {
	v.mapping(fields{
		"keywords": func(v value) {
			v.texts(&r.Keywords, func(s []string) gateway.RouteRule { return gateway.RouteRule{Keywords: s} })
		},
		"languages": func(v value) {
			v.texts(&r.Languages, func(s []string) gateway.RouteRule { return gateway.RouteRule{Languages: s} })
		},
		"tags": func(v value) {
			v.texts(&r.Tags, func(s []string) gateway.RouteRule { return gateway.RouteRule{Tags: s} })
		},
		"hours": func(v value) { v.OneOf(&r.Hours, gateway.HoursOpen, gateway.HoursClosed) },
	})
}

// texts reads a list each of whose entries a rule may have.
func (v value) texts(to *[]string, rule func([]string) gateway.RouteRule) {
	seen := document.Places{}
	v.list(func(v value) {
		s, ok := v.Scalar("a text")
		if !ok || !v.allow(gateway.Agent{Route: rule([]string{s})}, "answers") {
			return
		}
		seen.Once(v.Value, s)
		*to = append(*to, s)
	})
}

func (v value) businessHours(to *gateway.Hours) {
	hours := gateway.Hours{}
	closed := false // a day is, and not because the file says nothing of it
	readers := fields{}
	for day := range time.Saturday + 1 {
		name := strings.ToLower(day.String()[:3])
		readers[name] = func(v value) {
			s, ok := v.Scalar(`hours such as "09:00-12:30, 14:00-18:00"`)
			if !ok {
				return
			}
			if strings.TrimSpace(s) == "" {
				closed = true
				return
			}
			spans, err := gateway.ParseSpans(s)
			if err != nil {
				v.Fault("%s, or empty where it is closed", err)
				return
			}
			hours[day] = spans
		}
	}
	v.mapping(readers)
	switch {
	case len(hours) > 0:
		*to = hours
	case closed && !v.Faulty(v.Path):
		v.Fault("names no hours, and a day without them is closed: name some, or remove it where it is always open")
	}
}

// router reads the model that routes what no rule does.
func (v value) router(c *Config, to *string) {
	if v.Text(to); *to == "" || !v.allow(gateway.Agent{Model: *to}, "model") {
		return
	}
	v.model(c, *to, llm.Request{})
}
