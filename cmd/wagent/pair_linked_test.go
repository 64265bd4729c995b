//go:build watest

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway/whatsapp/watest"
)

// A desk is a configuration with a linked device, a WhatsApp that knows its
// phone, and a terminal.
type desk struct {
	*console
	config string
	wa     *watest.Server
	phone  *watest.Phone
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir's may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &desk{console: newConsole(t), config: filepath.Join(dir, "wagent.yaml"), wa: watest.New()}
	t.Cleanup(d.wa.Close)
	d.phone = d.wa.Phone("491510000001")
	text := fmt.Sprintf("{listen: '127.0.0.1:0', data_dir: %s, accounts: [{id: acc_phone, kind: linked_device}]}", dir)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// env is the environment of processes at the desk.
func (d *desk) env(name string) (string, bool) {
	return d.wa.Addr(), name == "WAGENT_REHEARSAL"
}

// starts runs a command in the background.
func (d *desk) starts(ctx context.Context, p process, args ...string) <-chan int {
	p.env = d.env
	status := make(chan int, 1)
	go func() { status <- run(ctx, append(args, "--config", d.config), p) }()
	return status
}

// pairs runs wagent pair at the terminal.
func (d *desk) pairs(ctx context.Context, args ...string) <-chan int {
	return d.starts(ctx, d.process(), append([]string{"pair"}, args...)...)
}

// scans has the phone scan what is on the screen.
func (d *desk) scans() *watest.Device {
	d.Helper()
	var code string
	d.until("QR code", func() bool { code = screenQR(d, d.screen()); return code != "" })
	device, err := d.phone.Link(code)
	if err != nil {
		d.Fatal(err)
	}
	return device
}

func (d *desk) succeeds(status <-chan int) {
	d.Helper()
	code := <-status
	d.shows("acc_phone is linked to +491510000001 and connected.\n")
	if _, cursor := terminalRows(d, d.screen()); code != exitDone || !cursor {
		d.Errorf("pair = %d, cursor shown: %t\n%s", code, cursor, d.text())
	}
}

// serves runs a server beside the terminal, which ends with the test.
func (d *desk) serves(t *testing.T) {
	t.Helper()
	var said lines
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	status := d.starts(ctx, process{stdout: &said, stderr: &logWriter{t: t}}, "serve")
	t.Cleanup(func() {
		stop()
		if code := <-status; code != exitDone {
			t.Errorf("serve = %d", code)
		}
		if _, err := os.Stat(socketPath(filepath.Dir(d.config))); !os.IsNotExist(err) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	d.until("server", func() bool {
		_, ok := dialLocal(t.Context(), filepath.Dir(d.config))
		if !ok {
			select { // it is to look again
			case d.more <- struct{}{}:
			default:
			}
		}
		return ok
	})
}

func TestLinkedPairInTheTerminal(t *testing.T) {
	t.Parallel()
	for name, served := range map[string]bool{"beside a server": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if served {
				d.serves(t)
			}
			status := d.pairs(t.Context())
			d.scans()
			d.succeeds(status)
			if alone := strings.Contains(d.text(), "Start wagent serve"); alone == served {
				t.Errorf("it says:\n%s", d.text())
			}
			again := d.pairs(t.Context(), "acc_phone")
			d.shows("acc_phone can not be paired: the account is linked to a phone already: unlink it first")
			if code := <-again; code != exitFailed {
				t.Errorf("pair of what is linked = %d", code)
			}
		})
	}
}

func TestLinkedPairByCodeInTheTerminal(t *testing.T) {
	d := newDesk(t)
	d.serves(t)
	status := d.pairs(t.Context(), "--phone", "+49 151 0000001")
	d.shows("and type this code:\n\n    ")
	code := regexp.MustCompile(`\n {4}(\S+)\n`).FindStringSubmatch(d.text())
	if code == nil {
		t.Fatalf("no code:\n%s", d.text())
	}
	if _, err := d.phone.EnterCode(code[1]); err != nil {
		t.Fatal(err)
	}
	d.succeeds(status)
}

func TestLinkedPairWithPasskeyInTheTerminal(t *testing.T) {
	t.Parallel()
	for name, served := range map[string]bool{"beside a server": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.phone.RequirePasskey()
			if served {
				d.serves(t)
			}
			status := d.pairs(t.Context())
			d.scans()
			d.shows("and end with an empty line.")
			d.types(d.authenticates() + "\n\n")
			d.succeeds(status)
		})
	}
}

// authenticates returns what the lines on the screen print in a browser.
func (d *desk) authenticates() string {
	d.Helper()
	m := regexp.MustCompile(`const publicKey = (.*);\n`).FindStringSubmatch(d.text())
	if m == nil {
		d.Fatalf("no lines for a browser:\n%s", d.text())
	}
	var options types.WebAuthnPublicKey
	if err := json.Unmarshal([]byte(m[1]), &options); err != nil {
		d.Fatal(err)
	}
	answer, err := d.phone.Authenticate(&options)
	if err != nil {
		d.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", " ")
	if err := enc.Encode(answer); err != nil {
		d.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func TestLinkedPairInterruptedInTheTerminal(t *testing.T) {
	d := newDesk(t)
	ctx, interrupt := context.WithCancel(t.Context())
	status := d.pairs(ctx)
	d.until("QR code", func() bool { return screenQR(d, d.screen()) != "" })
	interrupt()
	if code := <-status; code != exitFailed {
		t.Errorf("pair = %d", code)
	}
	d.shows("wagent: interrupted: acc_phone is not linked")
}
