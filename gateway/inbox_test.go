package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// inboxParts is an Inbox's surroundings: one agent, and what was stored and
// armed.
type inboxParts struct {
	agent    *gateway.Agent
	paused   bool
	storeErr error
	armErr   error
	joined   []gateway.Message
	joinErr  error
	stored   []gateway.Arrival
	seen     map[string]bool
	armed    []string
	windows  []gateway.Window // of those that were armed
	dropped  []string

	windowing    gateway.Windowing // of every conversation
	asked        int               // how often for that
	joinedWindow gateway.Windowing // of what AddMessages joined
	windowingErr error
}

func (p *inboxParts) DefaultAgent(context.Context, gateway.AccountID) (gateway.Agent, error) {
	if p.agent == nil {
		return gateway.Agent{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no agent"}
	}
	return *p.agent, nil
}

func (p *inboxParts) AddMessages(_ context.Context, as []gateway.Arrival) ([]gateway.Arrived, error) {
	if p.storeErr != nil {
		return nil, p.storeErr
	}
	var out []gateway.Arrived
	for _, a := range as {
		if p.paused && a.State == gateway.StateWaiting {
			a.State = gateway.StateHeld
		}
		out = append(out, gateway.Arrived{New: !p.seen[a.ExternalID], Message: gateway.Message{
			ID: gateway.MessageID(a.ExternalID), State: a.State, StateReason: a.Reason, Text: a.Text,
		}, Joined: p.joined, JoinedWindow: p.joinedWindow, Window: p.windowing, Paused: a.Origin == gateway.OriginEcho})
		p.seen[a.ExternalID] = true
		p.stored = append(p.stored, a)
	}
	return out, nil
}

func (p *inboxParts) Waiting(_ context.Context, _ gateway.AccountID, after int64, limit int) ([]gateway.Message, error) {
	var out []gateway.Message
	for i, a := range p.stored {
		if seq := int64(i + 1); seq > after && a.State == gateway.StateWaiting && len(out) < limit {
			out = append(out, gateway.Message{ID: gateway.MessageID(a.ExternalID), Seq: seq})
		}
	}
	return out, nil
}

func (p *inboxParts) JoinAddresses(context.Context, gateway.AccountID, ...gateway.Address) ([]gateway.Message, error) {
	return p.joined, p.joinErr
}

func (p *inboxParts) Windowing(context.Context, gateway.ConversationID) (gateway.Windowing, error) {
	p.asked++
	return p.windowing, p.windowingErr
}

func (p *inboxParts) Add(_ context.Context, m *gateway.Message, w gateway.Window) error {
	p.armed = append(p.armed, string(m.ID))
	p.windows = append(p.windows, w)
	return p.armErr
}

func (p *inboxParts) Drop(_ context.Context, id gateway.ConversationID) error {
	p.dropped = append(p.dropped, string(id))
	return p.armErr
}

func newInbox() (*gateway.Inbox, *inboxParts) {
	a := gateway.DefaultAgent()
	a.AutoRun = true
	p := &inboxParts{agent: &a, seen: map[string]bool{}}
	return &gateway.Inbox{Store: p, Agents: p, Window: p, MaxAge: 6 * time.Hour, Log: quiet()}, p
}

func text(id, s string) gateway.Inbound {
	return gateway.Inbound{Account: "acc_1", ExternalID: id, Type: gateway.TypeText, Text: s, SentAt: time.Now(), Origin: gateway.OriginLive}
}

func TestInboxJudges(t *testing.T) {
	tests := map[string]struct {
		with       func(*inboxParts)
		in         func(*gateway.Inbound)
		want       gateway.Outcome
		wantReason string
		wantArmed  bool
	}{
		"a message goes into its window":               {want: gateway.OutcomeStored, wantArmed: true},
		"without an agent it is ignored":               {with: func(p *inboxParts) { p.agent = nil }, want: gateway.OutcomeIgnored, wantReason: "no_agent"},
		"an agent that does not run by itself":         {with: func(p *inboxParts) { p.agent.AutoRun = false }, want: gateway.OutcomeIgnored, wantReason: "no_agent"},
		"history never fires":                          {in: func(m *gateway.Inbound) { m.Origin = gateway.OriginHistory }, want: gateway.OutcomeIgnored, wantReason: "history"},
		"our own words never fire":                     {in: func(m *gateway.Inbound) { m.Origin = gateway.OriginEcho }, want: gateway.OutcomeIgnored, wantReason: "echo"},
		"young backlog fires":                          {in: func(m *gateway.Inbound) { m.Origin, m.SentAt = gateway.OriginBacklog, time.Now().Add(-5*time.Hour) }, want: gateway.OutcomeStored, wantArmed: true},
		"old backlog is held for a person":             {in: func(m *gateway.Inbound) { m.SentAt = time.Now().Add(-7 * time.Hour) }, want: gateway.OutcomeHeld, wantReason: "too_old"},
		"a deletion tells nobody":                      {in: func(m *gateway.Inbound) { m.Change, m.Target = gateway.Revoke, "x" }, want: gateway.OutcomeIgnored, wantReason: "revoke"},
		"an edit is judged like any message":           {in: func(m *gateway.Inbound) { m.Change, m.Target = gateway.Edit, "x" }, want: gateway.OutcomeStored, wantArmed: true},
		"a reaction starts no run":                     {in: func(m *gateway.Inbound) { m.Type = gateway.TypeReaction }, want: gateway.OutcomeIgnored, wantReason: "type"},
		"an image does":                                {in: func(m *gateway.Inbound) { m.Type = gateway.TypeImage }, want: gateway.OutcomeStored, wantArmed: true},
		"an image does not where only text is wanted":  {with: func(p *inboxParts) { p.agent.Filter.TextOnly = true }, in: func(m *gateway.Inbound) { m.Type = gateway.TypeImage }, want: gateway.OutcomeIgnored, wantReason: "not_text"},
		"a short text is ignored":                      {with: func(p *inboxParts) { p.agent.Filter.MinLength = 9 }, want: gateway.OutcomeIgnored, wantReason: "too_short"},
		"patterns ignore case":                         {with: func(p *inboxParts) { p.agent.Filter.IgnorePatterns = []string{"^HELLO"} }, want: gateway.OutcomeIgnored, wantReason: "pattern"},
		"nothing but emoji is ignored on request":      {with: func(p *inboxParts) { p.agent.Filter.IgnoreEmoji = true }, in: func(m *gateway.Inbound) { m.Text = "👍🏽 ❤️" }, want: gateway.OutcomeIgnored, wantReason: "emoji"},
		"but not without":                              {in: func(m *gateway.Inbound) { m.Text = "👍" }, want: gateway.OutcomeStored, wantArmed: true},
		"nothing but a greeting is ignored on request": {with: func(p *inboxParts) { p.agent.Filter.IgnoreGreeting = true }, want: gateway.OutcomeIgnored, wantReason: "greeting"},
		"a greeting with a wish is not":                {with: func(p *inboxParts) { p.agent.Filter.IgnoreGreeting = true }, in: func(m *gateway.Inbound) { m.Text = "hello, a room please" }, want: gateway.OutcomeStored, wantArmed: true},
		"what quotes a message may be an answer":       {with: func(p *inboxParts) { p.agent.Filter.IgnoreGreeting, p.agent.Filter.IgnoreEmoji = true, true }, in: func(m *gateway.Inbound) { m.Text, m.ReplyTo = "ok 👍", "wamid.1" }, want: gateway.OutcomeStored, wantArmed: true},
		"an emoji that quotes one, too":                {with: func(p *inboxParts) { p.agent.Filter.IgnoreEmoji = true }, in: func(m *gateway.Inbound) { m.Text, m.ReplyTo = "👍", "wamid.1" }, want: gateway.OutcomeStored, wantArmed: true},
		"the caption of an image is no greeting":       {with: func(p *inboxParts) { p.agent.Filter.IgnoreGreeting = true }, in: func(m *gateway.Inbound) { m.Type = gateway.TypeImage }, want: gateway.OutcomeStored, wantArmed: true},
		"a tapped button is an answer":                 {with: func(p *inboxParts) { p.agent.Filter.IgnoreGreeting = true }, in: func(m *gateway.Inbound) { m.Type, m.Text = gateway.TypeButton, "OK" }, want: gateway.OutcomeStored, wantArmed: true},
		"a paused conversation's message is held":      {with: func(p *inboxParts) { p.paused = true }, want: gateway.OutcomeHeld},
		"a duplicate is told":                          {with: func(p *inboxParts) { p.seen["m"] = true }, want: gateway.OutcomeDuplicate, wantArmed: true},
		"without Redis it is safe all the same":        {with: func(p *inboxParts) { p.armErr = errors.New("away") }, want: gateway.OutcomeUnarmed, wantArmed: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inbox, parts := newInbox()
			m := text("m", "hello")
			if tt.with != nil {
				tt.with(parts)
			}
			if tt.in != nil {
				tt.in(&m)
			}
			got, err := inbox.Receive(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]gateway.Outcome{tt.want}, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			if r := parts.stored[0].Reason; r != tt.wantReason {
				t.Errorf("reason %q, want %q", r, tt.wantReason)
			}
			if armed := len(parts.armed) == 1; armed != tt.wantArmed {
				t.Errorf("armed: %v, want %v", armed, tt.wantArmed)
			}
		})
	}
}

func TestAGreetingWithinABurstKeepsNobodyBack(t *testing.T) {
	inbox, parts := newInbox()
	parts.agent.Filter.IgnoreGreeting = true
	var skipped []string
	inbox.Skipped = func(m *gateway.Message) { skipped = append(skipped, string(m.ID)+" "+m.StateReason) }
	for range 2 { // the second time they are duplicates, of which nobody is told
		if _, err := inbox.Receive(t.Context(), text("1", "I need a room"), text("2", "hi!"), text("3", "for two")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"1", "3", "1", "3"}, parts.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"2 greeting"}, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

func TestInboxRefusesWhatIsNotStored(t *testing.T) {
	inbox, parts := newInbox()
	parts.storeErr = &gateway.Error{Kind: gateway.Unavailable, Msg: "database away"}
	_, err := inbox.Receive(t.Context(), text("a", "x"), text("b", "y"))
	if gateway.KindOf(err) != gateway.Unavailable || len(parts.armed) != 0 {
		t.Errorf("Receive = %v with %d armed, want Unavailable and none", err, len(parts.armed))
	}
}

func TestInboxCleansStrangersBytes(t *testing.T) {
	inbox, parts := newInbox()
	m := text("id\x00", "a\x00b\xffc")
	m.Detail = []byte("{\"k\":\"\xff\"}")
	if _, err := inbox.Receive(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := parts.stored[0]
	if got.Text != "ab\uFFFDc" || got.ExternalID != "id" || strings.Contains(string(got.Detail), "\xff") {
		t.Errorf("stored %q %q %q", got.Text, got.ExternalID, got.Detail)
	}
}

func TestInboxKeepsOrder(t *testing.T) {
	inbox, parts := newInbox()
	if _, err := inbox.Receive(t.Context(), text("1", "a"), text("2", "b"), text("3", "c")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, parts.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
}

func TestInboxReleasesTheBacklogTogether(t *testing.T) {
	inbox, parts := newInbox()
	var want []string
	for i := range 1203 { // more than two pages
		m := text(fmt.Sprint(i), "x")
		m.Origin, m.Deferred = gateway.OriginBacklog, true
		got, err := inbox.Receive(t.Context(), m)
		if err != nil || got[0] != gateway.OutcomeStored {
			t.Fatalf("Receive = %v, %v", got, err)
		}
		want = append(want, m.ExternalID)
	}
	if len(parts.armed) > 0 {
		t.Fatalf("%d were armed before the backlog's end", len(parts.armed))
	}
	if err := inbox.Release(t.Context(), "acc_1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, parts.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
	if parts.asked != 3 { // all are of one conversation
		t.Errorf("asked %d times for its window, want once a page", parts.asked)
	}
}

func TestAgentValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*gateway.Agent)
		field  string // that is complained of; empty: none
	}{
		"the defaults with a name and a prompt are valid": {change: func(*gateway.Agent) {}},
		"a name is required":                              {func(a *gateway.Agent) { a.Name = " " }, "name"},
		"a prompt is required":                            {func(a *gateway.Agent) { a.SystemPrompt = "" }, "system_prompt"},
		"temperature ends at 2":                           {func(a *gateway.Agent) { a.Temperature = 2.1 }, "temperature"},
		"tokens end at 2048":                              {func(a *gateway.Agent) { a.MaxTokens = 2049 }, "max_tokens"},
		"debounce starts at a second":                     {func(a *gateway.Agent) { a.Quiet = 0 }, "debounce_seconds"},
		"max wait is not below the quiet":                 {func(a *gateway.Agent) { a.MaxWait = a.Quiet - 1 }, "max_wait_seconds"},
		"context ends at a day":                           {func(a *gateway.Agent) { a.ContextTTL = 25 * time.Hour }, "context_ttl_minutes"},
		"an action has three segments":                    {func(a *gateway.Agent) { a.AllowedActions = []string{"support.ticket"} }, "allowed_actions"},
		"an action is in snake case":                      {func(a *gateway.Agent) { a.AllowedActions = []string{"Support.ticket.create"} }, "allowed_actions"},
		"ten actions are the most":                        {func(a *gateway.Agent) { a.AllowedActions = strings.Split(strings.Repeat("a.b.c ", 11), " ")[:11] }, "allowed_actions"},
		"a field's name is in snake case":                 {func(a *gateway.Agent) { a.PayloadSchema = []gateway.Field{{Name: "Room", Type: "text"}} }, "payload_schema"},
		"a field's type is known":                         {func(a *gateway.Agent) { a.PayloadSchema = []gateway.Field{{Name: "room", Type: "string"}} }, "payload_schema"},
		"a field stands there once": {func(a *gateway.Agent) {
			a.PayloadSchema = []gateway.Field{{Name: "a", Type: "text"}, {Name: "a", Type: "text"}}
		}, "payload_schema"},
		"fifty patterns are the most":          {func(a *gateway.Agent) { a.Filter.IgnorePatterns = make([]string, 51) }, "inbound_config"},
		"a pattern is not endless":             {func(a *gateway.Agent) { a.Filter.IgnorePatterns = []string{strings.Repeat("é", 1001)} }, "inbound_config"},
		"a pattern is a regular expression":    {func(a *gateway.Agent) { a.Filter.IgnorePatterns = []string{"("} }, "inbound_config"},
		"a confirmation has at least a minute": {func(a *gateway.Agent) { a.ConfirmationTimeout = time.Second }, "confirmation_timeout_minutes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := gateway.DefaultAgent()
			a.Name, a.SystemPrompt = "Concierge", "You are a concierge."
			tt.change(&a)
			err := a.Validate()
			var e *gateway.Error
			switch {
			case tt.field == "" && err != nil:
				t.Errorf("Validate = %v", err)
			case tt.field != "" && (!errors.As(err, &e) || len(e.Details[tt.field]) == 0):
				t.Errorf("Validate = %v, want a complaint about %s", err, tt.field)
			}
		})
	}
}

func TestWebhookWants(t *testing.T) {
	tests := map[string]struct {
		hook   gateway.Webhook
		event  string
		action string
		want   bool
	}{
		"without a choice it takes events":        {gateway.Webhook{}, gateway.EventRunCompleted, "", true},
		"without a choice it takes actions":       {gateway.Webhook{}, gateway.EventAction, "a.b.c", true},
		"a named event":                           {gateway.Webhook{Events: []string{gateway.EventRunCompleted}}, gateway.EventRunCompleted, "", true},
		"not another one":                         {gateway.Webhook{Events: []string{gateway.EventRunCompleted}}, gateway.EventRunFailed, "", false},
		"not actions where only events are named": {gateway.Webhook{Events: []string{gateway.EventRunCompleted}}, gateway.EventAction, "a.b.c", false},
		"not events where only actions are named": {gateway.Webhook{Actions: []string{"a.*.*"}}, gateway.EventRunCompleted, "", false},
		"an action by its pattern":                {gateway.Webhook{Actions: []string{"support.*.*"}}, gateway.EventAction, "support.ticket.create", true},
		"a star stands for one segment":           {gateway.Webhook{Actions: []string{"support.*"}}, gateway.EventAction, "support.ticket.create", false},
		"not another domain's":                    {gateway.Webhook{Actions: []string{"support.*.*"}}, gateway.EventAction, "sales.ticket.create", false},
		"nothing while inactive":                  {gateway.Webhook{Disabled: "gone"}, gateway.EventRunCompleted, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.hook.Active = true
			if got := tt.hook.Wants(tt.event, tt.action); got != tt.want {
				t.Errorf("Wants(%q, %q) = %v", tt.event, tt.action, got)
			}
		})
	}
}

func TestWebhookConcerns(t *testing.T) {
	for name, tt := range map[string]struct {
		hook    gateway.Webhook
		agent   gateway.AgentID
		account gateway.AccountID
		want    bool
	}{
		"without a choice, all":         {gateway.Webhook{}, "a", "acc", true},
		"without a choice, also nobody": {gateway.Webhook{}, "", "", true},
		"its agent":                     {gateway.Webhook{Agents: []gateway.AgentID{"b", "a"}}, "a", "acc", true},
		"not another":                   {gateway.Webhook{Agents: []gateway.AgentID{"b"}}, "a", "acc", false},
		"not what is no agent's":        {gateway.Webhook{Agents: []gateway.AgentID{"a"}}, "", "acc", false},
		"its account":                   {gateway.Webhook{Accounts: []gateway.AccountID{"acc"}}, "a", "acc", true},
		"not another account":           {gateway.Webhook{Accounts: []gateway.AccountID{"acc"}}, "a", "acc2", false},
		"its agent on another account":  {gateway.Webhook{Agents: []gateway.AgentID{"a"}, Accounts: []gateway.AccountID{"acc"}}, "a", "acc2", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.hook.Concerns(tt.agent, tt.account); got != tt.want {
				t.Errorf("Concerns(%q, %q) = %v", tt.agent, tt.account, got)
			}
		})
	}
}

func TestAgentIDForms(t *testing.T) {
	id := gateway.NewAgentID()
	for _, form := range []string{string(id), id.String(), "agent-" + string(id)} {
		if got, ok := gateway.ParseAgentID(form); !ok || got != id {
			t.Errorf("ParseAgentID(%q) = %q, %v", form, got, ok)
		}
	}
	for _, bad := range []string{"", "agt_", "agt_zz", id.String() + "0", strings.ToUpper(id.String()), "agent-agt_"} {
		if got, ok := gateway.ParseAgentID(bad); ok {
			t.Errorf("ParseAgentID(%q) = %q", bad, got)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := gateway.Secret("hush")
	b, _ := s.MarshalText()
	for _, got := range []string{s.String(), s.GoString(), s.LogValue().String(), string(b)} {
		if strings.Contains(got, "hush") {
			t.Errorf("the secret prints: %q", got)
		}
	}
}

// hanging is a Windower whose Redis does not answer.
type hanging struct{ gone bool }

func (h *hanging) Add(ctx context.Context, _ *gateway.Message, _ gateway.Window) error {
	return h.Drop(ctx, "")
}

func (h *hanging) Drop(ctx context.Context, _ gateway.ConversationID) error {
	h.gone = h.gone || errors.Is(ctx.Err(), context.Canceled)
	<-ctx.Done()
	return ctx.Err()
}

func TestInboxAcknowledgesWhileRedisHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inbox, _ := newInbox()
		window := &hanging{}
		inbox.Window = window
		ctx, leave := context.WithCancel(t.Context())
		inbox.Store = leaver{inbox.Store, leave}
		began := time.Now()
		got, err := inbox.Receive(ctx, text("a", "one"), text("b", "two"), text("c", "three"))
		if err != nil {
			t.Fatal(err)
		}
		want := []gateway.Outcome{gateway.OutcomeUnarmed, gateway.OutcomeUnarmed, gateway.OutcomeUnarmed}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("three stored messages were acknowledged after %v, want 1s", took)
		}
		if window.gone {
			t.Error("a caller who went away kept a stored message from its window")
		}
	})
}

// leaver is a store whose caller goes away as soon as it has committed.
type leaver struct {
	gateway.MessageStore
	leave context.CancelFunc
}

func (l leaver) AddMessages(ctx context.Context, ms []gateway.Arrival) ([]gateway.Arrived, error) {
	defer l.leave()
	return l.MessageStore.AddMessages(ctx, ms)
}

func TestInboxJoins(t *testing.T) {
	both := gateway.Address{Phone: "+15550000001", LID: "111"}
	waits := []gateway.Message{{ID: "a", State: gateway.StateWaiting}, {ID: "b", State: gateway.StateWaiting}}
	away := &gateway.Error{Kind: gateway.Unavailable, Msg: "database away"}
	tests := map[string]struct {
		with      func(*inboxParts)
		want      gateway.Kind
		wantArmed []string
	}{
		"what waits is armed":                     {with: func(p *inboxParts) { p.joined = waits }, wantArmed: []string{"a", "b"}},
		"nothing waits":                           {},
		"without an agent nothing is armed":       {with: func(p *inboxParts) { p.joined, p.agent = waits, nil }},
		"Redis is away: the sweeper has them":     {with: func(p *inboxParts) { p.joined, p.armErr = waits, errors.New("away") }, wantArmed: []string{"a", "b"}},
		"what was joined before an error is kept": {with: func(p *inboxParts) { p.joined, p.joinErr = waits[:1], away }, want: gateway.Unavailable, wantArmed: []string{"a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inbox, parts := newInbox()
			if tt.with != nil {
				tt.with(parts)
			}
			if err := inbox.Join(t.Context(), "acc_1", both); gateway.KindOf(err) != tt.want || (err == nil) != (tt.want == gateway.Internal) {
				t.Errorf("Join = %v, want kind %s", err, tt.want)
			}
			if diff := cmp.Diff(tt.wantArmed, parts.armed); diff != "" {
				t.Errorf("armed (-want +got):\n%s", diff)
			}
			if parts.asked > 1 {
				t.Errorf("asked %d times for the window of one conversation", parts.asked)
			}
		})
	}
}

// A message that starts no run itself may have joined two conversations.
func TestInboxArmsWhatAMessageJoined(t *testing.T) {
	inbox, parts := newInbox()
	parts.joined = []gateway.Message{{ID: "a", State: gateway.StateWaiting}}
	m := text("m", "👍")
	m.Type = gateway.TypeReaction
	got, err := inbox.Receive(t.Context(), m)
	if err != nil || got[0] != gateway.OutcomeIgnored {
		t.Errorf("Receive = %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"a"}, parts.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
}
