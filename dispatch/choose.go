package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"wagent/dispatch/route"
	"wagent/dispatch/route/language"
	"wagent/gateway"
)

// agent returns the agent of a run, or nil if nobody answers. Which one answers
// a batch is decided once, and kept: a later claim finds it on the run.
func (d *Dispatcher) agent(ctx context.Context, c *gateway.Claim) (*gateway.Agent, error) {
	agents, err := d.Directory.Agents(ctx)
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	r := &c.Run
	if r.Trigger == gateway.TriggerAPI || r.Routed != "" {
		for i := range agents {
			if agents[i].ID == r.Agent && agents[i].Active {
				return &agents[i], nil
			}
		}
	}
	if r.Trigger == gateway.TriggerAPI {
		return nil, nil
	}
	switch candidates := route.Candidates(agents, r.Account); len(candidates) {
	case 0:
		return nil, nil
	case 1: // whom the next claim would find as well: nothing is worth a write
		r.Agent, r.Routed = candidates[0].ID, route.Default
		return candidates[0], nil
	default:
		return d.route(ctx, c, candidates)
	}
}

// route decides which of several agents answers a batch, and writes it down.
func (d *Dispatcher) route(ctx context.Context, c *gateway.Claim, candidates []*gateway.Agent) (*gateway.Agent, error) {
	r := &c.Run
	account, err := d.Directory.Account(ctx, r.Account)
	if err != nil {
		return nil, fmt.Errorf("find account of run %s: %w", r.ID, err)
	}
	q, err := d.question(ctx, c, &account, candidates)
	if err != nil {
		return nil, err
	}
	choice := route.Choose(&q)
	if choice.Reason == route.Default && len(choice.Among) > 1 && account.Router != "" && d.Router != nil {
		asked, err := d.Router(ctx, account.Router, choice.Among, c.Messages)
		r.InputTokens += asked.InputTokens
		r.OutputTokens += asked.OutputTokens
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("run %s interrupted: %w", r.ID, context.Cause(ctx))
		case err != nil:
			d.log.WarnContext(ctx, "the default agent answers, since the router did not choose", "run", r.ID, "account", r.Account, "kind", gateway.KindOf(err), "err", err)
			choice.Reason = route.RouterFailed
		default:
			choice.Agent, choice.Reason = asked.Agent, route.ByRouter
		}
	}
	r.Agent, r.Routed = choice.Agent.ID, choice.Reason
	if err := d.Runs.RouteRun(ctx, r); err != nil {
		return nil, fmt.Errorf("route run %s: %w", r.ID, err)
	}
	return choice.Agent, nil
}

// question gathers what the rules look at.
func (d *Dispatcher) question(ctx context.Context, c *gateway.Claim, account *gateway.Account, candidates []*gateway.Agent) (route.Question, error) {
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
	last, err := d.remembered(ctx, r, candidates)
	if err != nil {
		return q, err
	}
	if last != nil {
		q.Last = last.Agent
		if last.Output != nil { // the reply follows the customer's language
			q.Language = language.Code(last.Output.Language)
		}
	}
	byLanguage := slices.ContainsFunc(candidates, func(a *gateway.Agent) bool { return len(a.Route.Languages) > 0 })
	if q.Language == "" && byLanguage {
		q.Language = language.Of(q.Text)
	}
	return q, nil
}

// remembered returns the last run of a conversation that completed, if its
// agent still remembers it; else nil.
func (d *Dispatcher) remembered(ctx context.Context, r *gateway.Run, candidates []*gateway.Agent) (*gateway.Run, error) {
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
	last, err := d.Runs.LastRunOf(ctx, r.Conversation, ids, r.StartedAt.Add(-longest))
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
