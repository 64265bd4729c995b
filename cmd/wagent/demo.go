package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/config"
	"wagent/debounce"
	"wagent/gateway"
)

type demoCommand struct {
	Keep bool `help:"Go on serving afterwards, until interrupted."`
}

// demoLimit is the longest that the show may take.
const demoLimit = 25 * time.Second

// Run implements wagent demo: the whole program in one process, on ports that
// the system picks, in a directory that is removed afterwards.
func (c demoCommand) Run(ctx context.Context, p process) (err error) {
	// A closed terminal, or a pager that has seen enough, must not leave the
	// directory behind either.
	ctx, ignore := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer ignore()
	dir, err := os.MkdirTemp("", "wagent-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	receiver, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	s := &show{
		w: p.stdout, start: time.Now(), receiver: receiver,
		batches: make(chan debounce.Batch, 16), sends: make(chan gateway.Send, 16),
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := build(ctx, demoConfig(dir, receiver.url()), host{
		batch: func(b debounce.Batch) { tell(s.batches, b) },
		send:  func(x *gateway.Send) { tell(s.sends, *x) },

		noSocket: true,
	}, log)
	if err != nil {
		receiver.close()
		return err
	}
	defer a.Close()
	s.api = apiClient{base: "http://" + a.listener.Addr().String(), key: a.home.newKey}

	var g errgroup.Group
	g.Go(func() error { defer stop(); return receiver.serve(ctx) })
	g.Go(func() error { defer stop(); return a.Run(ctx) })
	limited, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	played := s.play(limited)
	if played == nil && c.Keep {
		fmt.Fprintf(p.stdout, "\nStill serving. Ctrl-C ends it and removes what it wrote.\n  URL      %s\n  API key  %s\n", s.api.base, s.api.key)
		fmt.Fprintf(p.stdout, "Try:\n  curl -s -H 'Authorization: Bearer %s' %s/api/v1/agents\n", s.api.key, s.api.base)
		<-ctx.Done()
	}
	stop()
	return errors.Join(played, g.Wait())
}

// tell hands over what the show may or may not be waiting for.
func tell[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// demoConfig is a hotel: one number whose agent acts at once, and one whose
// agent's actions a person confirms.
func demoConfig(dir, receiverURL string) config.Config {
	cfg := config.Default()
	cfg.Listen, cfg.DataDir, cfg.Drain = "127.0.0.1:0", dir, 5*time.Second
	cfg.WebhookDelivery.AllowAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.Providers["hotel"] = config.Provider{Kind: config.Scripted, Rules: []byte(demoRules)}
	agent := func(key, name string, account gateway.AccountID, action string, fields ...gateway.Field) gateway.Agent {
		a := gateway.DefaultAgent()
		a.Key, a.Name, a.Account, a.Model = key, name, account, "hotel/script"
		a.SystemPrompt = "You are " + name + " of a small hotel. Answer in the guest's language."
		a.AutoRun, a.Quiet, a.MaxWait = true, time.Second, 10*time.Second
		a.AllowedActions, a.PayloadSchema = []string{action}, fields
		return a
	}
	text := func(name string) gateway.Field {
		return gateway.Field{Name: name, Type: gateway.FieldText, Required: true}
	}
	cfg.Accounts = []gateway.Account{
		{ID: "acc_desk", Kind: gateway.Sandbox, Name: "Front desk", Declared: true},
		{ID: "acc_billing", Kind: gateway.Sandbox, Name: "Billing", Declared: true},
	}
	billing := agent("billing", "the billing clerk", "acc_billing", "hospitality.refund.create", text("reason"))
	billing.Confirm = true
	cfg.Agents = []gateway.Agent{
		agent("concierge", "the concierge", "acc_desk", "hospitality.room_service.request", text("room_number"), text("description")),
		billing,
	}
	cfg.Webhooks = []gateway.Webhook{{
		Key: "tickets", URL: receiverURL, Secret: receiverSecret, Active: true,
		Events: []string{gateway.EventRunCompleted, gateway.EventRunActioned}, Actions: []string{"hospitality.*.*"},
	}}
	return cfg
}

// demoRules are what the scripted model of the demo answers.
const demoRules = `
rules:
  - match: '(?s)\bclean\b.*\broom (\d+)'
    output:
      intent: room_service
      confidence: 0.97
      actions:
        - type: hospitality.room_service.request
          payload: {room_number: "$1", description: "Clean the room"}
      language: en
      suggested_reply: "Of course! Housekeeping will clean room $1."
      analysis_summary: "A guest wants their room cleaned."
      context_summary: "Guest of room $1 asked for cleaning."
  - match: '(?s)\btowels\b'
    system_match: 'Guest of room (?P<room>\d+)'
    output:
      intent: room_service
      confidence: 0.93
      actions:
        - type: hospitality.room_service.request
          payload: {room_number: "${room}", description: "Fresh towels"}
      language: en
      suggested_reply: "Fresh towels are on their way to room ${room} as well."
      analysis_summary: "The same guest also wants towels; the room is known from the context."
      context_summary: "Guest of room ${room} asked for cleaning and towels."
  - match: '(?s)\brefund\b'
    output:
      intent: refund
      confidence: 0.9
      actions:
        - type: hospitality.refund.create
          payload: {reason: "Charged twice"}
      language: en
      suggested_reply: "I have asked a colleague to look at your refund."
      analysis_summary: "A guest was charged twice."
      context_summary: "Guest asked for a refund of a double charge."
default:
  output:
    intent: unknown
    confidence: 0.1
    language: en
    suggested_reply: "Sorry, I did not understand that."
    analysis_summary: "Nothing matched."
`

// step is one line of the show, with the time since its start.
func (s *show) step(part, format string, args ...any) {
	fmt.Fprintf(s.w, "%7.3fs  %-9s %s\n", time.Since(s.start).Seconds(), part, fmt.Sprintf(format, args...))
}
