package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

// judge says what becomes of a message. changes are those that came before it.
func (in *intake) judge(ctx context.Context, a *gateway.Arrival, m *gateway.Message, changes []gateway.Message) error {
	told := false // an agent knows the message that this one changes
	switch {
	case m.Change == gateway.Revoke:
		return in.revoke(ctx, m)
	case m.Change == gateway.Edit && a.Origin != gateway.OriginHistory:
		settled, batched, err := in.edit(ctx, m)
		if err != nil || settled {
			return err
		}
		told = batched
	case len(changes) > 0:
		settled, err := in.changed(ctx, m, changes)
		if err != nil || settled {
			return err
		}
	}
	if m.State != gateway.StateWaiting && m.State != gateway.StateHeld {
		return nil
	}
	why, err := in.refuses(ctx, a, m, told)
	if err != nil {
		return err
	}
	if why != "" {
		m.State, m.StateReason = gateway.StateIgnored, why
		return nil
	}
	return in.mayWait(ctx, a, m)
}

// The reasons for which an account does not answer a message, and its file is
// not fetched.
const (
	reasonGroup      = gateway.ReasonGroup
	reasonNotAllowed = gateway.ReasonNotAllowed
)

// refuses says why the account does not answer a message, or returns "". In a
// group that is told of a message already, its edit needs not name us again.
func (in *intake) refuses(ctx context.Context, a *gateway.Arrival, m *gateway.Message, told bool) (string, error) {
	account := in.accounts[m.Account]
	if a.Peer.Group != "" && account.Kind == gateway.LinkedDevice && !told && !account.Linked.Groups.Answers(a.Mentioned) {
		return reasonGroup, nil
	}
	if len(account.AllowFrom) == 0 {
		return "", nil
	}
	// By any form that we know of them, not only the one that they wrote under.
	forms, err := list(ctx, in.q, scanText[string], `SELECT alias FROM contact_aliases WHERE contact = $1`, m.Contact)
	if err != nil {
		return "", err
	}
	for _, form := range forms {
		if phone, ok := strings.CutPrefix(form, "phone:"); ok && slices.Contains(account.AllowFrom, phone) {
			return "", nil
		}
	}
	return reasonNotAllowed, nil
}

// mayWait holds a message that would wait in a paused conversation, and ignores
// one that is too many.
func (in *intake) mayWait(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	if m.State != gateway.StateWaiting {
		return nil
	}
	if in.paused {
		m.State, m.StateReason = gateway.StateHeld, reasonPaused
		return nil
	}
	if a.MaxPerHour <= 0 {
		return nil
	}
	n, err := one(ctx, in.q, scanInt, `SELECT COUNT(*) FROM messages WHERE conversation = $1 AND direction = 'in'
		AND received_at > $2 AND state <> 'ignored'`, m.Conversation, m.ReceivedAt.Add(-time.Hour))
	if err == nil && n >= int64(a.MaxPerHour) {
		m.State, m.StateReason = gateway.StateIgnored, gateway.ReasonHourlyLimit
	}
	return err
}

// takeOver pauses a conversation in which a person of ours wrote by other
// means: agents keep out, and what waits is that person's.
func (in *intake) takeOver(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	account := in.accounts[m.Account]
	if a.Origin != gateway.OriginEcho || account.Takeover <= 0 {
		return nil
	}
	wrote := m.SentAt
	if wrote.IsZero() || wrote.After(in.at) {
		wrote = in.at
	}
	until := wrote.Add(account.Takeover)
	if !until.After(in.at) {
		return nil
	}
	if account.Kind != gateway.LinkedDevice {
		// The Cloud API gives a message its id, which we may not know yet.
		// In this form SQLite finds it among the few that are on their way.
		mine, err := exists(ctx, in.q, `SELECT 1 FROM sends WHERE conversation = $1 AND state IN ('ready', 'claimed') AND state = 'claimed' AND body = $2
			UNION ALL SELECT 1 FROM sends WHERE state = 'unknown' AND next_at > 0 AND conversation || '' = $1 AND body = $2`, m.Conversation, m.Text)
		if err != nil || mine {
			return err
		}
	}
	p := gateway.Pause{Conversation: m.Conversation, Reason: gateway.PauseOutbound, ExpiresAt: until}
	in.took = true
	return in.store.beginPause(ctx, in.q, &p)
}
