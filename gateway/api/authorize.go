package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/access"
	"wagent/gateway/api/wire"
)

// Owners know to which account a thing is bound. Where there is no such thing,
// the error is of kind NotFound.
type Owners interface {
	// Accounts returns those in use.
	Accounts(ctx context.Context) ([]gateway.Account, error)
	Agent(ctx context.Context, id gateway.AgentID) (gateway.Agent, error)
	Contact(ctx context.Context, id gateway.ContactID) (gateway.Contact, error)
}

// authorize lets a request pass whose key may do what its route does, with what
// the path is about. It is the one place that keeps limited keys out, of routes
// that are made later, too: one that package access knows nothing of is closed
// to them.
func authorize(owners Owners) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if routeOf(c) == unmatched {
				return wire.NotFound("route")
			}
			k := access.KeyOf(c.Request().Context())
			rule, _ := access.RuleOf(c.Request().Method, c.Path())
			switch {
			case k.Limited() && rule.Bound == access.Nowhere:
				return wire.NotFound("route for this key")
			case !k.Scope.May(rule.Scope):
				return echo.NewHTTPError(http.StatusForbidden, fmt.Sprintf("This needs an API key of scope %s, and yours has scope %s", rule.Scope, k.Scope))
			case k.Limited():
				if err := confine(c, &k, owners); err != nil {
					return err
				}
			}
			return next(c)
		}
	}
}

// confine finds what the key reaches, and looks whether what the path is about
// is bound to that.
func confine(c echo.Context, k *gateway.APIKey, owners Owners) error {
	reach, err := reachOf(c.Request().Context(), k, owners)
	if err != nil {
		return err
	}
	ctx := access.With(c.Request().Context(), k, reach)
	c.SetRequest(c.Request().WithContext(ctx))
	for _, name := range c.ParamNames() {
		id, ok := wire.PathID(c, name)
		if !ok {
			return wire.NotFound(name)
		}
		account, owner, err := ownerOf(ctx, name, id, owners)
		switch {
		case err != nil:
			return err
		case owner && !access.Reaches(ctx, account):
			return wire.NotFound(name)
		}
	}
	return nil
}

// reachOf returns the accounts of a limited key.
func reachOf(ctx context.Context, k *gateway.APIKey, owners Owners) ([]gateway.AccountID, error) {
	if !k.Test {
		return k.Accounts, nil
	}
	all, err := owners.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list accounts of API key %s: %w", k.Name, err)
	}
	var reach []gateway.AccountID
	for i := range all {
		if all[i].Kind == gateway.Sandbox && (len(k.Accounts) == 0 || slices.Contains(k.Accounts, all[i].ID)) {
			reach = append(reach, all[i].ID)
		}
	}
	return reach, nil
}

// ownerOf returns the account that a parameter of the path is, or is bound to. It
// reports false for a parameter that is a part of what another one names.
func ownerOf(ctx context.Context, name, id string, owners Owners) (account gateway.AccountID, owner bool, err error) {
	switch name {
	case "account", "session":
		return gateway.AccountID(id), true, nil
	case "agent":
		agent, ok := gateway.ParseAgentID(id)
		if !ok {
			return "", false, wire.NotFound(name)
		}
		a, err := owners.Agent(ctx, agent)
		if err != nil {
			return "", false, fmt.Errorf("find agent %s: %w", agent, err)
		}
		return a.Account, true, nil
	case "contact":
		who, err := owners.Contact(ctx, gateway.ContactID(id))
		if err != nil {
			return "", false, fmt.Errorf("find contact %s: %w", id, err)
		}
		return who.Account, true, nil
	default:
		return "", false, nil
	}
}
