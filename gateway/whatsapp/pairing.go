package whatsapp

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/pairing"
)

// awaitPairing waits until somebody wants the account paired, and pairs it.
func (m *member) awaitPairing(ctx context.Context) error {
	if s := m.snapshot().State; s != gateway.LinkLoggedOut && s != gateway.LinkUnpaired {
		m.change(ctx, func(l *gateway.Link) { l.State, l.Reason, l.RetryAt = gateway.LinkUnpaired, "", time.Time{} })
	}
	for {
		if p := m.wanted(); p != nil {
			return m.pair(ctx, p)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.kick:
			m.save(ctx)
			if m.snapshot().LoggingOut {
				return nil
			}
		}
	}
}

// wanted returns the pairing that nobody works on yet. One that another process
// had begun can not be gone on with: its connection is gone.
func (m *member) wanted() *gateway.Pairing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pairing == nil || m.pairing.Step.Over() {
		return nil
	}
	p := *m.pairing
	return &p
}

// pair links the account with a client of its own, which goes once WhatsApp
// has linked it.
func (m *member) pair(ctx context.Context, p *gateway.Pairing) error {
	if err := m.fleet.pace.Wait(ctx); err != nil {
		return nil // ctx is done, which is no error here
	}
	b := m.open(ctx)
	defer b.Shut()
	pairing.Run(ctx, suitor{m}, pairing.Try{
		Pairing: *p, Client: m.client(b.NewDevice()), Life: b.Life, End: b.End,
		Login: m.fleet.cfg.Login, Log: m.fleet.log,
	})
	return nil
}

// suitor is a member as package pairing sees it.
type suitor struct{ *member }

// Changed satisfies pairing.Account.
func (s suitor) Changed() <-chan struct{} { return s.kick }

// Look satisfies pairing.Account.
func (s suitor) Look(ctx context.Context) *gateway.Pairing {
	s.save(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairing
}

// Save satisfies pairing.Account.
func (s suitor) Save(ctx context.Context, p *gateway.Pairing) error {
	err := s.fleet.Pairings.SetPairing(ctx, p)
	if !p.Step.Over() && gateway.KindOf(err) != gateway.Conflict {
		return err
	}
	s.mu.Lock()
	if s.pairing != nil && s.pairing.ID == p.ID {
		s.pairing = nil
	}
	s.mu.Unlock()
	if err == nil {
		s.fleet.metrics.Pairings.WithLabelValues(string(p.Step)).Inc()
	}
	return err
}

// Name satisfies pairing.Account.
func (s suitor) Name(ctx context.Context, device types.JID) bool {
	s.change(ctx, func(l *gateway.Link) {
		l.Device, l.Phone, l.LID, l.State = "", "", "", gateway.LinkUnpaired
		l.Reason, l.RetryAt, l.NoFirstUntil = "", time.Time{}, time.Time{}
		if !device.IsEmpty() {
			l.Device, l.Phone, l.State = device.String(), "+"+device.User, gateway.LinkConnecting
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unsaved
}

// Update satisfies pairing.Account.
func (s suitor) Update(ctx context.Context) bool { return s.update(ctx) }
