package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
)

// lookupPatience is how long the addresses of a webhook's host are asked for.
const lookupPatience = 2 * time.Second

// inside is the operator's own network, as far as deliveries may go there:
// webhook_delivery.allow_addresses.
type inside struct {
	allowed []netip.Prefix
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newInside(allowed []netip.Prefix) inside {
	return inside{allowed, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// Allowed satisfies webhooks.Network. A name counts as its addresses now: what
// it means later is looked at when it is dialled.
func (n inside) Allowed(ctx context.Context, host string) bool {
	if len(n.allowed) == 0 {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return n.contains(a)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	found, err := n.lookup(ctx, host)
	outside := func(a netip.Addr) bool { return !n.contains(a) }
	return err == nil && len(found) > 0 && !slices.ContainsFunc(found, outside)
}

func (n inside) contains(a netip.Addr) bool {
	return slices.ContainsFunc(n.allowed, func(p netip.Prefix) bool { return p.Contains(a.Unmap().WithZone("")) })
}

// endPauses has webhooks told of pauses as their time is over.
func endPauses(db *store.Store, log *slog.Logger) *gateway.Loop[struct{}] {
	return &gateway.Loop[struct{}]{
		Name: "end pauses", Log: log, // it sleeps for less than the shortest pause
		Claim: func(ctx context.Context, _ int) ([]struct{}, time.Time, error) {
			next, err := db.EndPauses(ctx)
			return nil, next, err
		},
		Work: func(context.Context, struct{}) {},
	}
}

// keepDeliveries is how long deliveries that ended are kept: dead letters can be
// replayed for as long.
const keepDeliveries = 30 * 24 * time.Hour

// forgetDeliveries removes deliveries that ended long ago.
func forgetDeliveries(db *store.Store, log *slog.Logger) *gateway.Loop[struct{}] {
	return &gateway.Loop[struct{}]{
		Name: "forget deliveries", Idle: 10 * time.Minute, Log: log,
		Claim: func(ctx context.Context, _ int) ([]struct{}, time.Time, error) {
			more, err := db.ForgetDeliveries(ctx, time.Now().Add(-keepDeliveries))
			if more {
				return nil, time.Now(), err
			}
			return nil, time.Time{}, err
		},
		Work: func(context.Context, struct{}) {},
	}
}
