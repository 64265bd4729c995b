package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestADirectoryShowsWhatItsProcessChangesAtOnce: it remembers for two seconds
// what another one may change.
func TestADirectoryShowsWhatItsProcessChangesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, d := t.Context(), s.Directory()
		seen := func(name string, agents int, disabled string) {
			t.Helper()
			a, err := d.Account(ctx, "acc_1")
			if err != nil || a.Name != name {
				t.Errorf("the account is named %q, %v, want %q", a.Name, err, name)
			}
			as, err := d.Agents(ctx)
			if err != nil || len(as) != agents {
				t.Errorf("there are %d agents, %v, want %d", len(as), err, agents)
			}
			ws, err := d.Webhooks(ctx)
			if err != nil || len(ws) != 1 || ws[0].Disabled != disabled {
				t.Errorf("the webhooks are %+v, %v, want one that is disabled for %q", ws, err, disabled)
			}
		}
		must(t, s.Declare(ctx, nil, nil, []gateway.Webhook{{Key: "w", URL: "https://example.com", Secret: "whsec_c2VjcmV0", Active: true}}, nil))
		if _, err := d.Account(ctx, "acc_1"); gateway.KindOf(err) != gateway.NotFound {
			t.Errorf("an account that is not there: %v", err)
		}
		must(t, s.PutAccount(ctx, gateway.Account{ID: "acc_1", Kind: gateway.Sandbox, Name: "first"}))
		seen("first", 0, "")
		must(t, s.PutAccount(ctx, gateway.Account{ID: "acc_1", Kind: gateway.Sandbox, Name: "second"}))
		seen("second", 0, "")
		a := gateway.DefaultAgent()
		a.Name, a.SystemPrompt, a.Account = "Concierge", "You answer.", "acc_1"
		must(t, s.CreateAgent(ctx, &a))
		seen("second", 1, "")
		ws, err := d.Webhooks(ctx)
		must(t, err)
		must(t, s.DisableWebhook(ctx, ws[0].ID, ws[0].URL, "410"))
		must(t, s.DeleteAgent(ctx, a.ID))
		seen("second", 0, "410")
	})
}
