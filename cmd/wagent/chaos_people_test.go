package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// A person writes numbered words, one after the other, and knows which of them
// were taken.
type person struct {
	*chaos
	graphtest.Customer
	n       int
	account gateway.AccountID
	rng     *rand.Rand
	gap     time.Duration // between words, at most
	words   int           // written so far
	taken   []string      // acknowledged, in this order
	lost    []string      // the sandbox gave no answer: they may be on record
}

func newPerson(c *chaos, n int) *person {
	p := &person{
		chaos: c, Customer: graphtest.Customer{Phone: fmt.Sprint(491700000000 + n), Name: "Customer"},
		n: n, account: accountOf(n), rng: rand.New(rand.NewPCG(c.seed, uint64(1000+n))), gap: 600 * time.Millisecond,
	}
	if supersedingAccount(p.account) {
		p.gap = thinkLong
	}
	return p
}

// write writes two bursts of one to three words each, at any time.
func (p *person) write(start time.Time) {
	bursts := make([]time.Duration, 2)
	for i := range bursts {
		bursts[i] = upTo(p.rng, p.length)
	}
	slices.Sort(bursts)
	for _, at := range bursts {
		p.pause(time.Until(start.Add(at)))
		for range 1 + p.rng.IntN(3) {
			p.say()
			p.pause(upTo(p.rng, p.gap))
		}
	}
}

// say writes the next word until it is taken. Meta delivers again under the same
// id, less and less often; who writes to a sandbox writes another word.
func (p *person) say() {
	for wait := 200 * time.Millisecond; p.Context().Err() == nil; wait = min(2*wait, 4*time.Second) {
		word := fmt.Sprintf("c%04d-%02d", p.n, p.words)
		if p.post(word) {
			p.taken = append(p.taken, word)
			p.words++
			return
		}
		if _, again := numbers[p.account]; !again {
			p.lost = append(p.lost, word)
			p.words++
		}
		p.pause(wait/2 + upTo(p.rng, wait))
	}
}

// post hands a word to one of the replicas, and reports whether it was taken.
func (p *person) post(word string) bool {
	base := *p.urls[p.rng.IntN(len(p.urls))].Load()
	if number, ok := numbers[p.account]; ok {
		return p.deliver(p.Context(), base, number.Entry(p.Text("wamid."+word, word)))
	}
	body, err := json.Marshal(map[string]any{"message": map[string]any{"from": "+" + p.Phone, "text": word}})
	if err != nil {
		panic(err)
	}
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, base+"/api/v1/sandbox/"+url.PathEscape(string(p.account))+"/messages", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer key-of-the-crash-test")
	req.Header.Set("Content-Type", "application/json")
	return p.ask(req, http.StatusCreated)
}

// deliver posts a webhook of Meta's and reports whether it was taken.
func (c *chaos) deliver(ctx context.Context, base string, e graphtest.Entry) bool {
	req, err := graphtest.Request(ctx, base+"/webhooks/whatsapp", appSecret, graphtest.Body(e))
	if err != nil {
		panic(err)
	}
	return c.ask(req, http.StatusOK)
}

func (c *chaos) ask(req *http.Request, want int) bool {
	resp, err := c.client.Do(req)
	if err != nil {
		return false // it is down, or stopped
	}
	said, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != want && resp.StatusCode < 500 {
		c.Errorf("%s answered %d: %s", req.URL.Path, resp.StatusCode, said)
	}
	return resp.StatusCode == want
}

// pause waits, unless the test ends.
func (c *chaos) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Context().Done():
	}
}

// tellStatuses has Meta tell, of the first account, that each message was sent,
// until it is taken. The function that it returns ends that.
func (c *chaos) tellStatuses() (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		var g errgroup.Group
		g.SetLimit(8)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for told := 0; ctx.Err() == nil; {
			sent := c.graph.Sent()
			for _, s := range sent[told:] {
				if s.PhoneNumberID != numbers[toldAccount].PhoneNumberID {
					continue
				}
				status := numbers[toldAccount].Entry(graphtest.Status(s.ID, s.To, "sent", s.CallbackData))
				g.Go(func() error {
					for ctx.Err() == nil && !c.deliver(ctx, *c.urls[rand.IntN(len(c.urls))].Load(), status) {
						c.pause(100 * time.Millisecond)
					}
					return nil
				})
			}
			told = len(sent)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		_ = g.Wait()
	})
	return func() { cancel(); telling.Wait() }
}

// proxyPostgres puts a proxy before the database of a URL that names the folder
// of its socket, and returns the URL that goes through it.
func proxyPostgres(t *testing.T, direct string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	p := newProxy(t, "unix", strings.TrimSuffix(q.Get("host"), "/")+"/.s.PGSQL.5432")
	q.Del("host")
	u.Host, u.RawQuery = p.addr(), q.Encode()
	return p, u.String()
}

// upTo returns a time of at most d.
func upTo(rng *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(d)))
}
