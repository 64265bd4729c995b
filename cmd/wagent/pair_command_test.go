//go:build !nolinked

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wagent/gateway"
)

func TestPairCommandLine(t *testing.T) {
	none, one, two := "accounts: [{id: acc_try, kind: sandbox}]", "accounts: [{id: a, kind: linked_device}]", "accounts: [{id: a, kind: linked_device}, {id: b, kind: linked_device}]"
	tests := map[string]struct {
		config string
		args   []string
		says   string
	}{
		"no linked device":         {none, nil, "no account is a linked device. Add one to the configuration:\n\naccounts:\n  - id: acc_phone\n    kind: linked_device\n"},
		"an account of a kind":     {none, []string{"acc_try"}, "acc_try is of kind sandbox, only accounts of kind linked_device are paired"},
		"which of two":             {two, nil, "say which account: a, b"},
		"half a number":            {one, []string{"--phone", "0151 2345"}, "--phone must be the whole number with its plus sign"},
		"a wrong configuration":    {"accounts: [{id: a, kind: phone}]", nil, "must be cloud_api, linked_device or sandbox"},
		"an argument that is none": {one, []string{"a", "b"}, "unexpected argument b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "wagent.yaml")
			if err := os.WriteFile(path, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := try(t, append([]string{"pair", "--config", path}, tt.args...)...)
			if status != exitUse || !strings.Contains(stderr, tt.says) || stdout != "" && name != "an argument that is none" {
				t.Errorf("pair = %d\n%s%s", status, stdout, stderr)
			}
		})
	}
}

func TestPairFindsItsAccount(t *testing.T) {
	accounts := []gateway.Account{{ID: "acc_try", Kind: gateway.Sandbox}, {ID: "acc_phone", Kind: gateway.LinkedDevice}}
	for named, want := range map[string]string{"": "acc_phone", "acc_phone": "acc_phone", "acc_made_over_the_api": "acc_made_over_the_api"} {
		if got, err := (pairCommand{Account: named}).account(accounts); err != nil || string(got) != want {
			t.Errorf("account %q = %s, %v", named, got, err)
		}
	}
}

func TestPairHelps(t *testing.T) {
	status, stdout, stderr := try(t, "pair", "--help")
	for _, text := range []string{"Linked devices > Link a device", "--phone", "--config", "It may run beside wagent serve"} {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), text) {
			t.Errorf("the help does not say %q", text)
		}
	}
	if status != exitDone || stderr != "" {
		t.Errorf("help = %d, %s", status, stderr)
	}
}
