// Package keys is /api/v1/keys and /api/v1/audit: who may use the API, made and
// revoked by an admin, and what was changed over it and by whom. It also notes
// when each key was used last ([Uses]).
//
// It is ours, in the shape of what stands beside it: WhatsRB Cloud has no such
// thing, and what is not known is refused. A key is shown once, in the answer
// that made it; nobody keeps more than its hash. Where a try at that request was cut
// short, its repetition under the same Idempotency-Key gives the key a new secret,
// and the one that nobody saw opens nothing. A key that was revoked opens
// nothing from then on, and stays in the list; its name is not free again, since
// the audit means it. Nothing is kept here but the times of the last minute,
// which a crash loses.
package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// API serves the keys. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Keys  Keys
	Audit Audit
}

// Keys are those that were made, and those of the configuration file.
type Keys interface {
	// APIKeys returns all of them, those that were revoked too.
	APIKeys(ctx context.Context) ([]gateway.APIKey, error)
	// CreateKey adds one, or gives the one with its id, if it is of that name and
	// was not revoked, its hash, and k the rest. Conflict: there is another of that
	// name. Invalid, with Details: an account does not exist.
	CreateKey(ctx context.Context, k *gateway.APIKey) error
	// RevokeKey ends one for good, by its id, its name or its
	// [gateway.KeyDigest], or returns an Error of kind NotFound. Conflict: it is in
	// the configuration file.
	RevokeKey(ctx context.Context, which string) error
}

// Audit is what was changed.
type Audit interface {
	// Audit returns at most limit entries, newest first, from before that Seq
	// (0: from the newest on), and how many there are in all.
	Audit(ctx context.Context, before int64, limit int) ([]gateway.AuditEntry, int, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Keys == nil:
		return errors.New("keys: no Keys")
	case h.Audit == nil:
		return errors.New("keys: no Audit")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	g.GET("/keys", h.list)
	g.POST("/keys", h.create)
	g.DELETE("/keys/:key", h.revoke)
	g.GET("/audit", h.audit)
}

// keyBody is a key as admins see it.
type keyBody struct {
	ID         *string  `json:"id" description:"null: it is of the configuration file"`
	Name       string   `json:"name"`
	Scope      string   `json:"scope" enum:"read,write,admin"`
	Test       bool     `json:"test" description:"It reaches sandbox accounts only"`
	Accounts   []string `json:"accounts" description:"Those that it reaches; none: all"`
	PerMinute  *int     `json:"per_minute" description:"Requests; null: as many as any key"`
	Declared   bool     `json:"declared" description:"It is of the configuration file"`
	CreatedAt  *string  `json:"created_at"`
	LastUsedAt *string  `json:"last_used_at"`
	RevokedAt  *string  `json:"revoked_at"`
}

// createdBody has the key itself, this once.
type createdBody struct {
	keyBody
	Secret string `json:"secret" description:"The key itself, which is not shown again"`
}

func newKeyBody(k *gateway.APIKey) keyBody {
	b := keyBody{
		ID: wire.OrNull(k.ID), Name: k.Name, Scope: string(k.Scope), Test: k.Test, Accounts: []string{}, Declared: k.Declared,
		CreatedAt: wire.Stamp(k.CreatedAt), LastUsedAt: wire.Stamp(k.LastUsedAt), RevokedAt: wire.Stamp(k.RevokedAt),
	}
	for _, id := range k.Accounts {
		b.Accounts = append(b.Accounts, string(id))
	}
	if k.PerMinute > 0 {
		b.PerMinute = &k.PerMinute
	}
	return b
}

// A Draft is a key that is to be made. As a body, null and absent are the zero
// value.
type Draft struct {
	Name      string              `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$" description:"It must not begin with key_, as ids do, or as keys do"`
	Scope     gateway.KeyScope    `json:"scope" enum:",read,write,admin" description:"Empty or null: write"`
	Test      bool                `json:"test" description:"It reaches sandbox accounts only"`
	Accounts  []gateway.AccountID `json:"accounts" maxItems:"100" description:"Those that it reaches; none: all"`
	PerMinute int                 `json:"per_minute" minimum:"0" maximum:"1000000" description:"Requests; 0: as many as any key"`
}

// What a Draft may hold. Its tags say the same.
const (
	maxAccounts  = 100
	maxPerMinute = 1_000_000
)

var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$`)

// Make returns the key, and what is shown of it this once: "wrb_live_" or
// "wrb_test_" and 130 random bits. The error is of kind Invalid and has Details.
func (d *Draft) Make() (gateway.APIKey, gateway.Secret, error) {
	p := wire.Problems{}
	switch {
	case d.Name == "":
		p.Add("name", "can't be blank")
	case !keyName.MatchString(d.Name):
		p.Add("name", "must be at most 64 letters, digits, spaces and . _ @ -, a letter or digit first")
	case strings.HasPrefix(d.Name, "key_"):
		p.Add("name", "must not begin with key_, as ids do")
	case strings.HasPrefix(d.Name, "wrb_live_"), strings.HasPrefix(d.Name, "wrb_test_"):
		p.Add("name", "must not be a key: names are shown")
	}
	k := gateway.APIKey{Name: d.Name, Scope: d.Scope, Test: d.Test, Accounts: d.Accounts, PerMinute: d.PerMinute}
	if k.Scope == "" {
		k.Scope = gateway.ScopeWrite
	}
	if !k.Scope.May(gateway.ScopeRead) {
		p.Add("scope", "must be read, write or admin")
	}
	if d.Accounts != nil && len(d.Accounts) == 0 {
		p.Add("accounts", "must name an account: leave it out for a key that reaches all")
	}
	if len(k.Accounts) > maxAccounts {
		p.Add("accounts", fmt.Sprintf("must have at most %d entries", maxAccounts))
	}
	if k.PerMinute < 0 || k.PerMinute > maxPerMinute {
		p.Add("per_minute", fmt.Sprintf("must be between 1 and %d", maxPerMinute))
	}
	secret := gateway.NewKeySecret(d.Test)
	k.Hash = sha256.Sum256([]byte(secret))
	return k, secret, p.Err()
}

func (h *API) list(c echo.Context) error {
	ks, err := h.Keys.APIKeys(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list API keys: %w", err)
	}
	out := make([]keyBody, len(ks))
	for i := range ks {
		out[i] = newKeyBody(&ks[i])
	}
	return wire.List(c, out, len(out))
}

func (h *API) create(c echo.Context) error {
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	fields, err := body.Member("key")
	if err != nil {
		return err
	}
	var d Draft
	if err := fields.IntoAll(&d); err != nil {
		return err
	}
	k, secret, err := d.Make()
	if err != nil {
		return err
	}
	if try := idempotency.ID(c); try != "" {
		k.ID = gateway.KeyIDOf(try)
	}
	if err := h.Keys.CreateKey(c.Request().Context(), &k); err != nil {
		return fmt.Errorf("create API key %s: %w", k.Name, err)
	}
	return wire.Data(c, http.StatusCreated, createdBody{newKeyBody(&k), string(secret)})
}

func (h *API) revoke(c echo.Context) error {
	id, ok := wire.PathID(c, "key")
	if !ok {
		return wire.NotFound("API key")
	}
	if err := h.Keys.RevokeKey(c.Request().Context(), id); err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}
	return c.NoContent(http.StatusNoContent)
}

// auditBody is a change.
type auditBody struct {
	ID      int64   `json:"id" description:"What the parameter before takes"`
	At      *string `json:"at" format:"date-time"`
	Key     string  `json:"key"`
	Action  string  `json:"action" description:"The method and the route, as POST /api/v1/keys"`
	Path    string  `json:"path"`
	Status  int     `json:"status" description:"Of the answer: below 400 the change was made; after 5xx, or 499 to a client that had gone, it may have been"`
	Request string  `json:"request_id"`
}

// How many entries are listed, unless a limit says otherwise, and at most.
const (
	defaultEntries = 100
	maxEntries     = 1000
)

func (h *API) audit(c echo.Context) error {
	limit, before := defaultEntries, int64(0)
	if s := c.QueryParam("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxEntries {
			return wire.BadRequest(fmt.Sprintf("limit must be between 1 and %d", maxEntries))
		}
		limit = n
	}
	if s := c.QueryParam("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return wire.BadRequest("before must be the id of an entry")
		}
		before = n
	}
	es, total, err := h.Audit.Audit(c.Request().Context(), before, limit)
	if err != nil {
		return fmt.Errorf("list audit: %w", err)
	}
	out := make([]auditBody, len(es))
	for i, e := range es {
		out[i] = auditBody{ID: e.Seq, At: wire.Stamp(e.At), Key: e.Who, Action: e.Action, Path: e.Subject, Status: e.Status, Request: e.Request}
	}
	return wire.List(c, out, total)
}
