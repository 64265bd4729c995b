// Package pick decides which agent answers a batch: once, by the rules of
// package route and the model of package router, and keeps it on the run. A
// later claim of the run, after a crash too, finds it there.
package pick

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"wagent/dispatch/route"
	"wagent/dispatch/route/language"
	"wagent/dispatch/route/router"
	"wagent/gateway"
)

// Runs keeps what was decided, and knows what was before.
type Runs interface {
	// RouteRun keeps which agent answers a run, why, and what deciding it cost.
	// Conflict: the run has ended, or is another's now.
	RouteRun(ctx context.Context, r *gateway.Run) error
	// LastRunOf returns the last run of a conversation that one of the agents
	// completed after a moment, or an Error of kind NotFound.
	LastRunOf(ctx context.Context, id gateway.ConversationID, agents []gateway.AgentID, after time.Time) (gateway.Run, error)
}

// Accounts knows the accounts.
type Accounts interface {
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
}

// A Picker decides who answers. It is safe for concurrent use.
type Picker struct {
	Runs     Runs
	Accounts Accounts
	// Ask asks the model of a handle which of the agents fits a batch, where no
	// rule says so. The choice's tokens count beside an error, too. nil: the
	// default agent answers.
	Ask func(ctx context.Context, handle string, among []*gateway.Agent, batch []gateway.Message) (router.Choice, error)
	// Within reports whether an agent is within its limits: a model is not asked for
	// one that is not. nil: all are.
	Within func(ctx context.Context, r *gateway.Run, a *gateway.Agent) (bool, error)
	Log    *slog.Logger
}

// Agent returns the one of the agents that answers the batch of a claim, or nil
// if nobody does. Where the claim's run has none yet, it sets the run's Agent,
// Routed and tokens. Conflict: the run has ended, or is in other hands.
func (p *Picker) Agent(ctx context.Context, c *gateway.Claim, agents []gateway.Agent) (*gateway.Agent, error) {
	r := &c.Run
	if r.Routed != "" {
		for i := range agents {
			if agents[i].ID == r.Agent && agents[i].Active {
				return &agents[i], nil
			}
		}
	}
	switch candidates := route.Candidates(agents, r.Account); len(candidates) {
	case 0:
		return nil, nil
	case 1: // whom the next claim would find as well: nothing is worth a write
		r.Agent, r.Routed = candidates[0].ID, route.Default
		return candidates[0], nil
	default:
		return p.route(ctx, c, candidates)
	}
}

// route decides which of several agents answers a batch, and writes it down.
func (p *Picker) route(ctx context.Context, c *gateway.Claim, candidates []*gateway.Agent) (*gateway.Agent, error) {
	r := &c.Run
	account, err := p.Accounts.Account(ctx, r.Account)
	if err != nil {
		return nil, fmt.Errorf("find account of run %s: %w", r.ID, err)
	}
	q, err := p.question(ctx, c, &account, candidates)
	if err != nil {
		return nil, err
	}
	choice := route.Choose(&q)
	asks := choice.Reason == route.Default && len(choice.Among) > 1 && account.Router != "" && p.Ask != nil
	if asks {
		if err := p.spare(ctx, r, &choice); err != nil {
			return nil, err
		}
	}
	if asks && len(choice.Among) > 1 {
		asked, err := p.Ask(ctx, account.Router, choice.Among, c.Messages)
		r.InputTokens += asked.InputTokens
		r.OutputTokens += asked.OutputTokens
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("run %s interrupted: %w", r.ID, context.Cause(ctx))
		case err != nil:
			p.Log.WarnContext(ctx, "the default agent answers, since the router did not choose", "run", r.ID, "account", r.Account, "kind", gateway.KindOf(err), "err", err)
			choice.Reason = route.RouterFailed
		default:
			choice.Agent, choice.Reason = asked.Agent, route.ByRouter
		}
	}
	r.Agent, r.Routed = choice.Agent.ID, choice.Reason
	if err := p.Runs.RouteRun(ctx, r); err != nil {
		return nil, fmt.Errorf("route run %s: %w", r.ID, err)
	}
	return choice.Agent, nil
}

// spare takes those who have reached a limit from whom a model may choose among,
// and lets another stand in for the default agent. Where nobody is left the default
// agent answers: its run says which limit it was.
func (p *Picker) spare(ctx context.Context, r *gateway.Run, choice *route.Choice) error {
	if p.Within == nil {
		return nil
	}
	var left []*gateway.Agent
	for _, a := range choice.Among {
		within, err := p.Within(ctx, r, a)
		if err != nil {
			return fmt.Errorf("choose agent of run %s: %w", r.ID, err)
		}
		if within {
			left = append(left, a)
		}
	}
	if len(left) > 0 && slices.Contains(choice.Among, choice.Agent) && !slices.Contains(left, choice.Agent) {
		choice.Replace(left[0])
	}
	choice.Among = left
	return nil
}

// question gathers what the rules look at.
func (p *Picker) question(ctx context.Context, c *gateway.Claim, account *gateway.Account, candidates []*gateway.Agent) (route.Question, error) {
	r := &c.Run
	q := route.Question{
		Candidates: candidates, Tags: c.Conversation.Tags,
		Open: account.Hours.Open(r.StartedAt.In(account.Location())),
	}
	var texts []string
	for i := range c.Messages {
		texts = append(texts, c.Messages[i].Text)
	}
	q.Text = strings.Join(texts, "\n")
	last, err := p.remembered(ctx, r, candidates)
	if err != nil {
		return q, err
	}
	if slices.ContainsFunc(candidates, func(a *gateway.Agent) bool { return len(a.Route.Languages) > 0 }) {
		q.Language = language.Of(q.Text)
	}
	if last != nil {
		if last.Routed != route.RouterFailed { // which decided nothing: the router is asked again
			q.Last = last.Agent
		}
		if q.Language == "" && last.Output != nil { // of few words it is the dialogue's
			q.Language = language.Code(last.Output.Language)
		}
	}
	return q, nil
}

// remembered returns the last run of a conversation that completed, if its
// agent still remembers it; else nil.
func (p *Picker) remembered(ctx context.Context, r *gateway.Run, candidates []*gateway.Agent) (*gateway.Run, error) {
	var longest time.Duration
	lives := map[gateway.AgentID]time.Duration{}
	var ids []gateway.AgentID
	for _, a := range candidates {
		if a.ContextTTL > 0 {
			ids, lives[a.ID] = append(ids, a.ID), a.ContextTTL
			longest = max(longest, a.ContextTTL)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	last, err := p.Runs.LastRunOf(ctx, r.Conversation, ids, r.StartedAt.Add(-longest))
	switch {
	case gateway.KindOf(err) == gateway.NotFound:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find the run before %s: %w", r.ID, err)
	case !r.StartedAt.Before(last.CompletedAt.Add(lives[last.Agent])):
		return nil, nil
	default:
		return &last, nil
	}
}
