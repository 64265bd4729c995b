package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
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
// that is [Trusted]. It looks the key up by its
// hash, so that the time it takes tells nothing about keys that exist.
func authenticate(keys Keys) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if c.Request().Context().Value(trusted{}) != nil {
				c.Set(keyName, localName)
				return next(c)
			}
			key, ok := bearer(c.Request().Header.Get(echo.HeaderAuthorization))
			if !ok {
				return errUnauthorized
			}
			k, err := keys.KeyByHash(c.Request().Context(), sha256.Sum256([]byte(key)))
			switch {
			case err == nil:
				c.Set(keyName, k.Name)
				return next(c)
			case gateway.KindOf(err) == gateway.NotFound:
				return errUnauthorized
			default:
				return fmt.Errorf("find API key: %w", err)
			}
		}
	}
}

// bearer returns the token of an Authorization header (RFC 6750, section 2.1).
func bearer(header string) (string, bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}
