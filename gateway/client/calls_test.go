package client_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"wagent/gateway/client"
	"wagent/gateway/client/accounts"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/pauses"
	"wagent/gateway/client/runs"
	"wagent/gateway/client/templates"
	"wagent/gateway/client/webhooks"
)

func TestWhatNoClientMadeSaysSo(t *testing.T) {
	run, none := &runs.Run{ID: "run_1", Status: runs.Pending}, &client.Client{}
	agent := &agents.Agent{ID: "agt_1"}
	for name, call := range map[string]func(context.Context) error{
		"a run that is read again":  run.Refresh,
		"a run that is waited for":  run.Wait,
		"a run that is decided":     func(ctx context.Context) error { return run.ConfirmActions(ctx, 0) },
		"an agent that runs":        func(ctx context.Context) error { _, err := agent.Run(ctx, "x"); return err },
		"an agent's runs":           func(ctx context.Context) error { _, err := agent.Runs().List(ctx); return err },
		"the messages of no client": func(ctx context.Context) error { _, err := none.Messages("acc_1").SendText(ctx, "+1", "x"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(t.Context()); err == nil || !strings.Contains(err.Error(), "does not come from a client") {
				t.Errorf("it is %v", err)
			}
		})
	}
}

// What is created under a key of the caller's is so under this one, which is no
// part of the body.
func TestEveryCreateTakesAnIdempotencyKey(t *testing.T) {
	const key = "order 1234"
	for name, create := range map[string]func(context.Context, *client.Client) error{
		"an agent": func(ctx context.Context, c *client.Client) error {
			_, err := c.Agents.Create(ctx, agents.Params{IdempotencyKey: key})
			return err
		},
		"a run": func(ctx context.Context, c *client.Client) error {
			_, err := c.AgentRuns("agt_1").Create(ctx, runs.Params{IdempotencyKey: key})
			return err
		},
		"an account": func(ctx context.Context, c *client.Client) error {
			_, err := c.Accounts.Create(ctx, accounts.Params{IdempotencyKey: key})
			return err
		},
		"a message": func(ctx context.Context, c *client.Client) error {
			_, err := c.Messages("acc_1").Create(ctx, messages.Params{IdempotencyKey: key})
			return err
		},
		"a session's message": func(ctx context.Context, c *client.Client) error {
			_, err := c.SessionMessages("ses_1").Create(ctx, messages.Params{IdempotencyKey: key})
			return err
		},
		"a template": func(ctx context.Context, c *client.Client) error {
			_, err := c.Templates("acc_1").Create(ctx, templates.Params{IdempotencyKey: key})
			return err
		},
		"a webhook": func(ctx context.Context, c *client.Client) error {
			_, err := c.Webhooks.Create(ctx, webhooks.Params{IdempotencyKey: key})
			return err
		},
		"a pause": func(ctx context.Context, c *client.Client) error {
			_, err := c.Pauses("acc_1").Create(ctx, pauses.Params{IdempotencyKey: key})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var header, body string
			c, err := client.New("http://wagent.test", testKey, client.WithHTTPClient(&http.Client{Transport: scripted(func(r *http.Request) string {
				b, _ := io.ReadAll(r.Body)
				header, body = r.Header.Get("Idempotency-Key"), string(b)
				return `{"data":{}}`
			})}))
			if err != nil {
				t.Fatal(err)
			}
			if err := create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if header != key || body == "" || strings.Contains(body, key) {
				t.Errorf("created under %q, with %s", header, body)
			}
		})
	}
}
