package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// comesBack is how long it may take, after the return of a Redis that lost its
// data, until every waiting message is in a window again.
const comesBack = 30 * time.Second

// TestWindowsComeBack has Redis lose all of its data twice while many people wait
// in long windows and the agent thinks about what some others wrote.
func TestWindowsComeBack(t *testing.T) {
	const waiting, late, thinking = 200, 20, 8
	g := newGate()
	r := newRigWith(t, false, func(q llmtest.Request) llmtest.Reply {
		if strings.HasPrefix(asked(q), "think") {
			g.pass()
		}
		return echo(q)
	}, func(cfg map[string]any) {
		account, agent := cfg["accounts"].([]any)[0].(map[string]any), cfg["agents"].([]any)[0].(map[string]any)
		other, patient := maps.Clone(account), maps.Clone(agent)
		other["id"], other["phone_number"], other["phone_number_id"], other["waba_id"] = "acc_b", "+15550001002", "1002", "9002"
		patient["id"], patient["account"], patient["debounce_seconds"], patient["max_wait_seconds"] = "patient", "acc_b", 45, 60
		cfg["accounts"], cfg["agents"] = []any{account, other}, []any{agent, patient}
	})
	t.Cleanup(g.lift)
	replicas := []*replica{r.start(), r.start()}
	wrote := &letters{rig: r, replicas: replicas, want: map[string]string{}}
	wrote.write("acc_a", "think", thinking)
	for range thinking {
		r.wait("a run that is in hand", g.came)
	}
	wrote.write("acc_b", "wait", waiting)
	r.proc = replicas[0]
	t.Logf("before anything is lost: %d messages were in windows after %v", waiting, r.back())

	if err := r.redis.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("flushed: %d messages were in windows again after %v", waiting, r.back())

	r.redis.Stop()
	r.redis.Lose()
	away := time.Now()
	wrote.write("acc_b", "late", late)
	r.until("Redis to be away for a while", time.Minute, func() bool { return time.Since(away) > 5*time.Second })
	r.redis.Restart()
	t.Logf("restarted empty: %d messages were in windows again after %v", waiting+late, r.back())

	g.lift()
	r.settled(2 * time.Minute)
	got := map[string]string{}
	for _, s := range r.graph.Sent() {
		if got[s.To] != "" {
			t.Errorf("%s was answered twice", s.To)
		}
		got[s.To] = s.Text
	}
	if diff := cmp.Diff(wrote.want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// letters are what people wrote, and what they are to be answered.
type letters struct {
	*rig
	replicas []*replica
	people   int
	mu       sync.Mutex
	want     map[string]string
}

// write has so many people write one message each, to both replicas.
func (l *letters) write(account gateway.AccountID, what string, people int) {
	l.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for i := range people {
		who := graphtest.Customer{Phone: fmt.Sprint(491700000000 + l.people + i), Name: "Customer"}
		g.Go(func() error {
			text := fmt.Sprintf("%s %d", what, i)
			body := graphtest.Body(numbers[account].Entry(who.Text("wamid."+text, text)))
			req, err := graphtest.Request(l.Context(), l.replicas[i%len(l.replicas)].url+"/webhooks/whatsapp", appSecret, body)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("the webhook answered %d", resp.StatusCode)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.want[who.Phone] = "re: " + text
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		l.Fatal(err)
	}
	l.people += people
}

// back waits until the windows hold what waits, each message once, and returns how
// long that took. An Add that was late is the sweeper's.
func (r *rig) back() time.Duration {
	r.Helper()
	start := time.Now()
	var waiting, windows []string
	defer func() {
		if diff := cmp.Diff(waiting, windows); diff != "" {
			r.Logf("the windows differ from what waits (-waiting +in windows):\n%s", diff)
		}
	}()
	r.until("every waiting message to be in a window", comesBack, func() bool {
		waiting, windows = r.waiting(), r.windows()
		return len(waiting) > 0 && slices.Equal(waiting, windows)
	})
	return time.Since(start).Round(time.Millisecond)
}

// waiting returns the ids of the messages that wait for a run, as SQL knows them.
func (r *rig) waiting() []string {
	r.Helper()
	return r.messages(`state = 'waiting'`)
}

// messages returns the ids of some of the messages, in their order.
func (r *rig) messages(which string) (ids []string) {
	r.Helper()
	rows, err := r.db.QueryContext(r.Context(), `SELECT id FROM messages WHERE direction = 'in' AND `+which)
	if err != nil {
		r.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			r.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		r.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

// windows returns the ids of the messages that are in windows, as often as they
// are, without those of runs that have them already; debounce/lua/common.lua says
// where they are.
func (r *rig) windows() (ids []string) {
	r.Helper()
	rdb := redis.NewClient(r.redis.Options())
	defer rdb.Close()
	batched := map[string]bool{}
	for _, id := range r.messages(`state = 'batched'`) {
		batched[id] = true
	}
	keys := rdb.Scan(r.Context(), 0, "{wagent:*}:w:*", 1000).Iterator()
	for keys.Next(r.Context()) {
		fields, err := rdb.HKeys(r.Context(), keys.Val()).Result()
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range fields {
			if id, ok := strings.CutPrefix(f, "="); ok && !batched[id] {
				ids = append(ids, id)
			}
		}
	}
	if err := keys.Err(); err != nil {
		r.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}
