package templates

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"wagent/gateway"
)

// memory is every part of the API, over slices, and the templates that Meta has
// of acc_main. It follows the rules that the interfaces state.
type memory struct {
	mu      sync.Mutex
	known   []gateway.Template
	atMeta  []gateway.Template
	names   []bool // what was said of the variables of each template that was made
	sent    []gateway.Send
	refuses error // what Meta, or the database after it, answers once
	made    int
}

func (m *memory) api() *API { return &API{Templates: m, Editor: m, Meta: m, Sender: m} }

func (m *memory) Accounts(context.Context) ([]gateway.Account, error) {
	cloud := gateway.Cloud{PhoneNumberID: "1001", WABAID: "9001", AccessToken: "token"}
	noToken, noBusiness := cloud, cloud
	noToken.AccessToken, noBusiness.WABAID = "", ""
	return []gateway.Account{
		{ID: "acc_main", Kind: gateway.CloudAPI, Cloud: cloud},
		{ID: "acc_notoken", Kind: gateway.CloudAPI, Cloud: noToken},
		{ID: "acc_nowaba", Kind: gateway.CloudAPI, Cloud: noBusiness},
		{ID: "acc_try", Kind: gateway.Sandbox},
	}, nil
}

func (m *memory) Templates(_ context.Context, account gateway.AccountID, f gateway.TemplateFilter, limit int) ([]gateway.Template, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.Template
	for _, t := range m.known {
		if t.Account == account && (f.Status == "" || f.Status == t.Status) && (f.Category == "" || f.Category == t.Category) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b gateway.Template) int { return strings.Compare(a.Name+" "+a.Language, b.Name+" "+b.Language) })
	return out[:min(len(out), limit)], len(out), nil
}

func (m *memory) TemplateByID(_ context.Context, account gateway.AccountID, id gateway.TemplateID) (gateway.Template, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.known {
		if t.Account == account && t.ID == id {
			return t, nil
		}
	}
	return gateway.Template{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no such template"}
}

// put needs m locked.
func (m *memory) put(t *gateway.Template) {
	t.ID, t.CreatedAt, t.UpdatedAt = gateway.NewTemplateID(), time.Now(), time.Now()
	for i, k := range m.known {
		if k.Account == t.Account && k.Name == t.Name && k.Language == t.Language {
			t.ID, m.known[i] = k.ID, *t
			m.known[i].ID = k.ID
			return
		}
	}
	m.known = append(m.known, *t)
}

func (m *memory) PutTemplate(ctx context.Context, t *gateway.Template) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(t)
	return ctx.Err()
}

func (m *memory) SyncTemplates(_ context.Context, account gateway.AccountID, _ time.Time, ts []gateway.Template) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = slices.DeleteFunc(m.known, func(k gateway.Template) bool {
		return k.Account == account && !slices.ContainsFunc(ts, func(t gateway.Template) bool { return t.Name == k.Name && t.Language == k.Language })
	})
	for _, t := range ts {
		m.put(&t)
	}
	return nil
}

func (m *memory) RemoveTemplate(_ context.Context, account gateway.AccountID, id gateway.TemplateID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = slices.DeleteFunc(m.known, func(k gateway.Template) bool { return k.Account == account && k.ID == id })
	return nil
}

// refused returns what was scripted, once. It needs m locked.
func (m *memory) refused() error {
	err := m.refuses
	m.refuses = nil
	return err
}

func (m *memory) ListTemplates(_ context.Context, a *gateway.Account) ([]gateway.Template, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refused(); err != nil {
		return nil, err
	}
	out := slices.Clone(m.atMeta)
	for i := range out {
		out[i].Account = a.ID
	}
	return out, nil
}

func (m *memory) CreateTemplate(_ context.Context, _ *gateway.Account, t *gateway.Template, named bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refused(); err != nil {
		return err
	}
	m.made++
	t.ExternalID, t.Status = strconv.Itoa(500+m.made), gateway.TemplatePending
	m.atMeta, m.names = append(m.atMeta, *t), append(m.names, named)
	return nil
}

func (m *memory) DeleteTemplate(_ context.Context, _ *gateway.Account, t *gateway.Template) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refused(); err != nil {
		return err
	}
	m.atMeta = slices.DeleteFunc(m.atMeta, func(k gateway.Template) bool { return k.ExternalID == t.ExternalID })
	return nil
}

func (m *memory) QueueMessage(_ context.Context, x *gateway.Send) (gateway.PeerMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, *x)
	return gateway.PeerMessage{Message: gateway.Message{
		ID: gateway.NewMessageID(), Status: gateway.StatusQueued, ReceivedAt: time.Now(),
	}, Peer: x.To}, nil
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	judge := func(status gateway.TemplateStatus, reason string) {
		for _, ts := range [][]gateway.Template{m.atMeta, m.known} {
			for i := range ts {
				ts[i].Status, ts[i].Reason = status, reason
			}
		}
	}
	switch command {
	case "Meta approves all templates":
		judge(gateway.TemplateApproved, "")
	case "Meta rejects all templates":
		judge(gateway.TemplateRejected, "INVALID_FORMAT")
	case "somebody makes hello_world at Meta":
		m.atMeta = append(m.atMeta, gateway.Template{
			ExternalID: "7001", Name: "hello_world", Language: "en_US", Category: gateway.TemplateUtility, Status: gateway.TemplateApproved,
			Components: json.RawMessage(`[{"type":"HEADER","format":"TEXT","text":"Hello"},{"type":"BODY","text":"Welcome."},` +
				`{"type":"FOOTER","text":"Sample"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Thanks"}]}]`),
		})
	case "somebody deletes all templates at Meta":
		m.atMeta = nil
	case "Meta tells of a template that is not known":
		m.put(&gateway.Template{Account: "acc_main", ExternalID: "7002", Name: "told", Language: "en", Status: gateway.TemplateApproved})
	case "Meta refuses the next call":
		m.refuses = &gateway.Error{
			Kind: gateway.Invalid, Msg: "Graph error 100: invalid parameter",
			Details: map[string][]string{"template": {"Content in this language already exists: choose another name"}},
		}
	case "Meta refuses the next call without a word":
		m.refuses = &gateway.Error{Kind: gateway.Invalid, Msg: "Graph error 100: invalid parameter"}
	case "Meta refuses the token":
		m.refuses = &gateway.Error{Kind: gateway.Unauthorized, Msg: "Graph error 190: the access token has expired or is invalid"}
	case "Meta does not answer the next call":
		m.refuses = &gateway.Error{Kind: gateway.Ambiguous, Msg: "the Graph API did not answer"}
	case "Meta is away":
		m.refuses = &gateway.Error{Kind: gateway.Unavailable, Msg: "the Graph API was not reached"}
	case "Meta wants fewer calls":
		m.refuses = &gateway.Error{Kind: gateway.RateLimited, Msg: "Graph error 80008: the limit is reached", RetryAfter: 7 * time.Second}
	default:
		return false
	}
	return true
}
