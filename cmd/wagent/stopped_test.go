package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// These tests stop the process that has the work, SIGSTOP, at each step of a
// run, until another one did what there was to do, and let it go on: with all
// that it knew, and none of it true any more.

// stoppedLease is that of batches and runs; nobody is stopped for less than
// twice of it.
const stoppedLease = 2 * time.Second

// A stop is where a process stands while others go on.
type stop struct {
	trigger string        // what waits for our lock there; empty: the model answers
	newer   string        // what is written while the model answers, and supersedes the run; empty: nothing
	waits   string        // the statement that shows in the database as waiting
	length  time.Duration // of the stop, at least
	done    func(r *rig) bool
	// What is on record afterwards.
	generation int // of the run
	claims     int // of its send
}

// At a commit the database has done it, and the process does not know.
const (
	before   = `CREATE TRIGGER hold BEFORE `
	atCommit = `CREATE CONSTRAINT TRIGGER hold AFTER `
	deferred = ` DEFERRABLE INITIALLY DEFERRED`
)

// answered is true once a reply left, and delivered once its actions did.
func answered(r *rig) bool  { return len(r.graph.Sent()) > 0 }
func delivered(r *rig) bool { return len(r.hooks.events(gateway.EventAction)) > 1 }

// untouched is for what the other process must leave alone.
func untouched(*rig) bool { return true }

func TestStopped(t *testing.T) {
	for name, s := range map[string]stop{
		"with the batch, before it claims the run": {
			before + `INSERT ON runs`, "", "into runs", 2 * stoppedLease, answered, 1, 1,
		},
		"with the run claimed, before it knows": {
			atCommit + `INSERT ON runs` + deferred, "", "commit", 2 * stoppedLease, answered, 2, 1,
		},
		"while the model answers": {
			"", "", "", 2 * stoppedLease, answered, 2, 1,
		},
		"with the run superseded, before it knows": {
			atCommit + `UPDATE ON runs` + deferred + ` FOR EACH ROW WHEN (NEW.status = 'pending')`, "three", "commit", 2 * stoppedLease, answered, 2, 1,
		},
		"in the middle of the finish": {
			before + `INSERT ON actions`, "", "into actions", 2 * stoppedLease, answered, 2, 1,
		},
		"with the run finished, before it knows": {
			atCommit + `UPDATE ON runs` + deferred + ` FOR EACH ROW WHEN (NEW.status = 'completed')`, "", "commit", 2 * stoppedLease, answered, 1, 1,
		},
		"while it claims the send": {
			before + `UPDATE ON sends`, "", "update sends", 2 * stoppedLease, answered, 1, 1,
		},
		"with the send claimed, until before its deadline": {
			atCommit + `UPDATE ON sends` + deferred + ` FOR EACH ROW WHEN (NEW.state = 'claimed')`, "", "commit", 2 * stoppedLease, untouched, 1, 1,
		},
		"with the send claimed, past its deadline": {
			atCommit + `UPDATE ON sends` + deferred + ` FOR EACH ROW WHEN (NEW.state = 'claimed')`, "", "commit", gateway.SendDeadline + time.Second, untouched, 1, 2,
		},
		"with a delivery made, before it knows": {
			atCommit + `UPDATE ON deliveries` + deferred + ` FOR EACH ROW WHEN (NEW.state = 'succeeded')`, "", "commit", 2 * stoppedLease, delivered, 1, 1,
		},
	} {
		t.Run(name, func(t *testing.T) { s.play(t) })
	}
}

func (s stop) play(t *testing.T) {
	g := newGate()
	var asked atomic.Int32
	r := newRigWith(t, false, func(q llmtest.Request) llmtest.Reply {
		if asked.Add(1) == 1 && (s.trigger == "" || s.newer != "") {
			g.pass()
		}
		return clean(q)
	}, func(cfg map[string]any) {
		cfg["debounce"] = map[string]any{"lease": stoppedLease.String()}
		if s.newer != "" {
			cfg["agents"].([]any)[0].(map[string]any)["on_new_message"] = "supersede"
		}
		// What a stopped process holds in the database is free within its lease.
		db := cfg["database"].(map[string]any)
		db["url"] = db["url"].(string) + "&idle_in_transaction_session_timeout=1000"
	})
	t.Cleanup(g.lift)
	replicas := map[string]*replica{"one": nil, "two": nil}
	for name := range replicas {
		r.env = []string{"PGAPPNAME=" + name} // the database tells who waits in it
		r.proc = r.start()
		replicas[name] = r.proc
	}
	lock := r.hold(s.trigger)
	r.say(ada, "one", "two")
	if s.trigger == "" || s.newer != "" {
		r.wait("the model to be asked", g.came)
	}
	if s.newer != "" {
		r.say(ada, s.newer)
	}
	var name string
	if s.trigger == "" {
		name = r.runner(replicas)
	} else {
		name = r.waiter(s.waits)
	}
	first := replicas[name]
	delete(replicas, name)
	r.freeze(first)
	stopped := time.Now()
	g.lift()
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	for _, second := range replicas {
		r.proc = second
	}
	r.until("the other process to do it", 40*time.Second, func() bool { return s.done(r) })
	took := time.Since(stopped)
	r.until("the end of the stop", time.Minute, func() bool { return time.Since(stopped) >= s.length })
	s.resume(r, first)
	t.Logf("it was done %v after the stop, which ended after %v", took.Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))
	r.settled(30 * time.Second)
	s.check(r)
}

// runner names the process that has the only run in hand.
func (r *rig) runner(replicas map[string]*replica) (found string) {
	r.Helper()
	for name, p := range replicas {
		r.proc = p
		if r.metrics()["wagent_window_lateness_seconds_count"] == 1 {
			found = name
		}
	}
	if found == "" {
		r.Fatal("no process has a run in hand")
	}
	return found
}

// waiter waits until a statement of a process waits for our lock, and returns
// the name by which the database knows the process.
func (r *rig) waiter(statement string) (name string) {
	r.Helper()
	r.until("a process to be held at "+statement, 20*time.Second, func() bool {
		err := r.db.QueryRowContext(r.Context(), `SELECT application_name FROM pg_stat_activity WHERE datname = current_database()
			AND wait_event_type = 'Lock' AND wait_event = 'advisory' AND query ILIKE '%' || $1 || '%'`, statement).Scan(&name)
		return err == nil
	})
	return name
}

// freeze stops a process, and returns when it stands still: on a busy machine it
// goes on for a while. Where the system does not tell, it is taken to be quick.
func (r *rig) freeze(p *replica) {
	r.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		r.Fatal(err)
	}
	r.until("a process to stand still", 20*time.Second, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		return err == nil && !slices.ContainsFunc(threads, func(path string) bool {
			stat, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(stat), ") ") // behind its name
			return err == nil && !strings.HasPrefix(state, "T")
		})
	})
}

// resume lets the process go on, and end: it waits for what it has in hand.
func (s stop) resume(r *rig, p *replica) {
	r.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(sig); err != nil {
			r.Fatal(err)
		}
	}
	select {
	case err := <-p.end:
		p.end <- err
		if err != nil {
			r.Errorf("the process that was stopped ended with %v", err)
		}
	case <-time.NewTimer(20 * time.Second).C:
		r.Fatal("the process that was stopped does not end")
	}
}

func (s stop) check(r *rig) {
	r.Helper()
	r.once(strings.TrimSpace("re: one two " + s.newer))
	var runs, generation, sends, claims, unknowns int
	err := r.db.QueryRowContext(r.Context(), `SELECT (SELECT count(*) FROM runs WHERE status = 'completed'), (SELECT sum(generation) FROM runs),
		count(*), sum(attempt), sum(unknowns) FROM sends`).Scan(&runs, &generation, &sends, &claims, &unknowns)
	if err != nil {
		r.Fatal(err)
	}
	if runs != 1 || generation != s.generation {
		r.Errorf("%d completed runs, generations in all %d; want 1 and %d", runs, generation, s.generation)
	}
	if sends != 1 || claims != s.claims || unknowns != 0 {
		r.Errorf("%d sends, claimed %d times, %d ends unknown; want 1, %d and none", sends, claims, unknowns, s.claims)
	}
}

// hold makes what the trigger is about wait until the lock that it returns ends.
func (r *rig) hold(trigger string) *sql.Tx {
	r.Helper()
	lock, err := r.db.BeginTx(context.WithoutCancel(r.Context()), nil)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = lock.Rollback() })
	if trigger == "" {
		return lock
	}
	r.exec(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$`)
	if _, err := lock.ExecContext(r.Context(), `SELECT pg_advisory_xact_lock(42)`); err != nil {
		r.Fatal(err)
	}
	if trigger[len(trigger)-1] != ')' {
		trigger += ` FOR EACH ROW`
	}
	r.exec(trigger + ` EXECUTE FUNCTION hold()`)
	return lock
}
