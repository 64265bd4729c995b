package main

import (
	"slices"
	"testing"
)

// Only the binary can be asked what it does without the files of the system and
// of Go's installation, which tests have; what it links decides it.
func TestABareContainerKnowsTimeZones(t *testing.T) {
	for _, p := range listed(t) {
		if p.path == "cmd/wagent" && !slices.Contains(p.Deps, "time/tzdata") {
			t.Error("the binary has no time zones of its own: import time/tzdata")
		}
	}
}
