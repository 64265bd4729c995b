package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestWebhooksAreToldOfMessagesAtOnce(t *testing.T) {
	hello := func(llmtest.Request) llmtest.Reply { return output("Hello.", "") }
	inWorld(t, nil, hello, func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "good morning"))
		w.at(time.Minute)
		got := w.hooks.events(gateway.EventMessageReceived)
		if len(got) != 1 || got[0].at.Sub(w.start) != 0 {
			t.Fatalf("message.received: %+v, want one, as it came", got)
		}
		if d := got[0].data; d["from"] != "4915550001" || d["content"] != "good morning" || d["wamid"] != "wamid.1" || d["channel"] != "business" {
			t.Errorf("message.received tells %v", d)
		}
		got = w.hooks.events(gateway.EventMessageStatus)
		if len(got) != 1 || got[0].at.Sub(w.start) != 10*time.Second {
			t.Fatalf("message.status: %+v, want one, as the reply was sent", got)
		}
		if d := got[0].data; d["status"] != "sent" || d["to"] != "+4915550001" || d["wamid"] == nil {
			t.Errorf("message.status tells %v", d)
		}
	})
}

func TestPlainWebhooksAreForTheOperatorsNetwork(t *testing.T) {
	names := map[string][]netip.Addr{
		"receiver":    {netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("::ffff:10.0.0.8")},
		"half":        {netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("93.184.216.34")},
		"example.com": {netip.MustParseAddr("93.184.216.34")},
		"nowhere":     {},
	}
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		if found, ok := names[host]; ok {
			return found, nil
		}
		return nil, errors.New("no such host")
	}
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := map[string]struct {
		allowed []netip.Prefix
		host    string
		want    bool
	}{
		"an address in a range":            {ten, "10.1.2.3", true},
		"an IPv6 address in a range":       {ten, "fd00::1", true},
		"an IPv4 address written as IPv6":  {ten, "::ffff:10.1.2.3", true},
		"an address elsewhere":             {ten, "93.184.216.34", false},
		"a name of addresses in ranges":    {ten, "receiver", true},
		"a name of which one is elsewhere": {ten, "half", false},
		"a name elsewhere":                 {ten, "example.com", false},
		"a name without addresses":         {ten, "nowhere", false},
		"a name that nobody knows":         {ten, "unknown", false},
		"nothing where nothing is allowed": {nil, "10.1.2.3", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := (inside{tt.allowed, lookup}).Allowed(t.Context(), tt.host); got != tt.want {
				t.Errorf("Allowed(%q) = %v", tt.host, got)
			}
		})
	}
}

func TestWebhooksAreToldOnTimeThatAPauseIsOver(t *testing.T) {
	inWorld(t, nil, nil, func(w *world) {
		pause := func(phone string) (p struct{ ID int64 }) {
			const path = "/api/v1/business_accounts/acc_a/conversation_pauses"
			if code := w.call(http.MethodPost, path, map[string]any{"phone_number": phone, "duration_minutes": 1}, &p); code != http.StatusCreated {
				t.Fatalf("the pause is answered with %d", code)
			}
			return p
		}
		pause("+4915550001")
		path := fmt.Sprintf("/api/v1/business_accounts/acc_a/conversation_pauses/%d", pause("+4915550002").ID)
		w.at(10 * time.Second)
		if code := w.call(http.MethodDelete, path, nil, nil); code != http.StatusOK {
			t.Fatalf("its end is answered with %d", code)
		}
		w.at(2 * time.Minute)
		var told []string
		for _, h := range append(w.hooks.events(gateway.EventPaused), w.hooks.events(gateway.EventResumed)...) {
			told = append(told, fmt.Sprint(h.at.Sub(w.start).Round(time.Second), " ", h.event, " ", h.data["phone_number"], " ", h.data["remaining_minutes"]))
		}
		if diff := cmp.Diff([]string{
			"0s conversation.paused +4915550001 1", "0s conversation.paused +4915550002 1",
			"10s conversation.resumed +4915550002 0", "1m0s conversation.resumed +4915550001 0",
		}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestWebhooksAreToldOnceThatAnAgentHasNoTokensLeft(t *testing.T) {
	hello := func(llmtest.Request) llmtest.Reply { return output("Hello.", "") }
	few := func(c *config.Config) { c.Agents[0].Spend.TokensPerDay = 1 }
	inWorld(t, few, hello, func(w *world) {
		for i, who := range []graphtest.Customer{ada, {Phone: "4915550002", Name: "Bob"}, ada} {
			w.post("acc_a", who.Text(fmt.Sprintf("wamid.%d", i), "good morning"))
			w.at(time.Duration(i+1) * time.Minute)
		}
		told := w.hooks.events(gateway.EventQuotaExceeded)
		if len(told) != 1 || told[0].data["limit"] != 1. || told[0].data["business_account_id"] != "acc_a" {
			t.Errorf("told %+v", told)
		}
		if stopped := w.hooks.events(gateway.EventRunFailed); len(stopped) != 2 {
			t.Errorf("%d runs were stopped", len(stopped))
		}
	})
}
