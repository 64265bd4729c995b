package sessions

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"wagent/gateway"
)

// memory is every part of the API, over maps. It follows the rules that the
// interfaces state.
type memory struct {
	mu       sync.Mutex
	accounts []gateway.Account
	links    map[gateway.AccountID]gateway.Link
	pairings map[gateway.AccountID]gateway.Pairing
	files    map[gateway.MessageID]gateway.Media
	data     []byte
	woken    int
}

func newMemory() *memory {
	m := &memory{links: map[gateway.AccountID]gateway.Link{}, pairings: map[gateway.AccountID]gateway.Pairing{}, files: map[gateway.MessageID]gateway.Media{}}
	m.accounts = []gateway.Account{{ID: "acc_try", Kind: gateway.Sandbox, Name: "Try"}}
	return m
}

func (m *memory) api() *API {
	return &API{Accounts: m, Links: m, Pairings: m, Person: m, Files: m, Changed: func() { m.woken++ }}
}

// last is the account that was made last.
func (m *memory) last() gateway.AccountID { return m.accounts[len(m.accounts)-1].ID }

func missing(what string) error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no " + what} }

func conflict(msg string) error { return &gateway.Error{Kind: gateway.Conflict, Msg: msg} }

func (m *memory) Accounts(context.Context) ([]gateway.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.accounts), nil
}

func (m *memory) PutAccount(_ context.Context, a gateway.Account) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.CreatedAt = time.Now()
	m.accounts = append(m.accounts, a)
	m.links[a.ID] = gateway.Link{Account: a.ID, State: gateway.LinkUnpaired, UpdatedAt: a.CreatedAt}
	return nil
}

func (m *memory) DeleteAccount(_ context.Context, id gateway.AccountID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.accounts, func(a gateway.Account) bool { return a.ID == id })
	switch {
	case i < 0:
		return missing("account")
	case m.accounts[i].Declared:
		return conflict("the account is declared in the configuration file: remove it there")
	}
	m.accounts = slices.Delete(m.accounts, i, i+1)
	return nil
}

func (m *memory) Link(_ context.Context, id gateway.AccountID) (gateway.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.links[id]; ok {
		return l, nil
	}
	return gateway.Link{}, missing("link")
}

func (m *memory) Links(context.Context) ([]gateway.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.Link
	for _, l := range m.links {
		out = append(out, l)
	}
	return out, nil
}

func (m *memory) AskLogout(_ context.Context, id gateway.AccountID) error {
	return m.setLink(id, func(l *gateway.Link) { l.LoggingOut = true })
}

func (m *memory) setLink(id gateway.AccountID, change func(*gateway.Link)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.links[id]
	if !ok {
		return missing("link")
	}
	change(&l)
	l.UpdatedAt = time.Now()
	m.links[id] = l
	return nil
}

func (m *memory) StartPairing(_ context.Context, id gateway.AccountID, method gateway.PairingMethod, phone string) (gateway.Pairing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links[id].Device != "" {
		return gateway.Pairing{}, conflict("the account is linked to a phone already: unlink it first")
	}
	p := gateway.Pairing{Account: id, Method: method, Phone: phone, Step: gateway.StepWanted, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	m.pairings[id] = p
	return p, nil
}

func (m *memory) Pairing(_ context.Context, id gateway.AccountID) (gateway.Pairing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.pairings[id]; ok {
		return p, nil
	}
	return gateway.Pairing{}, missing("pairing")
}

func (m *memory) AnswerPairing(_ context.Context, id gateway.AccountID, answer json.RawMessage) error {
	return m.setPairing(id, gateway.StepPasskey, func(p *gateway.Pairing) { p.Answer = answer })
}

func (m *memory) ConfirmPairing(_ context.Context, id gateway.AccountID) error {
	return m.setPairing(id, gateway.StepConfirm, func(p *gateway.Pairing) { p.Confirmed = true })
}

// setPairing changes the account's pairing if it is in a step, or in any if
// step is empty.
func (m *memory) setPairing(id gateway.AccountID, step gateway.PairingStep, change func(*gateway.Pairing)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.pairings[id]
	if !ok || step != "" && p.Step != step {
		return conflict("no pairing of the account waits for that")
	}
	change(&p)
	p.UpdatedAt = time.Now()
	m.pairings[id] = p
	return nil
}

func (m *memory) MediaByMessage(_ context.Context, id gateway.MessageID) (gateway.Media, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[id]
	switch {
	case !ok:
		return f, nil, missing("file")
	case f.State != gateway.MediaKept:
		return f, nil, nil
	}
	return f, m.data, nil
}

// do is what a story can have the double do: what the process that holds the
// account would have done, or what the configuration file says.
func (m *memory) do(command string) bool {
	id := m.last()
	step := func(change func(*gateway.Pairing)) bool { return m.setPairing(id, "", change) == nil }
	link := func(change func(*gateway.Link)) bool { return m.setLink(id, change) == nil }
	switch command {
	case "a QR code is shown":
		return step(func(p *gateway.Pairing) {
			p.Step, p.QR, p.ExpiresAt = gateway.StepQR, "2@abc,def,ghi", time.Now().Add(time.Minute)
		})
	case "its time is over":
		return step(func(p *gateway.Pairing) { p.ExpiresAt = time.Now().Add(-time.Second) })
	case "a code is shown":
		return step(func(p *gateway.Pairing) {
			p.Step, p.Code, p.ExpiresAt = gateway.StepCode, "ABCD-EFGH", time.Now().Add(time.Minute)
		})
	case "a passkey is asked for":
		return step(func(p *gateway.Pairing) {
			*p = gateway.Pairing{Method: p.Method, Step: gateway.StepPasskey, Options: json.RawMessage(`{"publicKey":{"challenge":"AAEC"}}`)}
		})
	case "the codes are to be compared":
		return step(func(p *gateway.Pairing) {
			*p = gateway.Pairing{Method: p.Method, Step: gateway.StepConfirm, Code: "12345678"}
		})
	case "the pairing fails":
		return step(func(p *gateway.Pairing) {
			*p = gateway.Pairing{Method: p.Method, Step: gateway.StepFailed, Error: "the phone refused"}
		})
	case "the phone is linked":
		return step(func(p *gateway.Pairing) { *p = gateway.Pairing{Method: p.Method, Step: gateway.StepDone} }) &&
			link(func(l *gateway.Link) {
				l.Device, l.Phone, l.State, l.ConnectedAt, l.LastFrameAt = "33612345678:7@s.whatsapp.net", "+33612345678", gateway.LinkConnected, time.Now(), time.Now()
			})
	case "the connection is lost":
		return link(func(l *gateway.Link) {
			l.State, l.Reason, l.RetryAt = gateway.LinkDisconnected, "WhatsApp does not answer", time.Now().Add(time.Minute)
		})
	case "it connects":
		return link(func(l *gateway.Link) { l.State, l.Reason, l.RetryAt = gateway.LinkConnecting, "", time.Time{} })
	case "WhatsApp takes no first messages":
		return link(func(l *gateway.Link) { l.NoFirstUntil = time.Now().Add(time.Hour) })
	case "the device is unlinked":
		return link(func(l *gateway.Link) { *l = gateway.Link{Account: l.Account, State: gateway.LinkUnpaired} })
	case "it is declared":
		m.accounts[len(m.accounts)-1].Declared = true
		return true
	default:
		return false
	}
}
