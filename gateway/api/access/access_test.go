package access

import (
	"context"
	"testing"

	"wagent/gateway"
)

func TestReach(t *testing.T) {
	all, some := gateway.APIKey{Name: "all"}, gateway.APIKey{Name: "some", Test: true}
	tests := map[string]struct {
		ctx     context.Context
		account gateway.AccountID
		want    bool
	}{
		"a key of all accounts reaches one":           {With(t.Context(), &all, nil), "acc_1", true},
		"a key of all accounts reaches what has none": {With(t.Context(), &all, nil), "", true},
		"a limited key reaches its own":               {With(t.Context(), &some, []gateway.AccountID{"acc_1"}), "acc_1", true},
		"a limited key does not reach another":        {With(t.Context(), &some, []gateway.AccountID{"acc_1"}), "acc_2", false},
		"a limited key does not reach what has none":  {With(t.Context(), &some, []gateway.AccountID{"", "acc_1"}), "", false},
		"a limited key of nothing reaches nothing":    {With(t.Context(), &some, nil), "acc_1", false},
		"nobody reaches anything":                     {t.Context(), "acc_1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Reaches(tt.ctx, tt.account); got != tt.want {
				t.Errorf("Reaches = %v", got)
			}
		})
	}
	if got := KeyOf(With(t.Context(), &some, nil)); got.Name != "some" {
		t.Errorf("KeyOf = %+v", got)
	}
	if got := KeyOf(t.Context()); got.Scope.May(gateway.ScopeRead) {
		t.Errorf("without a key: %+v", got)
	}
}

func TestRules(t *testing.T) {
	tests := map[string]struct {
		method, path string
		scope        gateway.KeyScope
		bound        Bound
		decided      bool
	}{
		"reading an agent":                {"GET", "/api/v1/agents/:agent", gateway.ScopeRead, ByPath, true},
		"changing an agent":               {"PATCH", "/api/v1/agents/:agent", gateway.ScopeWrite, ByPath, true},
		"listing agents":                  {"GET", "/api/v1/agents", gateway.ScopeRead, Filtered, true},
		"keys":                            {"GET", "/api/v1/keys", gateway.ScopeAdmin, Nowhere, true},
		"revoking a key":                  {"DELETE", "/api/v1/keys/:key", gateway.ScopeAdmin, Nowhere, true},
		"a webhook":                       {"GET", "/api/v1/webhooks/:webhook", gateway.ScopeAdmin, Nowhere, true},
		"deleting an account":             {"DELETE", "/api/v1/business_accounts/:account", gateway.ScopeAdmin, ByPath, true},
		"connecting an account":           {"POST", "/api/v1/business_accounts/connect", gateway.ScopeAdmin, Nowhere, true},
		"templates":                       {"POST", "/api/v1/business_accounts/:account/templates", gateway.ScopeWrite, ByPath, true},
		"what begins like a tree":         {"GET", "/api/v1/keystone", gateway.ScopeRead, Nowhere, false},
		"what nobody has decided about":   {"PUT", "/api/v1/things/:thing", gateway.ScopeWrite, Nowhere, false},
		"a parameter that only begins so": {"GET", "/api/v1/things/:accounts", gateway.ScopeRead, Nowhere, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := RuleOf(tt.method, tt.path)
			if got != (Rule{tt.scope, tt.bound}) || ok != tt.decided {
				t.Errorf("RuleOf = %+v, %v", got, ok)
			}
		})
	}
}

func TestScopesIncludeThoseBefore(t *testing.T) {
	scopes := []gateway.KeyScope{"", gateway.ScopeRead, gateway.ScopeWrite, gateway.ScopeAdmin}
	for i, s := range scopes {
		for j, other := range scopes[1:] {
			if got := s.May(other); got != (i >= j+1) {
				t.Errorf("%q may %q: %v", s, other, got)
			}
		}
	}
	if gateway.KeyScope("owner").May(gateway.ScopeRead) {
		t.Error("a scope that is none may read")
	}
}
