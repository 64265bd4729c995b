package pick

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"wagent/gateway"
)

// records stands in for SQL: each of its parts may be away.
type records struct {
	account, last, route error
	routed               []gateway.Run
}

func (r *records) Account(context.Context, gateway.AccountID) (gateway.Account, error) {
	return gateway.Account{ID: "acc_1"}, r.account
}

func (r *records) LastRunOf(context.Context, gateway.ConversationID, []gateway.AgentID, time.Time) (gateway.Run, error) {
	return gateway.Run{}, r.last
}

func (r *records) RouteRun(_ context.Context, x *gateway.Run) error {
	r.routed = append(r.routed, *x)
	return r.route
}

func agent(id gateway.AgentID, active bool) gateway.Agent {
	return gateway.Agent{ID: id, Account: "acc_1", Active: active, AutoRun: true, ContextTTL: time.Hour}
}

func TestAgent(t *testing.T) {
	away := &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
	none := &gateway.Error{Kind: gateway.NotFound, Msg: "none"}
	lost := &gateway.Error{Kind: gateway.Conflict, Msg: "in other hands"}
	two := []gateway.Agent{agent("a", true), agent("b", true)}
	tests := map[string]struct {
		run    gateway.Run
		agents []gateway.Agent
		db     records
		want   gateway.AgentID // empty: nobody, or an error
		kind   gateway.Kind
		routed string // what is written; empty: nothing is
	}{
		"nobody answers":                                 {agents: []gateway.Agent{agent("a", false)}},
		"one agent needs no decision":                    {agents: two[:1], db: records{account: away}, want: "a"},
		"several do, and it is written":                  {agents: two, db: records{last: none}, want: "a", routed: "default"},
		"what was decided stays":                         {run: gateway.Run{Agent: "b", Routed: "router"}, agents: two, db: records{account: away}, want: "b"},
		"unless the agent is switched off":               {run: gateway.Run{Agent: "c", Routed: "router"}, agents: append(two[:2:2], agent("c", false)), db: records{last: none}, want: "a", routed: "default"},
		"without the account nothing is decided":         {agents: two, db: records{account: away}, kind: gateway.Unavailable},
		"nor without what was before":                    {agents: two, db: records{last: away}, kind: gateway.Unavailable},
		"nor if it can not be written":                   {agents: two, db: records{last: none, route: away}, kind: gateway.Unavailable, routed: "default"},
		"a run in other hands is not routed":             {agents: two, db: records{last: none, route: lost}, kind: gateway.Conflict, routed: "default"},
		"an agent that only people start answers nobody": {agents: []gateway.Agent{{ID: "a", Account: "acc_1", Active: true}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.run.ID, tt.run.Account, tt.run.StartedAt = "run_1", "acc_1", time.Now()
			c := gateway.Claim{Run: tt.run, Messages: []gateway.Message{{Text: "hello"}}}
			p := Picker{Runs: &tt.db, Accounts: &tt.db, Log: slog.New(slog.DiscardHandler)}
			got, err := p.Agent(t.Context(), &c, tt.agents)
			if tt.kind != gateway.Internal {
				if gateway.KindOf(err) != tt.kind || got != nil {
					t.Errorf("Agent = %v, %v, want an error of kind %s", got, err, tt.kind)
				}
			} else if err != nil || (got == nil) != (tt.want == "") || got != nil && (got.ID != tt.want || c.Run.Agent != tt.want || c.Run.Routed == "") {
				t.Errorf("Agent = %+v, %v, want %s", got, err, tt.want)
			}
			switch {
			case len(tt.db.routed) > 1, (len(tt.db.routed) == 1) != (tt.routed != ""):
				t.Errorf("written %d times", len(tt.db.routed))
			case tt.routed != "" && tt.db.routed[0].Routed != tt.routed:
				t.Errorf("written is %q, want %q", tt.db.routed[0].Routed, tt.routed)
			}
		})
	}
}
