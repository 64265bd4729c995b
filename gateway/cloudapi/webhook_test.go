package cloudapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

var update = flag.Bool("update", false, "rewrite what the golden files expect")

// golden is a webhook body and what is read from it.
type golden struct {
	Payload   json.RawMessage        `json:"payload"`
	Inbound   []gateway.Inbound      `json:"inbound,omitempty"`
	Statuses  []gateway.StatusUpdate `json:"statuses,omitempty"`
	Malformed int                    `json:"malformed,omitempty"`
	Skipped   int                    `json:"skipped,omitempty"`
	Unheeded  int                    `json:"unheeded,omitempty"`
	Errors    []string               `json:"errors,omitempty"`
}

func TestEveryTypeBecomesAMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/messages/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	account := gateway.Account{ID: "acc_main", Kind: gateway.CloudAPI, PhoneNumber: "+15550001111"}
	now := time.Unix(1749416390, 0).UTC()
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want golden
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			got := golden{Payload: want.Payload}
			changes, malformed := changesOf(want.Payload)
			got.Malformed = malformed
			for i := range changes {
				r := changes[i].read(&account, now)
				got.Inbound = append(got.Inbound, r.inbound...)
				got.Statuses = append(got.Statuses, r.statuses...)
				got.Malformed += r.malformed
				got.Skipped += r.skipped
				got.Unheeded += r.unheeded
				got.Errors = append(got.Errors, r.errors...)
			}
			text := indented(t, got)
			if *update {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(raw), string(text)); diff != "" {
				t.Errorf("%s: what is on file (-) is not what is read (+):\n%s", file, diff)
			}
		})
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
