//go:build !linux

package nap

import "time"

// sleep returns at once: what is left is for a timer.
func sleep(time.Duration) {}
