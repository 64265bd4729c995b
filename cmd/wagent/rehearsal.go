//go:build !watest && !nolinked

package main

import (
	"errors"

	"wagent/gateway/whatsapp"
)

// rehearsal is empty: this build knows no WhatsApp but the real one.
func rehearsal(process) string { return "" }

func startRehearsal(*whatsapp.Config, string, int64) error {
	return errors.New("this build knows no WhatsApp but the real one")
}
