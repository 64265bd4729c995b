package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/access"
)

// Keys knows the API keys.
type Keys interface {
	// KeyByHash returns the key with that SHA-256, or an Error of kind
	// NotFound.
	KeyByHash(ctx context.Context, hash [32]byte) (gateway.APIKey, error)
}

// keyName is where the name of the request's key stands in echo's context.
const keyName = "api_key"

var errUnauthorized = &gateway.Error{Kind: gateway.Unauthorized, Msg: "Invalid or missing API key"}

// trusted is the key of the mark in a context, and localName what the log
// calls whoever came with it. No key's name has parentheses around it by
// chance.
type trusted struct{}

const localName = "(local)"

// Trusted marks the context of a connection whose requests need no key, for
// the ConnContext of an [http.Server] whose listener only the operator can
// reach, such as a Unix socket in a directory of theirs. Nothing that a request
// holds can set the mark.
func Trusted(ctx context.Context) context.Context { return context.WithValue(ctx, trusted{}, true) }

// authenticate lets requests with a known key pass, and those of a connection
// that is [Trusted], which may do everything. It looks the key up by its
// hash, so that the time it takes tells nothing about keys that exist. A client
// that is refused too often is told to wait; one with a good key beside it is not,
// since that is found first.
func authenticate(keys Keys, used func(*gateway.APIKey)) echo.MiddlewareFunc {
	refused := new(clients)
	refuse := func(c echo.Context) error {
		if wait := refused.takeOf(c.Request(), time.Now()); wait > 0 {
			return &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests without a valid API key", RetryAfter: wait}
		}
		return errUnauthorized
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Request().Context().Value(trusted{}) != nil {
				return admit(c, &gateway.APIKey{Name: localName, Scope: gateway.ScopeAdmin}, next)
			}
			key, ok := bearer(c.Request().Header.Get(echo.HeaderAuthorization))
			if !ok {
				return refuse(c)
			}
			k, err := keys.KeyByHash(c.Request().Context(), sha256.Sum256([]byte(key)))
			switch {
			case err == nil:
				if used != nil {
					used(&k)
				}
				return admit(c, &k, next)
			case gateway.KindOf(err) == gateway.NotFound:
				return refuse(c)
			default:
				return fmt.Errorf("find API key: %w", err)
			}
		}
	}
}

// admit notes whose request it is, for the log and for whoever asks
// [access.KeyOf]. What a limited key reaches is found later: here, nothing.
func admit(c echo.Context, k *gateway.APIKey, next echo.HandlerFunc) error {
	c.Set(keyName, k.Name)
	c.SetRequest(c.Request().WithContext(access.With(c.Request().Context(), k, nil)))
	return next(c)
}

// bearer returns the token of an Authorization header (RFC 6750, section 2.1).
func bearer(header string) (string, bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}
