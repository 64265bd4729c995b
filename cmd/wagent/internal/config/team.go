package config

import (
	"slices"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/gateway"
)

// ofDefault are the keys of agents that decide before it is known which agent
// answers: whether a message starts a run at all, and when.
var ofDefault = []string{"debounce_seconds", "max_wait_seconds", "max_batch_messages", "on_new_message", "max_supersedes", "inbound_config"}

// teams faults what does nothing where an account has several agents. sets are
// the keys of c.Agents.
func teams(c *Config, sets []map[string]document.Value) {
	defaults := map[gateway.AccountID]*gateway.Agent{}
	for i := range c.Agents {
		a := &c.Agents[i]
		if d := defaults[a.Account]; answersBatches(a) && (d == nil || !d.Route.IsZero() && a.Route.IsZero()) {
			defaults[a.Account] = a
		}
	}
	for i := range c.Agents {
		a := &c.Agents[i]
		d := defaults[a.Account]
		if !answersBatches(a) || d == a {
			continue
		}
		for _, key := range ofDefault {
			if given(sets[i], key) {
				sets[i][key].Fault("does nothing here: what counts on account %s is that of its default agent, %s", a.Account, d.Key)
			}
		}
		n := slices.IndexFunc(c.Accounts, func(x gateway.Account) bool { return x.ID == a.Account })
		if a.Route.IsZero() && n >= 0 && c.Accounts[n].Router == "" {
			sets[i]["auto_run_inbound"].Fault("no message starts it: %s takes what no answers match, set answers here or a router on account %s", d.Key, a.Account)
		}
	}
}

func answersBatches(a *gateway.Agent) bool { return a.Account != "" && a.Active && a.AutoRun }
