//go:build watest

package bench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain is also the process that holds accounts.
func TestMain(m *testing.M) {
	holds := flag.Bool("hold", false, "hold accounts")
	flag.Parse()
	if !*holds {
		os.Exit(m.Run()) //nolint:forbidigo // as a TestMain does
	}
	if err := Hold(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // as main does
	}
}

func TestAFewAccounts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r, err := Accounts{N: 3, Idle: 100 * time.Millisecond, Program: []string{self, "-hold"}, Log: &log}.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if err := r.Err(); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if r.First.Connected != 3 || r.Again.Connected != 3 || r.Base.Connected != 0 {
		t.Errorf("connected: %d, again %d, without accounts %d; want 3, 3, 0", r.First.Connected, r.Again.Connected, r.Base.Connected)
	}
	if kb := r.PerAccount(func(u *Usage) int64 { return u.Heap }) / 1024; kb < 10 || kb > 5000 {
		t.Errorf("an account needs %.0f KB of heap", kb)
	}
	if n := r.PerAccount(func(u *Usage) int64 { return int64(u.Files) }); n < 1 || n > 2 {
		t.Errorf("an account has %.1f files open, want its connection", n)
	}
	var table strings.Builder
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "3 after linking, 3 after a restart") {
		t.Error(table.String())
	}
}

func TestErrSaysWhatWentWrong(t *testing.T) {
	tests := map[string]struct {
		again Held
		want  string
	}{
		"an account that does not connect": {Held{Failed: []string{"account acc_1: refused"}}, "1 of 2 accounts did not connect: account acc_1: refused"},
		"a connection that was lost":       {Held{Lost: 1}, "1 of 2 accounts lost their connection"},
		"a locked database":                {Held{Locked: 1}, "1 lines of a locked database"},
		"nothing":                          {Held{Connected: 2, Warnings: 5}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := Report{Accounts: 2, Again: test.again}
			if got := fmt.Sprint(r.Err()); test.want == "" && r.Err() != nil || !strings.Contains(got, test.want) && test.want != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
