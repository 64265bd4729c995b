//go:build watest

// Package rehearsal leads linked devices to a WhatsApp for tests. It exists only
// in builds with the tag watest, and keeps no state.
package rehearsal

import (
	"sync/atomic"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway/whatsapp"
	"wagent/gateway/whatsapp/watest"
)

// At leads the accounts of cfg to the WhatsApp that listens at address. With
// panicEvery above zero every so many-th message panics in our handler.
func At(cfg *whatsapp.Config, address string, panicEvery int64) {
	cfg.Dress = func(cli *whatsmeow.Client) { watest.Attach(cli, address) }
	var seen atomic.Int64
	cfg.Before = func(evt any) {
		if _, ok := evt.(*events.Message); ok && panicEvery > 0 && seen.Add(1)%panicEvery == 0 {
			panic("rehearsal")
		}
	}
}
