package main

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
	"wagent/gateway/cloudapi/graphtest"
)

// What make chaos sets. The same seed makes the same faults at the same times;
// what they hit is up to the machine.
var (
	chaosLength = flag.Duration("chaos", 20*time.Second, "how long TestChaos makes trouble")
	chaosPeople = flag.Int("chaos.people", 250, "how many conversations TestChaos has")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "which faults TestChaos makes, and when; 0: any")
)

const chaosLease = 3 * time.Second

// chaos is two replicas on a Redis and a database that people write to while all
// kinds of things go wrong.
type chaos struct {
	*rig
	seed           uint64
	length         time.Duration
	toRedis, toSQL *proxy
	people         []*person
	client         *http.Client
	replicas       [2]*replica
	urls           [2]atomic.Pointer[string] // of the replicas; those who write read them
	counts         map[string]int
	ended          time.Time // of the faults
}

// TestChaos kills and stops two replicas and the Redis below them, and cuts and
// stalls their connections, while people write to Cloud API and sandbox accounts:
// to agents that supersede, and to agents that follow up.
// When all of that is over, each message must be in one finished run, in order,
// and each answer sent once: but for those of which nobody knows.
func TestChaos(t *testing.T) {
	c := newChaos(t)
	for i := range c.replicas {
		c.launch(i)
	}
	c.watch()
	start := time.Now()
	var wrote sync.WaitGroup
	for _, p := range c.people {
		wrote.Go(func() { p.write(start) })
	}
	stopStatuses := c.tellStatuses()
	c.play(start)
	c.ended = time.Now()
	wrote.Wait()
	c.Logf("what was still to be written was taken %v after the last fault", time.Since(c.ended).Round(time.Millisecond))
	c.heal()
	stopStatuses()
	c.prove()
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{seed: *chaosSeed, length: *chaosLength, counts: map[string]int{}}
	if c.seed == 0 {
		c.seed = rand.Uint64()
	}
	t.Logf("seed %d: go test ./cmd/wagent -run='^TestChaos$' -chaos=%v -chaos.people=%d -chaos.seed=%d", c.seed, c.length, *chaosPeople, c.seed)
	think := func(q llmtest.Request) llmtest.Reply {
		out, n := echo(q), 0
		most := 300 * time.Millisecond
		if _, err := fmt.Sscanf(asked(q), "c%d-", &n); err == nil && supersedingAccount(accountOf(n)) {
			most = thinkLong
		}
		out.Delay = rand.N(most)
		return out
	}
	c.rig = newRigWith(t, false, think, func(cfg map[string]any) { c.configure(t, cfg) })
	c.client = &http.Client{Timeout: 10 * time.Second, Transport: wiretest.Transport(t, &http.Transport{MaxIdleConnsPerHost: 64})}
	t.Cleanup(c.client.CloseIdleConnections)
	for i := range *chaosPeople {
		c.people = append(c.people, newPerson(c, i))
	}
	return c
}

// chaosAccounts are those that people write to: two numbers of the Cloud API,
// and two sandboxes.
var chaosAccounts = []gateway.AccountID{"acc_a", "acc_b", "acc_s", "acc_t"}

// accountOf is the one that the n-th person writes to.
func accountOf(n int) gateway.AccountID { return chaosAccounts[n%len(chaosAccounts)] }

// supersedingAccount reports whether newer messages supersede an account's runs.
// Its agent thinks for up to thinkLong, and who writes to it pauses as long, so
// that they do.
func supersedingAccount(id gateway.AccountID) bool { return id == "acc_b" || id == "acc_t" }

const thinkLong = 2 * time.Second

// mostSuperseded is how often a run of those is superseded, and of the others.
func mostSuperseded(id gateway.AccountID) int {
	if supersedingAccount(id) {
		return gateway.DefaultAgent().MaxSupersedes
	}
	return 0
}

// toldAccount is the one of which Meta tells what became of each message.
const toldAccount = gateway.AccountID("acc_a")

// configure has the replicas go through proxies, and answer several accounts.
func (c *chaos) configure(t *testing.T, cfg map[string]any) {
	t.Helper()
	db, rdb := cfg["database"].(map[string]any), cfg["redis"].(map[string]any)
	c.toRedis = newProxy(t, "tcp", strings.TrimPrefix(rdb["url"].(string), "redis://"))
	rdb["url"] = "redis://" + c.toRedis.addr()
	c.toSQL, db["url"] = proxyPostgres(t, db["url"].(string))
	cfg["debounce"] = map[string]any{"lease": chaosLease.String()}
	cfg["log"] = map[string]any{"level": "error"}
	first, agent := cfg["accounts"].([]any)[0].(map[string]any), cfg["agents"].([]any)[0].(map[string]any)
	other := maps.Clone(first)
	other["id"], other["phone_number"], other["phone_number_id"], other["waba_id"] = "acc_b", "+15550001002", "1002", "9002"
	cfg["accounts"] = []any{first, other, map[string]any{"id": "acc_s", "kind": "sandbox"}, map[string]any{"id": "acc_t", "kind": "sandbox"}}
	var agents []any
	for _, id := range chaosAccounts {
		a := maps.Clone(agent)
		a["id"], a["account"], a["max_wait_seconds"] = "agent."+string(id), id, 3
		if supersedingAccount(id) {
			a["on_new_message"] = "supersede"
		}
		agents = append(agents, a)
	}
	cfg["agents"] = agents
}

// launch starts a replica; the database must be there.
func (c *chaos) launch(i int) {
	c.Helper()
	c.replicas[i] = c.start()
	c.urls[i].Store(&c.replicas[i].url)
}

// An event is something that goes wrong, or the end of it.
type event struct {
	at time.Duration
	do func()
}

// plan is what goes wrong and when. Nothing goes wrong twice at a time with the
// same thing, but everything may with all of them.
func (c *chaos) plan() []event {
	var out []event
	target := func(n uint64, gap, long time.Duration, fault func(rng *rand.Rand, at, until time.Duration) []event) {
		rng := rand.New(rand.NewPCG(c.seed, n))
		for at := gap/4 + upTo(rng, gap); at < c.length; at += gap/2 + upTo(rng, gap) {
			until := at + long/10 + upTo(rng, long-long/10)
			out = append(out, fault(rng, at, until)...)
			at = until
		}
	}
	for i := range c.replicas {
		target(uint64(i), 6*time.Second, 2*chaosLease, func(rng *rand.Rand, at, until time.Duration) []event {
			if rng.IntN(2) == 0 {
				until = at + (until-at)/3
				return []event{{at, func() { c.kill(i) }}, {until, func() { c.launch(i) }}}
			}
			return []event{{at, func() { c.stop(i, until-at) }}, {until, func() {}}}
		})
	}
	target(2, 8*time.Second, 2*time.Second, func(_ *rand.Rand, at, until time.Duration) []event {
		return []event{{at, c.killRedis}, {until, c.redis.Restart}}
	})
	for i, p := range []*proxy{c.toRedis, c.toSQL} {
		target(uint64(3+i), 6*time.Second, 2*time.Second, func(rng *rand.Rand, at, until time.Duration) []event {
			if rng.IntN(2) == 0 {
				return []event{{at, func() { c.count("cuts"); p.cut() }}}
			}
			return []event{{at, func() { c.count("stalls"); p.stall(until - at) }}}
		})
	}
	target(5, 3*time.Second, 100*time.Millisecond, func(rng *rand.Rand, at, _ time.Duration) []event {
		take := rng.IntN(2) == 0
		return []event{{at, func() { c.count("answers of Meta's cut"); c.graph.Fail(1, graphtest.Fault{Cut: true, Take: take}) }}}
	})
	slices.SortStableFunc(out, func(a, b event) int { return int(a.at - b.at) })
	return out
}

// play lets everything go wrong in its time, and then right again.
func (c *chaos) play(start time.Time) {
	c.Helper()
	for _, e := range c.plan() {
		<-time.NewTimer(time.Until(start.Add(e.at))).C
		e.do()
	}
	<-time.NewTimer(max(c.toRedis.pending(), c.toSQL.pending(), time.Until(start.Add(c.length)))).C
}

func (c *chaos) count(what string) { c.counts[what]++ }

func (c *chaos) kill(i int) {
	c.count("kill -9")
	c.replicas[i].kill()
}

// stop freezes a replica. It goes on by itself: what the controller does next
// may wait for what the frozen one holds.
func (c *chaos) stop(i int, long time.Duration) {
	c.Helper()
	c.count("SIGSTOP")
	p := c.replicas[i].cmd.Process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		c.Errorf("stop a replica: %v", err)
	}
	time.AfterFunc(long, func() { _ = p.Signal(syscall.SIGCONT) }) // it may be killed by then
}

func (c *chaos) killRedis() {
	c.count("Redis restarts")
	c.redis.Stop()
}

// heal waits until nothing is left to do.
func (c *chaos) heal() {
	c.Helper()
	none := func(query string) func() bool {
		return func() bool {
			var n int
			err := c.db.QueryRowContext(c.Context(), query).Scan(&n)
			return err == nil && n == 0
		}
	}
	c.until("all messages to be answered", 2*time.Minute, none(`SELECT (SELECT count(*) FROM messages WHERE state = 'waiting')
		+ (SELECT count(*) FROM runs WHERE status IN ('pending', 'running'))`))
	answered := time.Since(c.ended)
	c.until("all that can be known to be sent", time.Minute, none(`SELECT count(*) FROM sends WHERE state = 'ready' AND unknowns = 0
		AND NOT EXISTS (SELECT 1 FROM sends o WHERE o.conversation = sends.conversation AND o.state IN ('claimed', 'unknown'))`))
	sent := time.Since(c.ended)
	c.until("the end of all quarantines", 2*time.Minute, none(`SELECT count(*) FROM sends WHERE state IN ('ready', 'claimed') OR state = 'unknown' AND next_at > 0`))
	c.Logf("after the last fault: all was answered in %v, what nobody had in hand sent in %v, and the rest in %v",
		answered.Round(time.Millisecond), sent.Round(time.Millisecond), time.Since(c.ended).Round(time.Millisecond))
	for i := range c.replicas {
		c.proc = c.replicas[i]
		c.settled(time.Minute)
	}
}

func (c *chaos) String() string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		out = append(out, fmt.Sprintf("%d %s", c.counts[what], what))
	}
	return strings.Join(out, ", ")
}
