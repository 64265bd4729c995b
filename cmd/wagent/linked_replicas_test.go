//go:build watest

package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway/whatsapp/watest"
)

// These tests run two processes of the built program on one account, or one on
// a database that is away for a while.

// of returns a rig whose process is p.
func (r *phoneRig) of(p *replica) *rig {
	at := *r.rig
	at.proc = p
	return &at
}

const (
	connectedMetric = `wagent_account_connected{account="acc_a"}` // shown by the holder alone
	sentMetric      = `wagent_linked_sends_total{outcome="ok"}`
)

func (r *phoneRig) connected(p *replica) bool {
	r.Helper()
	return r.of(p).metrics()[connectedMetric] == 1
}

// sides returns the process that holds the account, and the other one.
func (r *phoneRig) sides(a, b *replica) (holder, other *replica) {
	r.Helper()
	r.until("one of the processes to be connected", 30*time.Second, func() bool {
		holder, other = a, b
		if r.connected(a) {
			return true
		}
		holder, other = b, a
		return r.connected(b)
	})
	if _, both := r.of(other).metrics()[connectedMetric]; both {
		r.Fatal("both processes hold the account")
	}
	return holder, other
}

// sending waits until a send is in hand. It looks as often as it can: a send
// takes a few milliseconds.
func (r *phoneRig) sending() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	for n := 0; n == 0; {
		r.must(r.db.QueryRowContext(ctx, `SELECT count(*) FROM sends WHERE state = 'claimed'`).Scan(&n))
	}
}

// unsent counts the sends that did not end well.
func (r *phoneRig) unsent() (n int) {
	r.Helper()
	r.must(r.db.QueryRowContext(r.ctx, `SELECT count(*) FROM sends WHERE state <> 'accepted'`).Scan(&n))
	return n
}

// TestLinkedHolderKilled kills the process that holds the account, with a send
// in its hand, while 20 people write.
func TestLinkedHolderKilled(t *testing.T) {
	r := newPhoneRig(t, false, echo, 0)
	r.link()
	holder, other := r.sides(r.proc, r.start())
	r.proc = other
	var died time.Time
	var took time.Duration
	look := func() bool {
		if !died.IsZero() && took == 0 && r.connected(other) {
			took = time.Since(died)
		}
		return took > 0
	}
	r.storm(20, 100, func(n int) {
		r.pause(80 * time.Millisecond)
		switch n {
		case 49:
			r.sending()
			holder.kill()
			died = time.Now()
		case 99:
			r.until("the other process to be connected", 15*time.Second-time.Since(died), look)
		}
		look()
	})
	t.Logf("the account was taken over after %v", took.Round(time.Millisecond))
	if took > 15*time.Second {
		t.Errorf("the account was taken over after %v, want 15 s at most", took)
	}
	if n := r.unsent(); n != 0 {
		t.Errorf("%d sends did not end well", n)
	}
}

// TestLinkedHolderStopped freezes the process that holds the account, with a
// send in its hand, until the other one holds it and has sent. The first one
// finds, when it goes on, the answer that its send waited for and a connection
// that is open still, and is not to send.
func TestLinkedHolderStopped(t *testing.T) {
	r := newPhoneRig(t, false, echo, 0)
	r.link()
	first, second := r.sides(r.proc, r.start())
	r.proc = second
	var stopped, resumed time.Time
	var logins int
	var newcomer *watest.Person
	r.storm(20, 120, func(n int) {
		r.pause(80 * time.Millisecond)
		switch n {
		case 39:
			newcomer = r.wa.Contact("491529999999", watest.Name("Newcomer"))
			r.wa.Hold(r.device, "usync")
			newcomer.Text("hello")
			r.must(r.wa.Held(r.ctx, r.device))
			r.freeze(first)
			r.wa.Resume(r.device)
			stopped, logins = time.Now(), r.device.Logins()
		case 79:
			r.until("the other process to be connected", 30*time.Second, func() bool { return r.connected(second) })
			took := time.Since(stopped)
			r.until("the other process to send", 20*time.Second, func() bool { return r.of(second).metrics()[sentMetric] > 2 })
			r.must(first.cmd.Process.Signal(syscall.SIGCONT))
			resumed = time.Now()
			t.Logf("the account was taken over after %v; the first process goes on %v later", took.Round(time.Millisecond), (resumed.Sub(stopped) - took).Round(time.Millisecond))
		}
	})
	r.answered([]*watest.Person{newcomer}, map[*watest.Person][]string{newcomer: {"hello"}})
	r.until("15 s to pass since the first process goes on", time.Minute, func() bool { return time.Since(resumed) > 15*time.Second })
	if n := r.device.Logins(); n != logins+1 {
		t.Errorf("there were %d logins since the first process was stopped, want 1", n-logins)
	}
	if n := r.device.Late(); n != 0 {
		t.Errorf("the first process sent %d messages over its old connection", n)
	}
	if v, holds := r.of(first).metrics()[connectedMetric]; holds {
		t.Errorf("the first process says that it holds the account, connected: %v", v)
	}
	if !r.connected(second) {
		t.Error("the second process is not connected")
	}
	if n := r.unsent(); n != 0 {
		t.Errorf("%d sends did not end well", n)
	}
}

// TestLinkedStopHandsOver stops the process that holds the account while its
// agents think about ten answers. It sends them all in what the runs leave of
// the drain, and hands the account over only then.
func TestLinkedStopHandsOver(t *testing.T) {
	g := newGate()
	r := newPhoneRig(t, false, func(q llmtest.Request) llmtest.Reply { g.pass(); return echo(q) }, 0)
	t.Cleanup(g.lift)
	r.link()
	people := r.people(10)
	wrote := map[*watest.Person][]string{}
	for i, who := range people {
		word := fmt.Sprintf("w%03d", i)
		who.Text(word)
		wrote[who] = []string{word}
	}
	for range people {
		r.wait("every run to be at the model", g.came)
	}
	first, second := r.proc, r.start()
	r.proc = second
	asked := time.Now()
	r.must(first.cmd.Process.Signal(syscall.SIGTERM))
	g.lift()
	r.until("the other process to be connected", 5*time.Second, func() bool { return r.connected(second) })
	took := time.Since(asked)
	if n := r.of(second).metrics()[sentMetric]; n != 0 {
		t.Errorf("%v answers of the first process were left to the second one", n)
	}
	r.answered(people, wrote) // now, not later
	select {
	case err := <-first.end:
		first.end <- err
		if err != nil {
			t.Errorf("the first process ended with %v", err)
		}
	case <-time.NewTimer(5 * time.Second).C:
		t.Error("the first process does not end")
	}
	t.Logf("the account was handed over after %v, the first process ended by %v", took.Round(time.Millisecond), time.Since(asked).Round(time.Millisecond))
}

// TestLinkedDatabaseLocked locks a database at three random moments while 50
// people write 120 messages: for 5 s, and once for longer than the program waits
// for a lock.
func TestLinkedDatabaseLocked(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"wagent.db", "devices.db"} {
		t.Run(file, func(t *testing.T) {
			r := newPhoneRig(t, true, echo, 0)
			r.link()
			db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dataDir, file)+"?_txlock=exclusive&_pragma=busy_timeout(10000)")
			r.must(err)
			defer db.Close()
			moments := map[int]time.Duration{
				rand.IntN(10): 5 * time.Second, 40 + rand.IntN(10): 7 * time.Second, 80 + rand.IntN(10): 5 * time.Second,
			}
			var locks errgroup.Group
			r.storm(50, 120, func(n int) {
				if length, ok := moments[n]; ok {
					locks.Go(func() error { return r.lock(db, length) })
				}
				r.pause(230 * time.Millisecond)
				if n == 119 {
					r.must(locks.Wait())
				}
			})
		})
	}
}

// lock keeps everybody else from writing for a while.
func (r *phoneRig) lock(db *sql.DB, length time.Duration) error {
	tx, err := db.BeginTx(r.ctx, nil)
	if err != nil {
		return err
	}
	r.pause(length)
	return tx.Rollback()
}

// TestLinkedSendsOfAnotherReplica has every agent run in the process that does
// not hold the account: the other one's only place for a run is taken.
func TestLinkedSendsOfAnotherReplica(t *testing.T) {
	g := newGate()
	answer := func(q llmtest.Request) llmtest.Reply {
		if strings.Contains(asked(q), "block") {
			g.pass()
		}
		return echo(q)
	}
	r := newPhoneRigWith(t, false, answer, 0, func(cfg map[string]any) { cfg["runs"] = map[string]any{"concurrency": 1} })
	t.Cleanup(g.lift)
	r.link()
	all := r.people(21)
	wrote := map[*watest.Person][]string{all[20]: {"block"}}
	all[20].Text("block")
	r.wait("a run that takes the holder's place", g.came)
	_, other := r.sides(r.proc, r.start())
	r.proc = other
	waits, err := r.conversation(all[:20], wrote)
	r.must(err)
	t.Logf("from the end of the window to the answer: p50 %v, max %v", waits[len(waits)/2], waits[len(waits)-1])
	if most := waits[len(waits)-1]; most > 5*time.Second {
		t.Errorf("an answer came %v after the end of its window, want 5 s at most", most)
	}
	// Without the bell the holder would look every 5 s.
	if p50 := waits[len(waits)/2]; p50 > 2*time.Second {
		t.Errorf("half of the answers took more than %v after the end of their windows: is the bell heard?", p50)
	}
	if n := r.of(other).metrics()["wagent_window_lateness_seconds_count"]; n != 20 {
		t.Errorf("the process without the account ran %v runs, want all 20", n)
	}
	if n := r.of(other).metrics()[sentMetric]; n != 0 {
		t.Errorf("the process without the account sent %v messages", n)
	}
	g.lift()
	r.settled(time.Minute)
	r.answered(all, wrote)
}

// conversation has people write one message each, and returns how long after
// the end of their windows the answers came, the shortest first.
func (r *phoneRig) conversation(people []*watest.Person, wrote map[*watest.Person][]string) ([]time.Duration, error) {
	var mu sync.Mutex
	var waits []time.Duration
	var group errgroup.Group
	for i, who := range people {
		word := fmt.Sprintf("w%03d", i)
		wrote[who] = []string{word}
		group.Go(func() error {
			r.pause(time.Duration(i) * 300 * time.Millisecond)
			if err := who.Text(word).Acked(r.ctx); err != nil {
				return err
			}
			acked := time.Now()
			limit, cancel := context.WithTimeout(r.ctx, time.Minute)
			defer cancel()
			for r.wa.Expect(who).Unread() == 0 {
				select {
				case <-limit.Done():
					return fmt.Errorf("%s was not answered: %w", word, limit.Err())
				case <-time.NewTimer(5 * time.Millisecond).C:
				}
			}
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, (time.Since(acked) - time.Second).Round(time.Millisecond))
			return nil
		})
	}
	err := group.Wait()
	slices.Sort(waits)
	return waits, err
}
