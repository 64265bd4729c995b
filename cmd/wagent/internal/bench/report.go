//go:build watest

package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A Report is what Accounts measured. It is encoded as JSON with times in
// nanoseconds.
type Report struct {
	Accounts int  `json:"accounts"`
	Base     Held `json:"base"`  // without any account
	First    Held `json:"first"` // while they were linked one after another
	Again    Held `json:"again"` // by a new process
}

// Held is what one process that held accounts found.
type Held struct {
	Took      time.Duration `json:"took"` // from its start until all were connected
	Connected int           `json:"connected"`
	Failed    []string      `json:"failed"` // what did not connect, and why
	Lost      int           `json:"lost"`   // not connected when all was measured
	Locked    int           `json:"locked"` // log lines of a locked database
	Broken    int           `json:"broken"` // errors of the database of devices
	Warnings  int           `json:"warnings"`
	Idle      Usage         `json:"idle"`
}

// PerAccount is what an account costs beyond the base, in the unit that of
// picks.
func (r *Report) PerAccount(of func(*Usage) int64) float64 {
	return float64(of(&r.Again.Idle)-of(&r.Base.Idle)) / float64(r.Accounts)
}

// Err says what did not connect or went wrong, if anything did.
func (r *Report) Err() error {
	for _, h := range []Held{r.First, r.Again} {
		switch {
		case len(h.Failed) > 0:
			return fmt.Errorf("%d of %d accounts did not connect: %s", len(h.Failed), r.Accounts, h.Failed[0])
		case h.Lost > 0:
			return fmt.Errorf("%d of %d accounts lost their connection", h.Lost, r.Accounts)
		case h.Locked+h.Broken > 0:
			return fmt.Errorf("the log has %d lines of a locked database, and the database of devices failed %d times", h.Locked, h.Broken)
		}
	}
	return nil
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	idle, base := &r.Again.Idle, &r.Base.Idle
	kilo := func(of func(*Usage) int64) float64 { return r.PerAccount(of) / 1024 }
	fmt.Fprintf(w, "%d idle linked devices in one process; WhatsApp is played over connections without TLS\n\n", r.Accounts)
	row("connected", "%d after linking, %d after a restart", r.First.Connected, r.Again.Connected)
	row("link all, first login", "%.1f s", r.First.Took.Seconds())
	row("log all in again", "%.1f s from the start of the process", r.Again.Took.Seconds())
	row("database locked", "%d times; devices' database failed %d times; %d warnings", r.First.Locked+r.Again.Locked, r.First.Broken+r.Again.Broken, r.First.Warnings+r.Again.Warnings)
	row("memory per account", "%.1f KB resident (%.1f MB, without accounts %.1f MB), of which anonymous %.1f KB",
		kilo(func(u *Usage) int64 { return u.Resident }), mega(idle.Resident), mega(base.Resident), kilo(func(u *Usage) int64 { return u.Anonymous }))
	row("  without a collection", "%.1f KB resident", kilo(func(u *Usage) int64 { return u.Before }))
	row("  heap, stacks", "%.1f KB, %.1f KB", kilo(func(u *Usage) int64 { return u.Heap }), kilo(func(u *Usage) int64 { return u.Stacks }))
	row("goroutines per account", "%.2f", r.PerAccount(func(u *Usage) int64 { return int64(u.Goroutines) }))
	row("open files per account", "%.2f", r.PerAccount(func(u *Usage) int64 { return int64(u.Files) }))
	row("CPU while idle", "%.1f %% of a core (without accounts %.1f %%)", 100*idle.CPU, 100*base.CPU)
	row("disk while idle", "%.1f KB/s in %.1f writes/s, connections included", idle.Written/1024, idle.Writes)
	return w.Flush()
}

func mega(n int64) float64 { return float64(n) / (1 << 20) }
