package main

import (
	"database/sql"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// mortal is a model provider that can be killed as a process is: its
// connections are reset, and then it refuses any.
type mortal struct {
	http.Server
	url   string
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

func startMortal(t *testing.T, h http.Handler) *mortal {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{url: "http://" + ln.Addr().String() + "/v1", conns: map[net.Conn]struct{}{}}
	m.Handler = h
	m.ConnState = func(c net.Conn, s http.ConnState) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch s {
		case http.StateNew:
			m.conns[c] = struct{}{}
		case http.StateClosed:
			delete(m.conns, c)
		default:
		}
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Serve(ln) }()
	t.Cleanup(func() { _ = m.Close(); <-ended })
	return m
}

func (m *mortal) kill() {
	m.mu.Lock()
	for c := range m.conns {
		_ = c.(*net.TCPConn).SetLinger(0) // a close is then a reset
	}
	m.mu.Unlock()
	_ = m.Close()
}

// fated is what became of one customer.
type fated struct {
	runs, ended, reasons int // how many there are, have ended, and say why
	accepted, pauses     int // replies; handovers
	reason               gateway.PauseReason
}

// fates reads what became of everybody, by phone number.
func fates(t *testing.T, db *sql.DB) map[string]fated {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT c.phone,
		(SELECT COUNT(*) FROM runs r WHERE r.conversation = v.id),
		(SELECT COUNT(*) FROM runs r WHERE r.conversation = v.id AND r.status IN ('completed', 'failed')),
		(SELECT COUNT(*) FROM runs r WHERE r.conversation = v.id AND r.stop_reason <> ''),
		(SELECT COUNT(*) FROM sends s WHERE s.conversation = v.id AND s.state = 'accepted'),
		(SELECT COUNT(*) FROM pauses p WHERE p.conversation = v.id),
		COALESCE((SELECT MIN(p.reason) FROM pauses p WHERE p.conversation = v.id), '')
		FROM conversations v JOIN contacts c ON c.id = v.contact`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]fated{}
	for rows.Next() {
		var phone string
		var f fated
		if err := rows.Scan(&phone, &f.runs, &f.ended, &f.reasons, &f.accepted, &f.pauses, &f.reason); err != nil {
			t.Fatal(err)
		}
		out[phone] = f
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	inFlight  = 200 // customers who wait for the model when it dies
	answering = 50  // of them it answers before
	sorry     = "A colleague will answer you."
)

// TestProviderKilled: of 200 runs the model answers 50, and then its process is
// gone. Every run ends and says why; every customer is answered once, by the
// model or with what their agent says in its place, or is handed over once.
func TestProviderKilled(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { providerKilled(t, true) })
	t.Run("postgres and redis", func(t *testing.T) { providerKilled(t, false) })
}

func providerKilled(t *testing.T, embedded bool) {
	var came atomic.Int64
	model := startMortal(t, &llmtest.Server{Answer: func(q llmtest.Request) llmtest.Reply {
		if came.Add(1) <= answering {
			return output("re: "+asked(q), "")
		}
		return llmtest.Reply{Fault: llmtest.Hang}
	}})
	var dir string
	r := newRigWith(t, embedded, nil, func(cfg map[string]any) {
		dir = cfg["data_dir"].(string)
		// As long as a run has, it waits for the provider to come back.
		cfg["runs"] = map[string]any{"concurrency": inFlight + 50, "timeout": "30s"}
		cfg["providers"] = map[string]any{"fake": map[string]any{"kind": "openai", "base_url": model.url}}
		silent := clone(cfg["accounts"].([]any)[0])
		silent["id"], silent["phone_number"], silent["phone_number_id"] = "acc_b", "+"+numbers["acc_b"].Phone, numbers["acc_b"].PhoneNumberID
		silent["waba_id"] = numbers["acc_b"].WABA
		cfg["accounts"] = append(cfg["accounts"].([]any), silent)
		polite := cfg["agents"].([]any)[0].(map[string]any)
		other := clone(polite)
		other["id"], other["account"] = "silent", "acc_b"
		polite["fallback_reply"] = sorry
		cfg["agents"] = append(cfg["agents"].([]any), other)
		cfg["webhooks"].([]any)[0].(map[string]any)["events"] = []any{gateway.EventPaused, gateway.EventRunFailed}
	})
	r.proc = r.start()
	db := r.db
	if embedded {
		var err error
		if db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "wagent.db")+"?mode=ro&_pragma=busy_timeout(5000)"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
	}
	for k, account := range []gateway.AccountID{"acc_a", "acc_b"} {
		var events []graphtest.Event
		for i := range inFlight / 2 {
			who := graphtest.Customer{Phone: phoneOf(2*i + k), Name: "Somebody"}
			events = append(events, who.Text("wamid."+who.Phone, "from "+who.Phone))
		}
		if code := r.post(appSecret, graphtest.Body(numbers[account].Entry(events...))); code != http.StatusOK {
			t.Fatalf("the webhook answered %d", code)
		}
	}
	r.until("everybody to be before the model", time.Minute, func() bool { return came.Load() == inFlight })
	ended := func(n int) func() bool {
		return func() bool {
			for _, f := range fates(t, db) {
				n -= f.ended
			}
			return n == 0
		}
	}
	r.until("the answered runs to end", time.Minute, ended(answering))
	model.kill()
	r.until("all runs to end", time.Minute, ended(inFlight))
	r.settled(time.Minute)
	providerKilledFates(r, db)
}

// providerKilledFates checks what became of everybody.
func providerKilledFates(r *rig, db *sql.DB) {
	r.Helper()
	got := map[string][]string{}
	for _, s := range r.graph.Sent() {
		got[s.To] = append(got[s.To], s.Text)
	}
	told := map[string]map[string]bool{} // of a handover: ids by phone number
	for _, h := range r.hooks.events(gateway.EventPaused) {
		phone := fmt.Sprint(h.data["phone_number"])
		if told[phone] == nil {
			told[phone] = map[string]bool{}
		}
		told[phone][h.id] = true
		if h.data["reason"] != string(gateway.PauseFailed) {
			r.Errorf("%s was handed over because of %v", phone, h.data["reason"])
		}
	}
	all := fates(r.T, db)
	byModel, byFallback, handedOver := 0, 0, 0
	for i := range inFlight {
		phone := phoneOf(i)
		f, texts := all["+"+phone], got[phone]
		if f.runs != 1 || f.ended != 1 || f.reasons != 1 {
			r.Errorf("%s has %d runs, of which %d ended and %d say why", phone, f.runs, f.ended, f.reasons)
		}
		switch {
		case len(texts) == 1 && texts[0] == "re: from "+phone && f == (fated{1, 1, 1, 1, 0, ""}) && len(told["+"+phone]) == 0:
			byModel++
		case i%2 == 0 && len(texts) == 1 && texts[0] == sorry && f == (fated{1, 1, 1, 1, 0, ""}) && len(told["+"+phone]) == 0:
			byFallback++
		case i%2 == 1 && len(texts) == 0 && f == (fated{1, 1, 1, 0, 1, gateway.PauseFailed}) && len(told["+"+phone]) == 1:
			handedOver++
		default:
			r.Errorf("%s got %q and stands so: %+v; webhooks were told %d times", phone, texts, f, len(told["+"+phone]))
		}
	}
	if byModel != answering || byFallback == 0 || handedOver == 0 || byModel+byFallback+handedOver != inFlight || len(all) != inFlight {
		r.Errorf("%d were answered by the model, %d by the fallback, %d handed over, of %d", byModel, byFallback, handedOver, len(all))
	}
}

func phoneOf(i int) string { return fmt.Sprintf("4915560%05d", i) }

// clone copies a mapping of a configuration.
func clone(of any) map[string]any {
	return maps.Clone(of.(map[string]any))
}
