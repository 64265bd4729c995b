package prompt

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

var update = flag.Bool("update", false, "write what Render makes into the golden files")

const separator = "\n======== output ========\n"

// sample is the upper half of a golden file.
type sample struct {
	Agent struct {
		SystemPrompt   string          `json:"system_prompt"`
		AllowedActions []string        `json:"allowed_actions"`
		PayloadSchema  []gateway.Field `json:"payload_schema"`
		Blocks         []gateway.Block `json:"blocks"`
		ContactMemory  int             `json:"contact_memory"`
	} `json:"agent"`
	Now          string                  `json:"now"` // RFC 3339
	Zone         string                  `json:"zone"`
	Hours        map[time.Weekday]string `json:"hours"`
	ContactPhone string                  `json:"contact_phone"`
	Kept         string                  `json:"kept"` // of the contact
	Input        Input                   `json:"input"`
	API          json.RawMessage         `json:"api"` // in place of input
	Batch        []struct {
		Type   gateway.MessageType `json:"type"`
		Text   string              `json:"text"`
		Change gateway.Change      `json:"change"`
		At     time.Time           `json:"at"`
	} `json:"batch"` // in place of input's messages
}

func (s *sample) read(t *testing.T) Input {
	t.Helper()
	in := s.Input
	if s.API != nil {
		var err error
		if in, err = FromAPI(s.API); err != nil {
			t.Fatal(err)
		}
	}
	if s.Batch != nil {
		var ms []gateway.Message
		for _, m := range s.Batch {
			ms = append(ms, gateway.Message{Type: m.Type, Text: m.Text, Change: m.Change, SentAt: m.At})
		}
		batch := FromBatch(ms)
		in.LastMessage, in.Messages = batch.LastMessage, batch.Messages
	}
	in.Agent = &gateway.Agent{
		SystemPrompt: s.Agent.SystemPrompt, AllowedActions: s.Agent.AllowedActions, PayloadSchema: s.Agent.PayloadSchema,
		Blocks: s.Agent.Blocks, ContactMemory: s.Agent.ContactMemory,
	}
	in.Contact.Phone, in.ContactMemory = s.ContactPhone, s.Kept
	if s.Now != "" {
		now, err := time.Parse(time.RFC3339, s.Now)
		if err != nil {
			t.Fatal(err)
		}
		_, offset := now.Zone()
		in.Now = now.In(time.FixedZone(s.Zone, offset))
	}
	for day, spans := range s.Hours {
		parsed, err := gateway.ParseSpans(spans)
		if err != nil {
			t.Fatal(err)
		}
		if in.Hours == nil {
			in.Hours = gateway.Hours{}
		}
		in.Hours[day] = parsed
	}
	return in
}

func TestRenderGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d golden files, err %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			give, want, _ := strings.Cut(string(text), separator)
			d := json.NewDecoder(bytes.NewReader([]byte(give)))
			d.DisallowUnknownFields()
			var s sample
			if err := d.Decode(&s); err != nil {
				t.Fatal(err)
			}
			got := show(Render(s.read(t)))
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSpace(give)+"\n"+separator+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prompt (-want +got), -update if it is meant:\n%s", diff)
			}
		})
	}
}

func show(p Prompt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-------- system\n%s\n", p.System)
	for _, turn := range p.Turns {
		fmt.Fprintf(&b, "-------- %s\n%s\n", turn.Role, turn.Text)
	}
	return b.String()
}
