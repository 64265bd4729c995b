package store

import (
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

func TestWhatWasReadBeforeAChangeIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c agentCache
		before := c.version()
		c.forget() // an agent was changed while it was being read
		c.put("acc_1", answering{agent: gateway.Agent{Name: "old"}, at: time.Now()}, before)
		if a, known := c.get("acc_1"); known {
			t.Errorf("%q is remembered", a.agent.Name)
		}
		c.put("acc_1", answering{agent: gateway.Agent{Name: "new"}, at: time.Now()}, c.version())
		if _, known := c.get("acc_1"); !known {
			t.Error("what was read after the change is not remembered")
		}
		time.Sleep(agentTTL)
		if _, known := c.get("acc_1"); known {
			t.Error("it is remembered for too long")
		}
	})
}
