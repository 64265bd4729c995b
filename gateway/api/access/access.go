// Package access is what an API key may do: who asks ([KeyOf]), which accounts
// it reaches ([Reach]), and what each route asks of it ([RuleOf]).
//
// A key of all accounts does whatever its scope says. A limited one, of some
// accounts or of sandbox accounts, sees the rest as if it were not there: what
// is bound to an account is reached through a path that names it, or whose it
// is, and the server looks there before any handler does; what is listed over
// accounts is filtered by those who read it. What is bound to no account, and
// each route that nobody has decided about, is out of reach.
//
// It keeps no state.
package access

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"wagent/gateway"
)

type contextKey struct{}

type grant struct {
	key      gateway.APIKey
	accounts []gateway.AccountID
}

// With returns a context of a request that was made with a key. accounts are
// those that a limited key reaches, and mean nothing for another.
func With(ctx context.Context, key *gateway.APIKey, accounts []gateway.AccountID) context.Context {
	return context.WithValue(ctx, contextKey{}, grant{*key, accounts})
}

// KeyOf returns the key that a request was made with. Without one it has no name
// and no scope.
func KeyOf(ctx context.Context) gateway.APIKey {
	g, _ := ctx.Value(contextKey{}).(grant)
	return g.key
}

// Reach returns the accounts that a request may see, or false if it may see all
// of them. Where there is no key it may see none.
func Reach(ctx context.Context) (accounts []gateway.AccountID, limited bool) {
	g, ok := ctx.Value(contextKey{}).(grant)
	if !ok {
		return nil, true
	}
	return g.accounts, g.key.Limited()
}

// Reaches reports whether a request may see what is bound to an account; the
// empty id is what is bound to none.
func Reaches(ctx context.Context, id gateway.AccountID) bool {
	accounts, limited := Reach(ctx)
	return !limited || id != "" && slices.Contains(accounts, id)
}

// A Rule is what a route asks of a key.
type Rule struct {
	Scope gateway.KeyScope
	Bound Bound
}

// A Bound is how a limited key reaches a route.
type Bound uint8

// The zero Bound is Nowhere.
const (
	Nowhere    Bound = iota // never: it is bound to no account, or to all of them
	ByPath                  // if it reaches each account that the path is about
	Filtered                // always: who reads for it, or writes, asks Reach
	Everywhere              // always: it has nothing of anybody's
)

// owners are the parameters of paths that say whose a thing is. The server knows
// how to find the account of each.
var owners = []string{":account", ":session", ":agent", ":contact"}

// base is where the API stands.
const base = "/api/v1"

// decided are the routes that neither their method nor their path decides.
var decided = map[string]Rule{
	"GET /agents":          {gateway.ScopeRead, Filtered},
	"POST /agents":         {gateway.ScopeWrite, Filtered},
	"GET /agent_templates": {gateway.ScopeRead, Everywhere},
	"GET /contacts":        {gateway.ScopeRead, Filtered},

	// Accounts come and go with an admin's key.
	"GET /sessions":                      {gateway.ScopeRead, Filtered},
	"POST /sessions":                     {gateway.ScopeAdmin, Nowhere},
	"DELETE /sessions/:session":          {gateway.ScopeAdmin, ByPath},
	"GET /business_accounts":             {gateway.ScopeRead, Filtered},
	"POST /business_accounts":            {gateway.ScopeAdmin, Nowhere},
	"DELETE /business_accounts/:account": {gateway.ScopeAdmin, ByPath},

	// They count what all accounts do.
	"GET /usage":         {gateway.ScopeRead, Nowhere},
	"GET /usage/metrics": {gateway.ScopeRead, Nowhere},
}

// ruled are the subtrees whose every route has one rule.
var ruled = map[string]Rule{
	"/keys":                       {gateway.ScopeAdmin, Nowhere},
	"/audit":                      {gateway.ScopeAdmin, Nowhere},
	"/webhooks":                   {gateway.ScopeAdmin, Nowhere}, // they are told of all accounts, and their URLs may be secrets
	"/connect":                    {gateway.ScopeAdmin, Nowhere}, // it adds an account
	"/connects":                   {gateway.ScopeAdmin, Nowhere},
	"/business_accounts/connect":  {gateway.ScopeAdmin, Nowhere},
	"/business_accounts/connects": {gateway.ScopeAdmin, Nowhere},
}

// RuleOf returns what the route with a method and a path of echo's, such as
// /api/v1/agents/:agent, asks of a key. It reports false if nobody has decided
// about it: it is then as bound to no account, and its scope is its method's.
func RuleOf(method, path string) (Rule, bool) {
	path = strings.TrimPrefix(path, base)
	if r, ok := decided[method+" "+path]; ok {
		return r, true
	}
	for tree, r := range ruled {
		if path == tree || strings.HasPrefix(path, tree+"/") {
			return r, true
		}
	}
	r := Rule{Scope: gateway.ScopeWrite}
	if method == http.MethodGet || method == http.MethodHead {
		r.Scope = gateway.ScopeRead
	}
	for segment := range strings.SplitSeq(path, "/") {
		if slices.Contains(owners, segment) {
			r.Bound = ByPath
		}
	}
	return r, r.Bound == ByPath
}
