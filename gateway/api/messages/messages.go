// Package messages is what people say over the API, and what was said: it serves
// /api/v1/business_accounts/{id}/messages, for accounts on the Cloud API and in
// the sandbox, and /api/v1/sessions/{id}/messages, for linked devices.
//
// The shape is WhatsRB Cloud's. A message is written down and then sent by the
// outbox, under its rules: the answer says queued, and reading the message again
// says how far it got, or why it failed. A session that is linked and has no
// connection sends later; one that no device is linked to refuses. A person's message keeps agents out of
// the conversation for as long as the account says.
//
// Ours is what the original leaves open. A message without a message_type is a
// text. The file of a message stands in message_metadata.url, and content is its
// caption, or else content is the file's URL; a document may have a
// message_metadata.filename. What goes into a template's places stands in
// message_metadata.components, as the Graph API takes it; its content is sent to
// nobody, and kept as what the customer is said to have read. Of a customer's
// message, to is the account's number and the status is delivered. A list takes
// limit, and before, which is the id of a message.
//
// Nothing is kept here, so a crash leaves a call done or not done.
package messages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// API serves the messages. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Accounts Accounts
	Messages Messages
	Sender   Sender
}

// Accounts are those of every kind.
type Accounts interface {
	// Accounts returns those in use.
	Accounts(ctx context.Context) ([]gateway.Account, error)
}

// Messages reads messages, of both directions.
type Messages interface {
	// PeerMessages returns at most limit of an account's that came before one
	// ("": from the newest on), newest first, and how many there are in all.
	// NotFound: the account has no such message.
	PeerMessages(ctx context.Context, account gateway.AccountID, before gateway.MessageID, limit int) ([]gateway.PeerMessage, int, error)
	// PeerMessage returns one of an account's, or an Error of kind NotFound.
	PeerMessage(ctx context.Context, account gateway.AccountID, id gateway.MessageID) (gateway.PeerMessage, error)
}

// Sender sends what people say.
type Sender interface {
	// QueueMessage writes down what is to be said to x.To, has it sent, and keeps
	// agents out of the conversation. Conflict: no device is linked.
	QueueMessage(ctx context.Context, x *gateway.Send) (gateway.PeerMessage, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Accounts == nil:
		return errors.New("messages: no Accounts")
	case h.Messages == nil:
		return errors.New("messages: no Messages")
	case h.Sender == nil:
		return errors.New("messages: no Sender")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	for _, r := range []resource{
		{h, "account", []gateway.AccountKind{gateway.CloudAPI, gateway.Sandbox}},
		{h, "session", []gateway.AccountKind{gateway.LinkedDevice}},
	} {
		path := map[string]string{"account": "/business_accounts/:account/messages", "session": "/sessions/:session/messages"}[r.name]
		g.GET(path, r.list)
		g.POST(path, r.create)
		g.GET(path+"/:message", r.retrieve)
	}
}

// A resource is what messages belong to: accounts of some kinds, by the name
// that their id has in the path.
type resource struct {
	*API
	name  string
	kinds []gateway.AccountKind
}

// mostListed is how many messages a list has at most, and where it does not say.
const mostListed = 100

func (r resource) list(c echo.Context) error {
	a, err := r.account(c)
	if err != nil {
		return err
	}
	limit := mostListed
	if s := c.QueryParam("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > mostListed {
			return wire.BadRequest(fmt.Sprintf("limit must be between 1 and %d", mostListed))
		}
	}
	ms, total, err := r.Messages.PeerMessages(c.Request().Context(), a.ID, gateway.MessageID(c.QueryParam("before")), limit)
	if err != nil {
		return fmt.Errorf("list messages of account %s: %w", a.ID, err)
	}
	out := make([]messageBody, len(ms))
	for i := range ms {
		out[i] = newMessageBody(&a, &ms[i])
	}
	return wire.List(c, out, total)
}

func (r resource) create(c echo.Context) error {
	a, err := r.account(c)
	if err != nil {
		return err
	}
	x, err := readMessage(c, &a)
	if err != nil {
		return err
	}
	if try := idempotency.ID(c); try != "" {
		x.ID = gateway.MessageIDOf(try)
	}
	m, err := r.Sender.QueueMessage(c.Request().Context(), &x)
	if err != nil {
		return fmt.Errorf("send from account %s: %w", a.ID, err)
	}
	return wire.Data(c, http.StatusCreated, newMessageBody(&a, &m))
}

func (r resource) retrieve(c echo.Context) error {
	a, err := r.account(c)
	if err != nil {
		return err
	}
	id, ok := wire.PathID(c, "message")
	if !ok {
		return wire.NotFound("message")
	}
	m, err := r.Messages.PeerMessage(c.Request().Context(), a.ID, gateway.MessageID(id))
	if err != nil {
		return fmt.Errorf("find message %s: %w", id, err)
	}
	return wire.Data(c, http.StatusOK, newMessageBody(&a, &m))
}

// account returns the account that the path names. One that was deleted, and
// one of another kind, are not found.
func (r resource) account(c echo.Context) (gateway.Account, error) {
	s, ok := wire.PathID(c, r.name)
	if !ok {
		return gateway.Account{}, wire.NotFound(r.name)
	}
	accounts, err := r.Accounts.Accounts(c.Request().Context())
	if err != nil {
		return gateway.Account{}, fmt.Errorf("list accounts: %w", err)
	}
	i := slices.IndexFunc(accounts, func(a gateway.Account) bool {
		return a.ID == gateway.AccountID(s) && slices.Contains(r.kinds, a.Kind)
	})
	if i < 0 {
		return gateway.Account{}, wire.NotFound(r.name)
	}
	return accounts[i], nil
}
