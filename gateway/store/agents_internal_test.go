package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatWasReadBeforeAChangeIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache[string, string]
		read := func(want, now string, meanwhile func()) {
			t.Helper()
			got, err := c.remember("key", func() (string, error) { meanwhile(); return now, nil })
			if got != want || err != nil {
				t.Errorf("remember = %q, %v, want %q", got, err, want)
			}
		}
		nothing := func() {}
		read("old", "old", c.forget) // it was changed while it was being read
		read("new", "new", nothing)
		read("new", "newer", nothing)
		time.Sleep(rememberTTL)
		read("newer", "newer", nothing)
		c.forget()
		read("newest", "newest", nothing)
		c.forget()
		if _, err := c.remember("key", func() (string, error) { return "", errors.New("away") }); err == nil {
			t.Error("an error is none")
		}
		read("back", "back", nothing)
	})
}
