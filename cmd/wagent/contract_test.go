package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway/api/wire/wiretest"
	"wagent/gateway/client/runs"
	"wagent/gateway/client/sessions"
	"wagent/gateway/cloudapi/graphtest"
)

// TestContractOfARunningWagent plays the rows of the contract against the built
// program, one for each story: with its databases, its dispatcher and its outbox,
// and doubles only of what is not ours, Meta and the models.
func TestContractOfARunningWagent(t *testing.T) {
	wiretest.PlayAt(t, "testdata/contract", func(t *testing.T) *wiretest.Server { return newContract(t).server })
}

// contract is a program and a client of its API.
type contract struct {
	*sdkRig
	server *wiretest.Server
	away   *gate // lifted once WhatsApp is to be out of reach
}

// The keys of a contract's program, beside that of every rig.
const (
	readingKey = "key-of-a-reader-of-all"
	testingKey = "wrb_test_of-the-sandbox"
	limitedKey = "key-of-the-phone-only"
	slowKey    = "key-of-once-a-minute"
)

func newContract(t *testing.T) *contract {
	t.Helper()
	r := newRigWith(t, true, answerOrBreak, func(cfg map[string]any) {
		cfg["api_keys"] = append(cfg["api_keys"].([]any),
			map[string]any{"name": "reader", "key": readingKey, "scope": "read"},
			map[string]any{"name": "sandbox", "key": testingKey, "test": true},
			map[string]any{"name": "phone", "key": limitedKey, "accounts": []any{"acc_phone"}},
			map[string]any{"name": "slow", "key": slowKey, "scope": "read", "per_minute": 1},
		)
		cfg["accounts"] = append(cfg["accounts"].([]any),
			map[string]any{"id": "acc_phone", "kind": "linked_device", "name": "Reception"},
			map[string]any{"id": "acc_try", "kind": "sandbox", "name": "Try it out"},
		)
		cfg["agents"].([]any)[0].(map[string]any)["auto_run_inbound"] = false
	})
	c := &contract{sdkRig: &sdkRig{rig: r}, away: newGate()}
	// WhatsApp itself is out of reach, which is known once the gate is lifted.
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case <-c.away.open:
		case <-q.Context().Done():
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(func() { c.away.lift(); proxy.Close() })
	r.env = []string{"HTTPS_PROXY=" + proxy.URL, "https_proxy=" + proxy.URL, "NO_PROXY=", "no_proxy="}
	r.graph.AddBusiness("9001", "token")
	c.own()
	c.proc = c.start()
	c.c = c.client("key-of-the-crash-test")
	c.server = &wiretest.Server{Base: c.proc.url, Key: "key-of-the-crash-test", Do: c.command}
	return c
}

// answerOrBreak is a model that wants three rooms cleaned, unless it is told that
// there are none, or to break.
func answerOrBreak(r llmtest.Request) llmtest.Reply {
	switch text := asked(r); {
	case strings.Contains(text, "break"):
		return llmtest.Reply{Status: http.StatusBadRequest, Code: "invalid", Message: "no"}
	case strings.Contains(text, "no rooms"):
		return output("No rooms.", "Wants nothing.")
	default:
		return threeRooms(r)
	}
}

// command does what a story says after "! ".
func (c *contract) command(what string) bool {
	c.Helper()
	var one, two string
	is := func(form string, words ...any) bool {
		n, err := fmt.Sscanf(what, form, words...)
		return err == nil && n == len(words)
	}
	switch {
	case is("run %s of %s ends", &one, &two):
		c.ends(two, one)
	case is("message %s is %s", &one, &two):
		c.become(one, two)
	case is("WhatsApp tells that message %s was %s", &one, &two):
		c.tell(one, two)
	case is("Ada writes %s", &one):
		c.say(ada, one)
	case what == "all work is done":
		c.settled(20 * time.Second)
	case what == "Meta approves all templates":
		c.approve()
	case what == "somebody makes hello_world at Meta":
		c.graph.PutTemplate("9001", graphtest.Template{Name: "hello_world", Language: "en_US", Category: "MARKETING"})
	case is("somebody gives a number at the link %s", &one):
		c.visit(one)
	case is("WhatsApp is out of reach for %s", &one):
		c.unpaired(one)
	case is("the key is that of the %s", &one):
		c.server.Key = map[string]string{"reader": readingKey, "sandbox": testingKey, "phone": limitedKey, "slow": slowKey}[one]
	case what == "the key is nobody's":
		c.server.Key = "wrb_live_nobodys"
	case what == "the day goes on for a minute":
		c.until("midnight to pass", 2*time.Minute, func() bool {
			now := time.Now().UTC()
			return now.Add(time.Minute).Day() == now.Day()
		})
	default:
		return false
	}
	return true
}

// ends waits until a run is completed or failed.
func (c *contract) ends(agent, run string) {
	c.Helper()
	c.until("run "+run+" to end", 20*time.Second, func() bool {
		r, err := c.c.AgentRuns(agent).Retrieve(c.Context(), run)
		if err != nil {
			c.Fatal(err)
		}
		return r.Status == runs.Completed || r.Status == runs.Failed
	})
}

// tell has WhatsApp tell what became of a message, and waits until that is known.
func (c *contract) tell(id, status string) {
	c.Helper()
	m, err := c.c.Messages("acc_a").Retrieve(c.Context(), id)
	if err != nil {
		c.Fatal(err)
	}
	if code := c.post(appSecret, graphtest.Body(numbers["acc_a"].Entry(graphtest.Status(m.WAMID, strings.TrimPrefix(m.To, "+"), status, id)))); code != http.StatusOK {
		c.Fatalf("the webhook answered %d", code)
	}
	c.become(id, status)
}

func (c *contract) approve() {
	c.Helper()
	for _, t := range c.graph.Templates("9001") {
		t.Status = "APPROVED"
		t = c.graph.PutTemplate("9001", t)
		if code := c.post(appSecret, graphtest.Body(numbers["acc_a"].TemplateStatus(t, "APPROVED", "", time.Now()))); code != http.StatusOK {
			c.Fatalf("the webhook answered %d", code)
		}
	}
}

// visit connects a number at a link, for which no key is needed.
func (c *contract) visit(link string) {
	c.Helper()
	const number = `{"business_account":{"waba_id":"9003","phone_number_id":"1003","meta_access_token":"EAAG-token"}}`
	req, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.proc.url+"/connect/"+link, strings.NewReader(number))
	if err != nil {
		c.Fatal(err)
	}
	if code := c.do(req); code != http.StatusCreated {
		c.Fatalf("at the link: %d", code)
	}
}

// unpaired has a session's try to link fail, since WhatsApp is out of reach.
func (c *contract) unpaired(session string) {
	c.Helper()
	c.away.lift()
	c.until("the pairing to end", 20*time.Second, func() bool {
		s, err := c.c.Sessions.Retrieve(c.Context(), session)
		if err != nil {
			c.Fatal(err)
		}
		return s.Status == sessions.Disconnected
	})
}
