package api

import (
	"net/http"
	"slices"
	"sync"

	"github.com/labstack/echo/v4"

	"wagent/gateway/api/access"
	"wagent/gateway/api/accounts"
	"wagent/gateway/api/contacts"
	"wagent/gateway/api/keys"
	"wagent/gateway/api/messages"
	"wagent/gateway/api/openapi"
	"wagent/gateway/api/pauses"
	"wagent/gateway/api/sessions"
	"wagent/gateway/api/templates"
	"wagent/gateway/api/usage"
	"wagent/gateway/api/webhooks"
	"wagent/gateway/api/whatsrb"
	"wagent/gateway/api/windows"
)

// sections are what stands at /api/v1, in the order in which it is read. Of what a
// limited key never reaches each says that it may not be there.
func sections() []openapi.Section {
	all := described()
	for _, s := range all {
		for i := range s.Operations {
			op := &s.Operations[i]
			if rule, _ := access.RuleOf(op.Method, "/api/v1"+op.Path); rule.Bound == access.Nowhere {
				op.Errors = append(slices.Clone(op.Errors), http.StatusNotFound)
			}
		}
	}
	return all
}

func described() []openapi.Section {
	return []openapi.Section{
		{Name: "Agents", Description: "Agents, what they made of messages, and accounts to try them on", Operations: whatsrb.Operations()},
		{Name: "Accounts", Description: "Numbers of a business, links to add one, and when customers can be written to", Operations: accounts.Operations()},
		{Name: "Messages", Description: "What people say, over the API and otherwise", Operations: messages.Operations()},
		{Name: "Sessions", Description: "Accounts that are linked to a phone", Operations: sessions.Operations()},
		{Name: "Pauses", Description: "People who take a conversation over", Operations: pauses.Operations()},
		{Name: "Windows", Description: "When a conversation is answered", Operations: windows.Operations()},
		{Name: "Contacts", Description: "Who writes, and what agents remember of them", Operations: contacts.Operations()},
		{Name: "Usage", Description: "How much was done, and how well", Operations: usage.Operations()},
		{Name: "Keys", Description: "Who may use the API, and what was changed over it", Operations: keys.Operations()},
		{Name: "Templates", Description: "The message templates of accounts on Meta's Cloud API", Operations: templates.Operations()},
		{Name: "Webhooks", Description: "Who is told of what happens", Operations: webhooks.Operations()},
	}
}

// document describes what stands at /api/v1. It is the same for every server.
var document = sync.OnceValues(func() ([]byte, error) { return openapi.Document(sections()...) })

// describe serves the document and the page to browse it. Neither needs a key:
// they say what anybody can read in the sources.
func describe(e *echo.Echo, doc []byte) {
	probes := []string{http.MethodGet, http.MethodHead}
	const at, docs = "/openapi.json", "/docs"
	e.Match(probes, at, echo.WrapHandler(openapi.Handler(doc)))
	page := echo.WrapHandler(openapi.Docs(docs, at))
	e.Match(probes, docs, page)
	e.Match(probes, docs+"/*", page)
}
