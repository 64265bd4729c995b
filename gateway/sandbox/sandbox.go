// Package sandbox is a number that needs no WhatsApp: messages are injected,
// and replies are there to be read. It serves the demo, the dashboard and
// tests.
//
// An injected message takes the path of a real one from Inbox.Receive on, and
// a reply comes through the outbox under the same rules. The package keeps no
// messages: they are on record like any other account's, so a crash loses
// none. Subscriptions end with the process.
package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/gateway"
)

const (
	maxText = 4096 // characters, as WhatsApp's own
	maxName = 100  // characters
	backlog = 64   // sends that a subscriber may be behind
)

// Accounts knows our accounts.
type Accounts interface {
	// Account returns one account, or an Error of kind NotFound.
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
}

// Inbox takes messages in; gateway.Inbox is one.
type Inbox interface {
	// Receive returns nil once all of ms are safe, with an outcome for each.
	Receive(ctx context.Context, ms ...gateway.Inbound) ([]gateway.Outcome, error)
}

// A Sandbox stands in for WhatsApp. It is a gateway.Channel, and safe for
// concurrent use.
type Sandbox struct {
	inbox    Inbox
	accounts Accounts
	log      *slog.Logger
	received *prometheus.CounterVec

	mu          sync.Mutex // guards subscribers
	subscribers map[chan gateway.Send]struct{}
}

// New returns a Sandbox. A nil reg registers no metrics.
func New(inbox Inbox, accounts Accounts, log *slog.Logger, reg prometheus.Registerer) *Sandbox {
	return &Sandbox{
		inbox: inbox, accounts: accounts, log: log, received: newReceived(reg),
		subscribers: map[chan gateway.Send]struct{}{},
	}
}

// Inject takes in a text message as if a customer had written it just now, and
// returns what became of it and the id that WhatsApp would have given it. from
// is a phone number in E.164 form, plus sign included; name may be empty.
//
// The error is of kind NotFound if there is no such account, Invalid with
// details if it is no sandbox or an argument is wrong, and otherwise the
// inbox's: then nothing was stored.
func (s *Sandbox) Inject(ctx context.Context, account gateway.AccountID, from, name, text string) (gateway.Outcome, string, error) {
	a, err := s.accounts.Account(ctx, account)
	if err != nil {
		return "", "", fmt.Errorf("inject message: %w", err)
	}
	if err := validate(&a, from, name, text); err != nil {
		return "", "", err
	}
	peer := gateway.Address{Phone: from}
	id := "sandbox." + strings.ToLower(rand.Text())
	outcomes, err := s.inbox.Receive(ctx, gateway.Inbound{
		Account: a.ID, Peer: peer, Sender: peer, SenderName: name, ExternalID: id,
		Type: gateway.TypeText, Text: text, SentAt: time.Now().UTC(), Origin: gateway.OriginLive,
	})
	if err != nil {
		return "", "", fmt.Errorf("inject message: %w", err)
	}
	if len(outcomes) != 1 {
		return "", "", fmt.Errorf("inject message: %d outcomes for one message", len(outcomes))
	}
	s.received.WithLabelValues(string(a.ID), string(a.Kind), string(outcomes[0])).Inc()
	s.log.DebugContext(ctx, "sandbox message", "account", a.ID, "from", peer, "outcome", outcomes[0])
	return outcomes[0], id, nil
}

// e164 is the international form of a phone number (ITU-T E.164): at most 15
// digits, none of the country codes beginning with 0.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func validate(a *gateway.Account, from, name, text string) error {
	details := map[string][]string{}
	if a.Kind != gateway.Sandbox {
		details["account"] = []string{"is not a sandbox"}
	}
	if !e164.MatchString(from) {
		details["from"] = []string{"must be a phone number such as +15550001111"}
	}
	if utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) {
		details["name"] = []string{fmt.Sprintf("must be UTF-8 of at most %d characters", maxName)}
	}
	switch {
	case strings.TrimSpace(text) == "":
		details["text"] = []string{"must not be empty"}
	case utf8.RuneCountInString(text) > maxText || !utf8.ValidString(text):
		details["text"] = []string{fmt.Sprintf("must be UTF-8 of at most %d characters", maxText)}
	}
	if len(details) > 0 {
		return &gateway.Error{Kind: gateway.Invalid, Msg: "the message can not be injected", Details: details}
	}
	return nil
}

// Transmit accepts a message of ours at once, of whatever type. Its id comes from the send's
// own, so a send that is transmitted again is the same message.
func (s *Sandbox) Transmit(ctx context.Context, a *gateway.Account, send *gateway.Send) (string, error) {
	if a.Kind != gateway.Sandbox {
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "the account is not a sandbox"}
	}
	if err := ctx.Err(); err != nil {
		return "", &gateway.Error{Kind: gateway.Unavailable, Msg: "the send was given up before it began", Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subscribers {
		select {
		case c <- *send:
		default: // it is behind; what is on record it can still read there
		}
	}
	return "sandbox." + string(send.ID), nil
}

// Subscribe returns a channel of the sends of all sandbox accounts as they are
// accepted, the same one more than once if it is transmitted again, and a
// function that ends the subscription and closes the channel. A subscriber
// that is 64 sends behind misses those that follow: the record, not the
// channel, is complete. cancel may be called more than once.
func (s *Sandbox) Subscribe() (sends <-chan gateway.Send, cancel func()) {
	c := make(chan gateway.Send, backlog)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[c] = struct{}{}
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.subscribers[c]; ok {
			delete(s.subscribers, c)
			close(c)
		}
	}
}
