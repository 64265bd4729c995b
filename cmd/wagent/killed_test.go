package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway/cloudapi/graphtest"
)

// These tests kill -9 the built program in the worst places. What is asserted
// afterwards is always the same: one reply, and each action delivered.

// clean answers a burst with two actions.
func clean(r llmtest.Request) llmtest.Reply { return output("re: "+asked(r), "", "204", "205") }

// each runs a scenario on PostgreSQL and Redis, and on what the program brings.
func each(t *testing.T, answer func(llmtest.Request) llmtest.Reply, play func(*rig)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { play(newRig(t, true, answer)) })
	t.Run("postgres and redis", func(t *testing.T) { play(newRig(t, false, answer)) })
}

func TestKilledInTheWindow(t *testing.T) {
	each(t, clean, func(r *rig) {
		r.say(ada, "one", "two")
		r.crash()
		r.settled(time.Minute)
		r.once("re: one two")
	})
}

func TestKilledInTheRun(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { killedInTheRun(t, true) })
	t.Run("postgres and redis", func(t *testing.T) { killedInTheRun(t, false) })
}

func killedInTheRun(t *testing.T, embedded bool) {
	g := newGate()
	r := newRig(t, embedded, func(q llmtest.Request) llmtest.Reply { g.pass(); return clean(q) })
	t.Cleanup(g.lift)
	r.say(ada, "one", "two")
	r.wait("the model to be asked", g.came)
	r.proc.kill()
	g.lift()
	r.proc = r.start()
	r.settled(time.Minute)
	r.once("re: one two")
	if n := len(r.model.Requests()); n != 2 {
		r.Errorf("the model was asked %d times, want 2: before the crash and after it", n)
	}
}

func TestKilledBetweenAnswerAndFinish(t *testing.T) {
	r := newRig(t, false, clean)
	lock, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// FinishRun inserts the actions; until then nothing of it shows.
	if _, err := lock.ExecContext(t.Context(), `LOCK TABLE actions IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	r.say(ada, "one", "two")
	r.locked("into actions")
	r.proc.kill()
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.graph.Sent()); n != 0 {
		t.Fatalf("%d messages left before the run was finished", n)
	}
	r.proc = r.start()
	r.settled(time.Minute)
	r.once("re: one two")
}

func TestKilledBetweenFinishAndSend(t *testing.T) {
	r := newRig(t, false, clean)
	// Claiming a send is an update of its row; it waits for a lock of ours.
	r.exec(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$`)
	r.exec(`CREATE TRIGGER hold BEFORE UPDATE ON sends FOR EACH ROW EXECUTE FUNCTION hold()`)
	lock, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock(42)`); err != nil {
		t.Fatal(err)
	}
	r.say(ada, "one", "two")
	r.locked("update sends")
	r.proc.kill()
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.graph.Sent()); n != 0 {
		t.Fatalf("%d messages left before they were claimed", n)
	}
	r.exec(`DROP TRIGGER hold ON sends`)
	r.proc = r.start()
	r.settled(time.Minute)
	r.once("re: one two")
}

// TestKilledInsideTheSend: nobody can tell whether WhatsApp took the message.
// The claim's deadline and quarantine, 70 s, pass in real time.
func TestKilledInsideTheSend(t *testing.T) {
	inHand := func(t *testing.T, f graphtest.Fault) *rig {
		r := newRig(t, false, clean)
		r.graph.Fail(1, f)
		r.say(ada, "one", "two")
		r.until("the send", 20*time.Second, func() bool { return r.graph.Requests() == 1 })
		r.crash()
		return r
	}
	t.Run("taken, and WhatsApp tells so: not sent again", func(t *testing.T) {
		r := inHand(t, graphtest.Fault{Hang: true, Take: true})
		took := r.graph.Sent()[0]
		status := graphtest.Body(numbers["acc_a"].Entry(graphtest.Status(took.ID, took.To, "sent", took.CallbackData)))
		if code := r.post(appSecret, status); code != http.StatusOK {
			t.Fatalf("the status was answered with %d", code)
		}
		r.settled(2 * time.Minute)
		r.until("the quarantine to pass", 2*time.Minute, func() bool { return time.Since(took.At) > 75*time.Second })
		r.once("re: one two")
		if n := r.metrics()[`wagent_replies_total{outcome="unknown"}`]; n != 0 {
			t.Errorf("%v sends are counted as unknown, want none", n)
		}
	})
	t.Run("not taken: sent once more, and counted", func(t *testing.T) {
		r := inHand(t, graphtest.Fault{Hang: true})
		start := time.Now()
		r.settled(2 * time.Minute)
		r.once("re: one two")
		if took := r.graph.Sent()[0].At.Sub(start); took < 55*time.Second {
			t.Errorf("sent again after %v, before the quarantine was over", took)
		}
		if n := r.metrics()[`wagent_replies_total{outcome="unknown"}`]; n != 1 {
			t.Errorf("%v sends are counted as unknown, want 1", n)
		}
	})
}

func TestKilledInADelivery(t *testing.T) {
	g := newGate()
	r := newRig(t, false, clean)
	var lost atomic.Bool
	r.hooks.before = func() {
		if !lost.Load() {
			g.pass()
		}
	}
	t.Cleanup(g.lift)
	r.say(ada, "one", "two")
	r.wait("a delivery", g.came)
	r.until("the reply to be accepted", 20*time.Second, func() bool {
		var n int
		err := r.db.QueryRowContext(t.Context(), `SELECT count(*) FROM sends WHERE state = 'accepted'`).Scan(&n)
		return err == nil && n == 1
	})
	r.proc.kill()
	lost.Store(true)
	g.lift()
	r.proc = r.start()
	r.settled(time.Minute) // the dead process holds its webhooks' lanes for 9 s
	r.once("re: one two")
}

func TestRedisForgetsEverything(t *testing.T) {
	flush := func(r *rig) {
		r.Helper()
		if err := r.redis.Client().FlushAll(r.Context()).Err(); err != nil {
			r.Fatal(err)
		}
	}
	t.Run("inside a window", func(t *testing.T) {
		r := newRig(t, false, clean)
		r.say(ada, "one", "two")
		flush(r)
		r.settled(time.Minute)
		r.once("re: one two")
	})
	t.Run("inside a run", func(t *testing.T) {
		g := newGate()
		r := newRig(t, false, func(q llmtest.Request) llmtest.Reply { g.pass(); return clean(q) })
		t.Cleanup(g.lift)
		r.say(ada, "one", "two")
		r.wait("the model to be asked", g.came)
		flush(r)
		g.lift()
		r.settled(time.Minute)
		r.once("re: one two")
	})
	t.Run("and is away for the whole burst", func(t *testing.T) {
		r := newRig(t, false, clean)
		r.redis.Stop()
		r.say(ada, "one", "two")
		r.redis.Restart()
		r.settled(time.Minute)
		r.once("re: one two")
	})
}

func TestWebhookOfMeta(t *testing.T) {
	r := newRig(t, false, echo)
	stored := func() (n int) {
		if err := r.db.QueryRowContext(t.Context(), `SELECT count(*) FROM messages WHERE direction = 'in'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	body := func(events ...graphtest.Event) []byte { return graphtest.Body(numbers["acc_a"].Entry(events...)) }

	for range 3 {
		r.say(ada, "hello")
	}
	if n := stored(); n != 1 {
		t.Errorf("three POSTs of one id made %d messages, want 1", n)
	}
	two := numbers["acc_a"].Entry(ada.Text("wamid.a", "a"), ada.Text("wamid.b", "b"))
	one := numbers["acc_a"].Entry(ada.Text("wamid.c", "c"))
	two["changes"] = append(two["changes"].([]any), one["changes"].([]any)...)
	if code := r.post(appSecret, graphtest.Body(two)); code != http.StatusOK || stored() != 4 {
		t.Errorf("a POST of 2 messages and a change with 1 more = %d and made %d messages, want 3", code, stored()-1)
	}

	request := func(b []byte, sign string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.proc.url+"/webhooks/whatsapp", strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if sign != "" {
			req.Header.Set("X-Hub-Signature-256", sign)
		}
		return r.do(req)
	}
	right := body(ada.Text("wamid.forged", "x"))
	for name, tt := range map[string]struct {
		body []byte
		sign string
		want int
	}{
		"unsigned":                      {right, "", http.StatusUnauthorized},
		"forged":                        {right, graphtest.Sign("another secret", right), http.StatusUnauthorized},
		"truncated":                     {right[:len(right)-9], graphtest.Sign(appSecret, right), http.StatusUnauthorized},
		"broken, but rightly signed":    {right[:20], graphtest.Sign(appSecret, right[:20]), http.StatusBadRequest},
		"with an empty signature's tag": {right, "sha256=", http.StatusUnauthorized},
	} {
		if code := request(tt.body, tt.sign); code != tt.want || stored() != 4 {
			t.Errorf("%s: %d, want %d; %d messages stored", name, code, tt.want, stored()-4)
		}
	}
	if n := r.metrics()["wagent_webhook_signatures_rejected_total"]; n != 4 {
		t.Errorf("%v rejections counted, want 4", n)
	}

	verify := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			r.proc.url+"/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=42&hub.verify_token="+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.do(req)
	}
	if right, wrong := verify("verify"), verify("other"); right != http.StatusOK || wrong != http.StatusForbidden {
		t.Errorf("verification = %d with the right token and %d with a wrong one", right, wrong)
	}

	// The database goes away: Meta is asked to come again, and does.
	var name string
	if err := r.db.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	r.exec(`ALTER TABLE messages RENAME TO elsewhere`)
	if code := r.post(appSecret, body(ada.Text("wamid.late", "late"))); code != http.StatusServiceUnavailable {
		t.Errorf("without the database the webhook answers %d, want 503", code)
	}
	r.exec(`ALTER TABLE elsewhere RENAME TO messages`)
	if code := r.post(appSecret, body(ada.Text("wamid.late", "late"))); code != http.StatusOK || stored() != 5 {
		t.Errorf("with it again %d, and %d messages stored", code, stored())
	}
}

// TestOneOfTwoReplicasIsKilled: thirty customers' runs are at work in both
// processes when one of them dies.
func TestOneOfTwoReplicasIsKilled(t *testing.T) {
	const customers = 30
	g := newGate()
	r := newRig(t, false, func(q llmtest.Request) llmtest.Reply { g.pass(); return echo(q) })
	t.Cleanup(g.lift)
	first, second := r.proc, r.start()
	for i := range customers {
		who := graphtest.Customer{Phone: fmt.Sprint(491700000000 + i), Name: "Customer"}
		for part := range 3 { // one after another: a slow machine must not make them bursts of their own
			r.proc = []*replica{first, second}[(i+part)%2]
			r.say(who, fmt.Sprintf("c%d-%d", i, part))
		}
	}
	for range customers {
		r.wait("every run to be at work", g.came)
	}
	runs := func(p *replica) float64 {
		r.proc = p
		return r.metrics()[`wagent_window_lateness_seconds_count`]
	}
	if a, b := runs(first), runs(second); a == 0 || b == 0 || a+b != customers {
		t.Fatalf("the replicas have %v and %v runs in hand, want %d shared between them", a, b, customers)
	}
	second.kill()
	g.lift()
	r.proc = first
	r.settled(time.Minute)
	got := map[string]string{}
	for _, s := range r.graph.Sent() {
		if got[s.To] != "" {
			t.Errorf("%s was answered twice", s.To)
		}
		got[s.To] = s.Text
	}
	for i := range customers {
		want := fmt.Sprintf("re: c%d-0 c%d-1 c%d-2", i, i, i)
		if text := got[fmt.Sprint(491700000000+i)]; text != want {
			t.Errorf("customer %d got %q, want %q", i, text, want)
		}
	}
}
