package route

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
)

var update = flag.Bool("update", false, "write the bodies that are made into the golden files")

var (
	t0  = time.Date(2026, 11, 21, 14, 5, 0, 123e6, time.FixedZone("CET", 3600))
	all = []gateway.Webhook{{ID: 7, Active: true}}
)

const agentID = gateway.AgentID("0a1b2c3d-1111-4222-8333-444455556666")

// inbound is a run that answered a batch.
func inbound() *gateway.Run {
	return &gateway.Run{
		ID: "run_1", Agent: agentID, Account: "acc_1", Conversation: "cnv_1", Peer: gateway.Address{Phone: "+33612345678"},
		Trigger: gateway.TriggerInbound, Status: gateway.RunCompleted,
		Input: json.RawMessage(`{"contact":{"name":"Zoé <3"},"last_message":"two towels"}`),
		Output: &gateway.Output{
			Intent: "towels", Confidence: 0.9, Language: "fr", SuggestedReply: "Bien sûr !", AnalysisSummary: "Wants <2> towels.", ContextSummary: "Room 204.",
			Actions: []gateway.OutputAction{
				{Type: "hotel.room.request", Payload: map[string]any{"room": "204", "count": json.Number("2")}},
				{Type: gateway.ActionPause, Payload: map[string]any{}},
				{Type: "hotel.bill.add", Payload: nil},
			},
		},
		InputTokens: 120, OutputTokens: 34, Latency: 850 * time.Millisecond, Duration: 1234567 * time.Microsecond,
		Actions: []gateway.Action{
			{Run: "run_1", Index: 0, Type: "hotel.room.request", Payload: map[string]any{"room": "204", "count": json.Number("2")}, Status: gateway.ActionAuto},
			{Run: "run_1", Index: 1, Type: gateway.ActionPause, Status: gateway.ActionAuto},
			{Run: "run_1", Index: 2, Type: "hotel.bill.add", Status: gateway.ActionAuto},
		},
	}
}

// confirmed is inbound where a person decides on actions.
func confirmed() *gateway.Run {
	r := inbound()
	r.Actions[0].Status, r.Actions[0].DecidedAt, r.Actions[0].DecidedBy = gateway.ActionConfirmed, t0, "api"
	r.Actions[1].Status, r.Actions[1].DecidedAt, r.Actions[1].DecidedBy = gateway.ActionConfirmed, t0, "system"
	r.Actions[2].Status = gateway.ActionPending
	return r
}

// api is a run of the API.
func api() *gateway.Run {
	r := inbound()
	r.Conversation, r.Peer, r.Trigger = "", gateway.Address{}, gateway.TriggerAPI
	r.ConversationKey, r.Metadata = "order-42", json.RawMessage(`{"conversation_key":"order-42","n":12345678901234567890}`)
	r.Actions, r.Output.Actions = nil, []gateway.OutputAction{}
	return r
}

// wrote is a text of a customer's.
func wrote() *gateway.MessageEvent {
	return &gateway.MessageEvent{
		Message: gateway.Message{
			ID: "msg_1", Account: "acc_1", Conversation: "cnv_1", Direction: gateway.In, ExternalID: "wamid.1", Type: gateway.TypeText,
			Text: "two <towels> & soap", ReplyTo: "wamid.0",
		},
		Peer: inbound().Peer, Name: "Zoé", Kind: gateway.CloudAPI, At: t0,
	}
}

func filed() *gateway.MessageEvent {
	e := wrote()
	e.Message.Type, e.Message.Text, e.Message.Detail = gateway.TypeImage, "", json.RawMessage(`{"mime_type":"image/png"}`)
	e.Peer, e.Group, e.Name, e.Kind = gateway.Address{LID: "98765"}, "120363", "", gateway.LinkedDevice
	return e
}

func replied() *gateway.MessageEvent {
	e := wrote()
	e.Message.Type, e.Message.Detail, e.Kind = gateway.TypeButton, json.RawMessage(`{"payload":`), gateway.Sandbox // cut short
	return e
}

// ours is a reply to it.
func ours(status gateway.SendStatus, reason string) *gateway.MessageEvent {
	e := wrote()
	e.Message.Direction, e.Message.Status, e.Message.Run, e.Reason = gateway.Out, status, "run_1", reason
	return e
}

func TestBodies(t *testing.T) {
	failedRun := inbound()
	failedRun.Status, failedRun.StopReason, failedRun.Error, failedRun.Output, failedRun.Actions = gateway.RunFailed, gateway.StopLLMError, "the model did not answer", nil, nil
	done := confirmed()
	done.Actions[2].Status, done.Actions[2].DecidedAt, done.Actions[2].DecidedBy = gateway.ActionExpired, t0.Add(30*time.Minute), "timeout"
	done.ActionsDecided = t0.Add(30 * time.Minute)
	pause := &gateway.Pause{Conversation: "cnv_1", Reason: gateway.PauseAgent, CreatedAt: t0, ExpiresAt: t0.Add(24 * time.Hour)}
	stored := *pause
	stored.ID = 3
	taken := gateway.PausedPeer{Pause: stored, Peer: inbound().Peer}
	taken.Reason, taken.ExpiresAt = gateway.PauseOutbound, t0.Add(30*time.Minute)
	ended := stored
	ended.ResumedAt = t0
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	bare := api()
	bare.ConversationKey, bare.Metadata = "", nil
	group := inbound()
	group.Peer = gateway.Address{Group: "120363"}
	tests := map[string][]gateway.Delivery{
		"a run completed":                             Ended(all, inbound(), t0),
		"a run completed whose actions wait":          Ended(all, confirmed(), t0),
		"a run of the API completed":                  Ended(all, api(), t0),
		"a run of the API without metadata completed": Ended(all, bare, t0),
		"a run in a group completed":                  Ended(all, group, t0),
		"a run failed":                                Ended(all, failedRun, t0),
		"all actions were decided":                    Actioned(all, done, t0),
		"actions are dispatched by themselves":        Actions(all, inbound(), inbound().Actions, t0),
		"actions are dispatched once confirmed":       Actions(all, confirmed(), confirmed().Actions, t0),
		"a conversation was paused":                   Paused(all, inbound(), pause, t0),
		"a pause that has its id":                     Paused(all, inbound(), &stored, t0),
		"a person took a conversation over":           Paused(all, &gateway.Run{Conversation: taken.Conversation, Peer: taken.Peer}, &taken.Pause, t0),
		"a pause was ended by a person":               Paused(all, &gateway.Run{Conversation: ended.Conversation, Peer: inbound().Peer}, &ended, t0),
		"a pause is over":                             Paused(all, &gateway.Run{Conversation: taken.Conversation, Peer: taken.Peer}, &taken.Pause, taken.ExpiresAt),
		"a customer wrote":                            Teller{}.Message(all, wrote(), t0),
		"a customer sent a file to a group":           Teller{}.Message(all, filed(), t0),
		"a customer answered a quick reply":           Teller{}.Message(all, replied(), t0),
		"a message was delivered":                     Teller{}.Message(all, ours(gateway.StatusDelivered, ""), t0),
		"a message failed":                            Teller{}.Message(all, ours(gateway.StatusFailed, "131026: undeliverable"), t0),
		"a webhook was turned off": Teller{}.Webhook(all, &gateway.Webhook{
			ID: 8, URL: "https://hooks.example.com/in?token=hidden", Disabled: "the endpoint answered 410 Gone", FailingSince: t0.Add(-time.Hour),
		}, t0),
		"a person tests a webhook": {Test(7, t0)},
		"a template was rejected": Teller{}.Template(all, &gateway.Template{
			ID: "tpl_1", Account: "acc_main", ExternalID: "501", Name: "hello", Language: "en_US", Category: gateway.TemplateUtility,
			Status: gateway.TemplateRejected, Reason: "INVALID_FORMAT", UpdatedAt: t0,
		}, t0),
		"a template of which little is known was deleted": Teller{}.Template(all, &gateway.Template{
			ID: "tpl_1", Account: "acc_main", Name: "hello", Language: "en_US", Status: gateway.TemplateDeleted, UpdatedAt: t0,
		}, t0),
		"an agent used most of its tokens": Teller{}.Quota(all, &gateway.QuotaEvent{
			Agent: agentID, Name: "Concierge", Account: "acc_1", Day: time.Date(2026, 3, 29, 0, 0, 0, 0, paris), Used: 83_456, Limit: 100_000,
		}, t0),
		"an agent of no account used all of its tokens": Teller{}.Quota(all, &gateway.QuotaEvent{
			Agent: agentID, Name: "Concierge", Day: time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), Used: 100_001, Limit: 100_000,
		}, t0),
		"a linked device was connected": Teller{}.Session(all, &gateway.LinkEvent{
			Link: gateway.Link{Account: "acc_phone", Phone: "+15559999999", State: gateway.LinkConnected}, Name: "Reception",
		}, t0),
		"a linked device was refused": Teller{}.Session(all, &gateway.LinkEvent{
			Link: gateway.Link{Account: "acc_phone", State: gateway.LinkLoggedOut, Reason: "the phone unlinked the device"},
		}, t0),
	}
	for name, ds := range tests {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			for _, d := range ds {
				if err := json.Indent(&got, d.Body, "", "  "); err != nil {
					t.Fatalf("body is no JSON: %v: %s", err, d.Body)
				}
				got.WriteByte('\n')
			}
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".golden")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("bodies (-want +got), -update if they are meant:\n%s", diff)
			}
		})
	}
}

func TestDeliveries(t *testing.T) {
	got := Actions(all, inbound(), inbound().Actions, t0)
	got = append(got, Ended(all, inbound(), t0)...)
	want := gateway.Delivery{
		Webhook: 7, Run: "run_1", Conversation: "cnv_1", State: gateway.DeliveryPending, NextAt: t0, CreatedAt: t0,
	}
	one := func(event string, action int) gateway.Delivery {
		d := want
		d.Event, d.Action = event, action
		return d
	}
	if diff := cmp.Diff(
		[]gateway.Delivery{one(gateway.EventAction, 0), one(gateway.EventAction, 2), one(gateway.EventRunCompleted, -1)}, got,
		cmpopts.IgnoreFields(gateway.Delivery{}, "ID", "Body"),
	); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	seen := map[gateway.DeliveryID]bool{}
	for _, d := range got {
		if d.ID == "" || seen[d.ID] {
			t.Errorf("id %q is empty or not its own", d.ID)
		}
		seen[d.ID] = true
	}
}

func TestOnlyTheWebhooksThatWantAnEventAreTold(t *testing.T) {
	hooks := []gateway.Webhook{
		{ID: 1, Active: true},
		{ID: 2, Active: true, Events: []string{gateway.EventRunFailed}},
		{ID: 3, Active: true, Actions: []string{"hotel.room.*"}},
		{ID: 4},
		{ID: 5, Active: true, Disabled: "410"},
		{ID: 6, Active: true, Events: []string{gateway.EventAction}},
		{ID: 7, Active: true, Agents: []gateway.AgentID{"another"}},
		{ID: 8, Active: true, Accounts: []gateway.AccountID{"acc_another"}},
	}
	tests := map[string]struct {
		give []gateway.Delivery
		want []int64
	}{
		"of completion":                    {Ended(hooks, inbound(), t0), []int64{1}},
		"of failure":                       {Ended(hooks, &gateway.Run{Status: gateway.RunFailed}, t0), []int64{1, 2}},
		"of another agent's run":           {Ended(hooks, &gateway.Run{Status: gateway.RunFailed, Agent: "another"}, t0), []int64{1, 2, 7}},
		"of another account's template":    {Teller{}.Template(hooks, &gateway.Template{Account: "acc_another"}, t0), []int64{1, 8}},
		"of another account's message":     {Teller{}.Message(hooks, &gateway.MessageEvent{Message: gateway.Message{Account: "acc_another", Direction: gateway.In}}, t0), []int64{1, 8}},
		"of a template":                    {Teller{}.Template(hooks, &gateway.Template{}, t0), []int64{1}},
		"of actions, system ones left out": {Actions(hooks, inbound(), inbound().Actions, t0), []int64{1, 3, 6, 1, 6}},
		"of no action that was rejected":   {Actions(hooks, inbound(), []gateway.Action{{Type: "a.b.c", Status: gateway.ActionRejected}}, t0), nil},
		"of no action that expired":        {Actions(hooks, inbound(), []gateway.Action{{Type: "a.b.c", Status: gateway.ActionExpired}}, t0), nil},
		"of no action that waits":          {Actions(hooks, inbound(), []gateway.Action{{Type: "a.b.c", Status: gateway.ActionPending}}, t0), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []int64
			for _, d := range tt.give {
				got = append(got, d.Webhook)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("webhooks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAContactOfAnAPICallersInputIsNotVouchedFor(t *testing.T) {
	r := api()
	r.Input = json.RawMessage(`{"contact":{"name":"Mallory"}}`)
	ds := Actions(all, r, []gateway.Action{{Type: "a.b.c", Status: gateway.ActionAuto}}, t0)
	if len(ds) != 1 || bytes.Contains(ds[0].Body, []byte("Mallory")) {
		t.Errorf("deliveries = %+v", ds)
	}
}

func TestStrangersInputAndMetadataDoNoHarm(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing": "", "half an object": `{"a":`, "a list": `[1]`, "null": `null`, "a contact that is none": `{"contact":7}`, "a key that is no string": `{"conversation_key":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := inbound()
			r.Input, r.Metadata = json.RawMessage(raw), json.RawMessage(raw)
			for _, d := range append(Ended(all, r, t0), Actions(all, r, r.Actions, t0)...) {
				if !json.Valid(d.Body) {
					t.Errorf("body is no JSON: %s", d.Body)
				}
			}
		})
	}
}
