//go:build !nolinked

package config

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/gateway"
)

// The examples of the reference have an account that is a linked device.

var example = regexp.MustCompile(`(?m)^#(  .*)$`)

// uncommented returns the reference with its examples in use.
func uncommented(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	src = bytes.ReplaceAll(src, []byte("rules: scripted.yaml"), []byte("rules: ../../../../configs/scripted.yaml"))
	return example.ReplaceAll(src, []byte("$1"))
}

func TestReferenceShowsEveryKeyInItsExamples(t *testing.T) {
	index := regexp.MustCompile(`\[\d+\]`)
	known, set := map[string]bool{}, map[string]bool{}
	w := document.Walk{Env: values, OnKeys: func(path string, keys, has []string) {
		path = index.ReplaceAllString(path, "[]")
		if name, ok := strings.CutPrefix(path, "providers."); ok && name != "" {
			path = "providers.*"
		}
		for _, k := range keys {
			known[document.Join(path, k)] = true
		}
		for _, k := range has {
			set[document.Join(path, k)] = true
		}
	}}
	parse(&w, uncommented(t))
	for _, f := range w.Faults {
		t.Error(f)
	}
	if len(known) < 70 {
		t.Errorf("only %d keys are known: the walk did not reach them all", len(known))
	}
	for k := range known {
		if !set[k] {
			t.Errorf("configs/wagent.yaml does not show %s", k)
		}
	}
}

// The examples say what the defaults of an agent are; this holds them to it.
func TestReferenceExampleOfAnAgentIsAtItsDefaults(t *testing.T) {
	c, err := Parse(uncommented(t), values)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.DefaultAgent()
	got := c.Agents[0]
	want.Key, want.Account, want.Name, want.Description, want.SystemPrompt = got.Key, got.Account, got.Name, got.Description, got.SystemPrompt
	want.Model, want.AutoRun, want.AllowedActions, want.PayloadSchema = got.Model, true, got.AllowedActions, got.PayloadSchema
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example differs from gateway.DefaultAgent (-default +example):\n%s", diff)
	}
}

func TestReferenceExampleOfALinkedDeviceIsAtItsDefaults(t *testing.T) {
	c, err := Parse(uncommented(t), values)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Accounts {
		want := gateway.Account{ID: a.ID, Kind: a.Kind, Name: a.Name, PhoneNumber: a.PhoneNumber, Cloud: a.Cloud, Takeover: gateway.DefaultTakeover, Declared: true}
		if a.Kind == gateway.LinkedDevice {
			want.Linked = gateway.DefaultLinked()
		}
		if diff := cmp.Diff(want, a); diff != "" {
			t.Errorf("account %s is not at its defaults (-default +example):\n%s", a.ID, diff)
		}
	}
	if len(c.Accounts) != 3 {
		t.Errorf("the reference shows %d accounts, want one of each kind", len(c.Accounts))
	}
}

func TestParseLinkedDevice(t *testing.T) {
	tests := map[string]struct {
		src  string
		want gateway.Account
	}{
		"the least": {`{id: a, kind: linked_device}`, gateway.Account{Linked: gateway.DefaultLinked(), Takeover: 30 * time.Minute}},
		"all of it": {
			`{id: a, kind: linked_device, name: Desk, phone_number: "+4915110000001", answer_groups: mentioned, mark_read: received,
				typing: false, send_gap: 0s, allow_from: ["+4915110000002"], human_takeover_duration: 24h}`,
			gateway.Account{
				Name: "Desk", PhoneNumber: "+4915110000001", AllowFrom: []string{"+4915110000002"}, Takeover: 24 * time.Hour,
				Linked: gateway.Linked{Groups: gateway.GroupsMentioned, MarkRead: gateway.ReadReceived},
			},
		},
		"the other words": {`{id: a, kind: linked_device, answer_groups: all, mark_read: never, send_gap: 1m}`, gateway.Account{
			Linked: gateway.Linked{Groups: gateway.GroupsAll, MarkRead: gateway.ReadNever, Typing: true, SendGap: time.Minute}, Takeover: 30 * time.Minute,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Parse([]byte("accounts: ["+tt.src+"]"), none)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ID, tt.want.Kind, tt.want.Declared = "a", gateway.LinkedDevice, true
			if diff := cmp.Diff([]gateway.Account{tt.want}, c.Accounts); diff != "" {
				t.Errorf("Accounts (-want +got):\n%s", diff)
			}
		})
	}
}
