// Package whatsrb is the agents API under /api/v1, in the shape of WhatsRB
// Cloud: a client written for that service works against ours when only its
// base URL and its key change. Beside it stand calls of our own: those that
// write into sandbox accounts, settings of ours (/agents/{id}/settings), how a run went
// (/agents/{id}/runs/{id}/route), and what came of its actions (GET …/actions).
//
// It guarantees the shape: the envelopes, the words and statuses of errors,
// timestamps in whole seconds with a Z, no member beyond the documented ones,
// and that no body, path or query of a stranger's ends in a 5xx. It keeps no
// state: everything is behind [API], and what a crash leaves of a call is what
// those parts left.
//
// Handlers are plain echo. The huma framework was looked at for it: it answers
// errors itself, in a form set once per process, where two dialects need two;
// and it can't tell null from absent or name a wrongly typed field the way
// this contract does without replacing its decoder.
//
// The interfaces are more than our usual three because each is one resource's
// need; their implementations sit in several packages.
package whatsrb

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// API serves the agents API. All parts are required but Taken. The errors of its parts
// are [gateway.Error]s where a client is to learn of them; anything else is
// answered as an internal error.
type API struct {
	Agents   Agents
	Editor   AgentEditor
	Accounts Accounts
	Runs     Runs
	Runner   Runner
	Sandbox  Sandbox
	// Taken returns an Error of kind Invalid with Details if the providers of an
	// agent's models are known not to take its settings; nil: nothing is known.
	Taken func(a *gateway.Agent) error
	// Limits are how far agents may go.
	Limits gateway.AgentLimits

	encoded *encodedAgents
}

// Agents reads agents.
type Agents interface {
	// Agents returns all of them, in the order in which they are listed.
	Agents(ctx context.Context) ([]gateway.Agent, error)
	// Agent returns one, or an Error of kind NotFound.
	Agent(ctx context.Context, id gateway.AgentID) (gateway.Agent, error)
}

// AgentEditor changes agents. An agent of the configuration file can't be
// changed: an Error of kind Conflict says so. Where there is no such agent, it
// is one of kind NotFound.
type AgentEditor interface {
	// CreateAgent adds an agent whose id and times are set.
	CreateAgent(ctx context.Context, a *gateway.Agent) error
	// UpdateAgent replaces the agent that has a's id and UpdatedAt, and sets
	// its times. Conflict: it was changed since it was read.
	UpdateAgent(ctx context.Context, a *gateway.Agent) error
	DeleteAgent(ctx context.Context, id gateway.AgentID) error
}

// Accounts knows the accounts.
type Accounts interface {
	// Account returns one, in use or not, or an Error of kind NotFound.
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
	// Accounts returns those in use.
	Accounts(ctx context.Context) ([]gateway.Account, error)
}

// Runs reads runs.
type Runs interface {
	// Run returns a run of the agent's, or an Error of kind NotFound.
	Run(ctx context.Context, agent gateway.AgentID, id gateway.RunID) (gateway.Run, error)
	// Runs returns the runs that f lets through, newest first, and how many there
	// are whatever its Before and Limit say. NotFound: there is no such Before.
	Runs(ctx context.Context, f gateway.RunFilter) ([]gateway.Run, int, error)
}

// Runner starts runs and decides what becomes of their actions.
type Runner interface {
	// Start makes a pending run and has it worked on at once. input and
	// metadata are valid JSON; metadata is nil or an object. With an empty id
	// the run gets one; if there is a run with that id, Start returns it as it is.
	Start(ctx context.Context, id gateway.RunID, agent *gateway.Agent, input, metadata json.RawMessage) (gateway.Run, error)
	// Decide applies all decisions or none. Conflict: an action is decided
	// already. Invalid: the run has no such action, or none to decide.
	Decide(ctx context.Context, agent gateway.AgentID, run gateway.RunID, ds []gateway.Decision, by string) (gateway.Run, error)
}

// Sandbox is the customer's side of sandbox accounts.
type Sandbox interface {
	// Inject writes a text to the account as the customer with that phone
	// number (E.164). name may be empty. It returns what became of the message
	// and the id that WhatsApp would have given it.
	Inject(ctx context.Context, account gateway.AccountID, from, name, text string) (gateway.Outcome, string, error)
	// SandboxMessages returns the last messages of the account, newest first
	// and at most limit: those with one phone number (E.164), or all of them
	// if it is empty.
	SandboxMessages(ctx context.Context, account gateway.AccountID, phone string, limit int) ([]gateway.Message, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Agents == nil:
		return errors.New("agents API: no Agents")
	case h.Editor == nil:
		return errors.New("agents API: no Editor")
	case h.Accounts == nil:
		return errors.New("agents API: no Accounts")
	case h.Runs == nil:
		return errors.New("agents API: no Runs")
	case h.Runner == nil:
		return errors.New("agents API: no Runner")
	case h.Sandbox == nil:
		return errors.New("agents API: no Sandbox")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	h.encoded = &encodedAgents{}
	g.GET("/agents", h.listAgents)
	g.POST("/agents", h.createAgent)
	g.GET("/agents/:agent", h.retrieveAgent)
	g.PATCH("/agents/:agent", h.updateAgent)
	g.DELETE("/agents/:agent", h.deleteAgent)
	g.GET("/agents/:agent/settings", h.retrieveSettings)
	g.GET("/agent_templates", listTemplates)

	g.GET("/agents/:agent/runs", h.listRuns)
	g.POST("/agents/:agent/runs", h.createRun)
	g.GET("/agents/:agent/runs/:run", h.retrieveRun)
	g.GET("/agents/:agent/runs/:run/route", h.retrieveRoute)
	g.GET("/agents/:agent/runs/:run/actions", h.listActions)
	g.POST("/agents/:agent/runs/:run/actions", h.decideActions)

	g.GET("/sandbox/:account/messages", h.listSandbox)
	g.POST("/sandbox/:account/messages", h.injectSandbox)
}
