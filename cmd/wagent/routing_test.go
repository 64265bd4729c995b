package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// hotel gives one account a front desk, a billing agent and one that speaks
// French after hours, a router model, and filters of greetings and emoji.
func hotel(c *config.Config) {
	c.Providers["switch"] = config.Provider{Kind: config.OpenAI, BaseURL: "http://model.test/v1", APIKey: "model-key"}
	a := &c.Accounts[0]
	a.TimeZone, a.Router, a.Hours = "Europe/Paris", "switch/router", gateway.Hours{}
	for d := time.Sunday; d <= time.Saturday; d++ {
		a.Hours[d] = []gateway.Span{{From: 70, To: 18 * 60}}
	}
	front := &c.Agents[0]
	front.ContextTTL = 2 * time.Minute
	front.SystemPrompt, front.Filter = "You are front.", gateway.InboundFilter{IgnoreEmoji: true, IgnoreGreeting: true}
	for name, rule := range map[string]gateway.RouteRule{
		"bills": {Keywords: []string{"invoice"}},
		"night": {Languages: []string{"fr"}, Hours: gateway.HoursClosed},
	} {
		x := *front
		x.Key, x.Name, x.SystemPrompt, x.Route = name, name, "You are "+name+".", rule
		c.Agents = append(c.Agents, x)
	}
	slices.SortFunc(c.Agents[2:], func(a, b gateway.Agent) int { return strings.Compare(a.Key, b.Key) })
}

// staffed answers as whoever is asked, and chooses billing where the router is
// asked about sums.
func staffed(r llmtest.Request) llmtest.Reply {
	system := r.Messages[0].Content
	switch {
	case r.Model == "router" && strings.Contains(asked(r), "sum"):
		return llmtest.Reply{Text: `{"agent":"agent_2"}`}
	case r.Model == "router" && strings.Contains(asked(r), "broken"):
		return llmtest.Reply{Status: http.StatusInternalServerError}
	case r.Model == "router":
		return llmtest.Reply{Text: `{"agent":"agent_1"}`}
	case strings.Contains(system, "You are bills."):
		return output("bills: "+asked(r), "")
	case strings.Contains(system, "You are night."):
		reply := output("night: "+asked(r), "")
		reply.Text = strings.Replace(reply.Text, `"language":"en"`, `"language":"fr"`, 1)
		return reply
	default:
		return output("front: "+asked(r), "")
	}
}

func TestSeveralAgentsAnswerOneAccount(t *testing.T) {
	inWorld(t, hotel, staffed, func(w *world) {
		// The bubble begins at one in Paris, ten minutes before it opens.
		w.post("acc_a", ada.Text("wamid.1", "Bonjour"), ada.Text("wamid.2", "Est-ce que vous avez une table pour nous ?"), ada.Text("wamid.3", "👍🏽"))
		w.at(10 * time.Second)
		w.want("10s 4915550001 night: Est-ce que vous avez une table pour nous ?")
		w.at(11 * time.Minute) // open, and forgotten
		w.post("acc_a", ada.Text("wamid.4", "the sum is wrong"))
		w.at(12 * time.Minute)
		w.post("acc_a", ada.Text("wamid.5", "by ten euros"))
		w.at(15 * time.Minute)
		w.post("acc_a", ada.Text("wamid.6", "the lamp is broken"))
		w.at(18 * time.Minute)
		w.post("acc_a", ada.Text("wamid.7", "a towel"))
		w.at(19 * time.Minute)
		w.post("acc_a", ada.Text("wamid.8", "and the INVOICE!"))
		w.at(20 * time.Minute)
		w.want(
			"10s 4915550001 night: Est-ce que vous avez une table pour nous ?",
			"11m10s 4915550001 bills: the sum is wrong",
			"12m10s 4915550001 bills: by ten euros",
			"15m10s 4915550001 front: the lamp is broken",
			"18m10s 4915550001 front: a towel",
			"19m10s 4915550001 bills: and the INVOICE!",
		)
		runs := w.runs("acc_a")
		slices.SortFunc(runs, func(a, b gateway.Run) int { return a.CreatedAt.Compare(b.CreatedAt) })
		var routed []string
		for i := range runs {
			routed = append(routed, runs[i].Routed)
		}
		if got, want := strings.Join(routed, " "), "language+hours router sticky router_failed router keyword"; got != want {
			w.Errorf("routed by %s, want %s", got, want)
		}
		for _, want := range []string{
			`wagent_runs_routed_total{reason="router"} 2`, `wagent_runs_routed_total{reason="language+hours"} 1`,
			`wagent_router_requests_total{outcome="failed"} 1`, `wagent_router_requests_total{outcome="ok"} 2`,
			`wagent_messages_skipped_total{reason="greeting"} 1`, `wagent_messages_skipped_total{reason="emoji"} 1`,
		} {
			if !strings.Contains(w.metrics(), want) {
				w.Errorf("/metrics lacks %s", want)
			}
		}
		n := 0
		for _, r := range w.model.Requests() {
			if r.Model == "router" {
				n++
			}
		}
		if n != 3 {
			w.Errorf("the router was asked %d times, want 3", n)
		}
	})
}

// metrics is what a scrape reads.
func (w *world) metrics() string {
	w.Helper()
	resp, err := w.client.Get("http://wagent.test/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}
