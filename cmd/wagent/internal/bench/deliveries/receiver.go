package deliveries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

// A receiver takes deliveries, and knows when each came.
type receiver struct {
	url    string
	server *http.Server
	came   []atomic.Int64 // by number: nanoseconds since base; 0: not yet
	base   time.Time
	prefix string // of the ids of what is counted
	twice  atomic.Int64
}

// body is what is sent: as long as what tells of a run with one action.
var body = []byte(`{"event":"agent_run.completed","data":{"run_id":"run_0123456789abcdef","id":"run_0123456789abcdef","agent_id":"agt_0123456789abcdef0123456789abcdef",` +
	`"status":"completed","triggered_by":"auto_inbound","from":"15550001234","metadata":{"conversation_key":"cnv_0123456789abcdef"},"output":{"intent":"room_service",` +
	`"confidence":0.93,"actions":[{"type":"hospitality.room_service.request","payload":{"room_number":"204","items":"two towels"}}],"language":"en","suggested_reply":` +
	`"Your towels are on their way.","analysis_summary":"The guest of room 204 asks for towels.","context_summary":"Room 204 asked for towels."}},"timestamp":"2026-11-21T13:05:00Z"}`)

// receive starts a receiver of n deliveries, whose endpoints that begin with /hang
// answer nothing for a while.
func receive(prefix string, n int, hang time.Duration) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing is resolved
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String(), came: make([]atomic.Int64, n), base: time.Now(), prefix: prefix}
	r.server = &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		now := int64(time.Since(r.base))
		_, _ = io.Copy(io.Discard, q.Body)
		if strings.HasPrefix(q.URL.Path, "/hang") {
			timer := time.NewTimer(hang)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-q.Context().Done():
			}
			return
		}
		number, err := strconv.Atoi(strings.TrimPrefix(q.Header.Get("Webhook-Id"), prefix))
		if err != nil || number < 0 || number >= n {
			return // of what nobody counts
		}
		if !r.came[number].CompareAndSwap(0, now) {
			r.twice.Add(1)
		}
	})}
	go func() { _ = r.server.Serve(l) }() // it ends by close
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// urls are so many endpoints of the receiver's.
func (r *receiver) urls(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = r.url + "/in/" + strconv.Itoa(i)
	}
	return out
}

// bare posts bodies that were signed before in a loop, so many at once, and returns how
// many a second are answered.
func (r *receiver) bare(ctx context.Context, posts, atOnce int) (float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, DisableCompression: true}}
	defer client.CloseIdleConnections()
	signed := post.Sign(gateway.Secret(secret), "del_bare", time.Now(), body)
	var left atomic.Int64
	left.Store(int64(posts))
	failures := make(chan error, atOnce)
	var wg sync.WaitGroup
	began := time.Now()
	for range atOnce {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := r.post(ctx, client, signed); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-failures:
		return 0, err
	default:
		return float64(posts) / took.Seconds(), nil
	}
}

func (r *receiver) post(ctx context.Context, client *http.Client, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/in/0", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
