package whatsrb

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wagent/gateway"
)

func TestAListShowsAgentsAsTheyAre(t *testing.T) {
	a, b := gateway.DefaultAgent(), gateway.DefaultAgent()
	a.ID, b.ID, a.Name, b.Name = gateway.NewAgentID(), gateway.NewAgentID(), "a <one>", "b"
	a.UpdatedAt, b.UpdatedAt = time.UnixMilli(1), time.UnixMilli(1)
	var e encodedAgents
	check := func(agents ...gateway.Agent) {
		t.Helper()
		list, err := e.list(agents)
		if err != nil || len(list) != len(agents) {
			t.Fatalf("%d of %d agents, %v", len(list), len(agents), err)
		}
		for i, got := range list {
			want, err := json.Marshal(newAgentBody(&agents[i]))
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(want))
			if string(got) != plain {
				t.Errorf("agent %d is\n%s\nwant\n%s", i, got, plain)
			}
		}
	}
	check(a, b)
	check(a, b)
	b.Name, b.UpdatedAt = "b2", time.UnixMilli(2)
	check(b, a)
	check(a)
	for range 1200 { // others come and go
		x := a
		x.ID = gateway.NewAgentID()
		check(x)
	}
	if len(e.by) > 1003 {
		t.Errorf("%d agents are kept for a list of one", len(e.by))
	}
}
