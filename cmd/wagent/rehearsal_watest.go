//go:build watest

package main

import (
	"wagent/gateway/whatsapp"
	scene "wagent/gateway/whatsapp/rehearsal"
)

// rehearsal is where the WhatsApp for tests listens that linked devices are to
// connect to, if any: host:port, and ?panic=N to have every N-th message panic
// in its handler.
func rehearsal(p process) string {
	address, _ := p.env("WAGENT_REHEARSAL")
	return address
}

func startRehearsal(times *whatsapp.Config, address string, panicEvery int64) error {
	scene.At(times, address, panicEvery)
	return nil
}
