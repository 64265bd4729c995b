// Package templates is /api/v1/business_accounts/{id}/templates, in the shape
// of WhatsRB Cloud: the message templates of an account on Meta's Cloud API.
// Templates live at Meta. What a list or a read shows is what Meta last said of
// them, in answer to a call, to a sync, or in its webhook; what makes and deletes
// asks Meta first. Accounts of other kinds have none.
//
// The original's SDKs say what a template has and how calls are wrapped; the
// rest is ours. Components come in as Meta's list of them or as an object of them
// by type, where a string is a text and a list of buttons may stand for itself;
// they go out as an object. variable_examples are lists by HEADER and BODY, which
// fill in what a component does not say. The statuses are pending, approved,
// rejected, paused and disabled; categories go out as Meta writes them and come
// in either case. A clone is submitted at once, under a name that the body may
// give: {"template": {"name", "language"}}. A test is sent with variables, of the
// header and then of the body, or without any with the examples. What Meta says
// of a template that it does not take stands in details, under template.
//
// Nothing is kept here. A crash between Meta's answer and our record leaves a
// template that the next sync, or Meta's webhook, brings.
package templates

import (
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// API serves the templates. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Templates Templates
	Editor    Editor
	Meta      Meta
	Sender    Sender
}

// Templates reads accounts and what is known of their templates.
type Templates interface {
	// Accounts returns those in use, of all kinds.
	Accounts(ctx context.Context) ([]gateway.Account, error)
	// Templates returns at most limit of an account's that the filter lets
	// through, by name and language, and how many there are.
	Templates(ctx context.Context, account gateway.AccountID, f gateway.TemplateFilter, limit int) ([]gateway.Template, int, error)
	// TemplateByID returns one of an account's, or an Error of kind NotFound.
	TemplateByID(ctx context.Context, account gateway.AccountID, id gateway.TemplateID) (gateway.Template, error)
}

// Editor writes down what Meta said.
type Editor interface {
	// PutTemplate records one that was made at Meta, which t becomes.
	PutTemplate(ctx context.Context, t *gateway.Template) error
	// SyncTemplates replaces an account's by those that Meta had at a time.
	SyncTemplates(ctx context.Context, account gateway.AccountID, asOf time.Time, ts []gateway.Template) error
	// RemoveTemplate forgets one of an account's.
	RemoveTemplate(ctx context.Context, account gateway.AccountID, id gateway.TemplateID) error
}

// Meta is where templates live.
type Meta interface {
	// ListTemplates returns all of an account's.
	ListTemplates(ctx context.Context, a *gateway.Account) ([]gateway.Template, error)
	// CreateTemplate submits t and sets Meta's id of it, its status and its
	// category. named says that its variables have names and not numbers.
	CreateTemplate(ctx context.Context, a *gateway.Account, t *gateway.Template, named bool) error
	// DeleteTemplate deletes t, which may be gone already.
	DeleteTemplate(ctx context.Context, a *gateway.Account, t *gateway.Template) error
}

// Sender sends what people say.
type Sender interface {
	// QueueMessage writes down what is to be said to x.To, has it sent, and keeps
	// agents out of the conversation.
	QueueMessage(ctx context.Context, x *gateway.Send) (gateway.PeerMessage, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Templates == nil:
		return errors.New("templates: no Templates")
	case h.Editor == nil:
		return errors.New("templates: no Editor")
	case h.Meta == nil:
		return errors.New("templates: no Meta")
	case h.Sender == nil:
		return errors.New("templates: no Sender")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	const path = "/business_accounts/:account/templates"
	g.GET(path, h.list)
	g.POST(path, h.create)
	g.POST(path+"/sync", h.sync)
	g.GET(path+"/:template", h.retrieve)
	g.DELETE(path+"/:template", h.remove)
	g.POST(path+"/:template/clone", h.clone)
	g.POST(path+"/:template/send_test", h.sendTest)
}
