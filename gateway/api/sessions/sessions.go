// Package sessions is /api/v1/sessions: accounts that are linked to a phone as
// one of its devices. A session's id is its account's.
//
// The shape is WhatsRB Cloud's. Ours beyond it are two objects in a session:
// link, which says how its connection stands, and pairing, which says what the
// newest try to link it waits for (null if there was none). Ours are also the
// calls that start a pairing, answer it and unlink the device, and the one that
// returns the file of a message.
//
// A call writes down what is wanted, and the process that holds the account
// does it: the answer shows how things stand, not how they will. Nothing is
// kept here, so a crash leaves a call done or not done; one between the two
// halves of a creation leaves a session without a pairing, which can be
// started; a repetition under the same Idempotency-Key finds the session and does
// the rest.
//
// The interfaces are more than our usual three because each is one need: the
// account, its link, its pairing, the person who pairs, and files.
package sessions

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// API serves the sessions. All parts but Changed are required. The errors of
// its parts are [gateway.Error]s where a client is to learn of them.
type API struct {
	Accounts Accounts
	Links    Links
	Pairings Pairings
	Person   Person
	Files    Files
	// Changed is called after each change, to wake the process that holds the
	// account. It must not block. Nil: that process looks by itself.
	Changed func()
}

// Accounts are those of every kind.
type Accounts interface {
	// Accounts returns those in use.
	Accounts(ctx context.Context) ([]gateway.Account, error)
	// PutAccount adds one.
	PutAccount(ctx context.Context, a gateway.Account) error
	// DeleteAccount takes one out of use, and has its device unlinked.
	// Conflict: it is in the configuration file.
	DeleteAccount(ctx context.Context, id gateway.AccountID) error
}

// Links are how accounts are linked to phones.
type Links interface {
	// Link returns one, or an Error of kind NotFound.
	Link(ctx context.Context, id gateway.AccountID) (gateway.Link, error)
	// Links returns those of all accounts in use.
	Links(ctx context.Context) ([]gateway.Link, error)
	// AskLogout has the device unlinked.
	AskLogout(ctx context.Context, id gateway.AccountID) error
}

// Pairings are tries to link an account.
type Pairings interface {
	// StartPairing begins one, and ends one that is under way. Conflict: a
	// device is linked already.
	StartPairing(ctx context.Context, id gateway.AccountID, method gateway.PairingMethod, phone string) (gateway.Pairing, error)
	// Pairing returns the newest, or an Error of kind NotFound.
	Pairing(ctx context.Context, id gateway.AccountID) (gateway.Pairing, error)
}

// Person is whoever holds the phone. Conflict: nobody waits for what they say.
type Person interface {
	// AnswerPairing hands in what their passkey answered.
	AnswerPairing(ctx context.Context, id gateway.AccountID, answer json.RawMessage) error
	// ConfirmPairing says that the codes are the same.
	ConfirmPairing(ctx context.Context, id gateway.AccountID) error
}

// Files are those that came with messages.
type Files interface {
	// MediaByMessage returns a message's file, and its bytes if they are kept,
	// or an Error of kind NotFound.
	MediaByMessage(ctx context.Context, id gateway.MessageID) (gateway.Media, []byte, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Accounts == nil:
		return errors.New("sessions: no Accounts")
	case h.Links == nil:
		return errors.New("sessions: no Links")
	case h.Pairings == nil:
		return errors.New("sessions: no Pairings")
	case h.Person == nil:
		return errors.New("sessions: no Person")
	case h.Files == nil:
		return errors.New("sessions: no Files")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	g.GET("/sessions", h.list)
	g.POST("/sessions", h.create)
	g.GET("/sessions/:session", h.retrieve)
	g.DELETE("/sessions/:session", h.delete)

	g.POST("/sessions/:session/pairing", h.pair)
	g.POST("/sessions/:session/passkey", h.answerPasskey)
	g.POST("/sessions/:session/passkey/confirm", h.confirmPasskey)
	g.POST("/sessions/:session/logout", h.logout)

	g.GET("/sessions/:session/media/:message", h.file)
}

func (h *API) changed() {
	if h.Changed != nil {
		h.Changed()
	}
}
