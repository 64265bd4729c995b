//go:build watest

package whatsapp

import (
	"sync/atomic"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway/whatsapp/watest"
)

// Rehearse leads the accounts of cfg to a WhatsApp for tests. With panicEvery
// above zero every so many-th message panics in our handler. It is only in
// builds with the tag watest.
func Rehearse(cfg *Config, address string, panicEvery int64) {
	cfg.Dress = func(cli *whatsmeow.Client) { watest.Attach(cli, address) }
	var seen atomic.Int64
	cfg.Before = func(evt any) {
		if _, ok := evt.(*events.Message); ok && panicEvery > 0 && seen.Add(1)%panicEvery == 0 {
			panic("rehearsal")
		}
	}
}
