package cloudapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

func TestAccountsAreLookedUpNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		d := newDirectory(f)
		looks := func(want int) {
			t.Helper()
			if f.looks != want {
				t.Errorf("%d queries, want %d", f.looks, want)
			}
		}
		for range 100 {
			if _, err := d.look(t.Context(), bookAge); err != nil {
				t.Fatal(err)
			}
		}
		looks(1)
		time.Sleep(bookAge - time.Nanosecond)
		_, _ = d.look(t.Context(), bookAge)
		looks(1)
		time.Sleep(time.Nanosecond)
		_, _ = d.look(t.Context(), bookAge)
		looks(2)
		for range 100 {
			_, _ = d.look(t.Context(), missAge)
		}
		looks(2)
		time.Sleep(missAge)
		_, _ = d.look(t.Context(), missAge)
		looks(3)
	})
}

func TestAFailureToLookIsRememberedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		f.fail["accounts"] = errors.New("away")
		d := newDirectory(f)
		for range 3 {
			if _, err := d.look(t.Context(), bookAge); err == nil {
				t.Fatal("no error")
			}
		}
		if f.looks != 1 {
			t.Errorf("%d queries, want 1", f.looks)
		}
		delete(f.fail, "accounts")
		time.Sleep(missAge)
		if _, err := d.look(t.Context(), bookAge); err != nil {
			t.Error(err)
		}
	})
}

// hungAccounts answers once the query is given up.
type hungAccounts struct{}

func (hungAccounts) Accounts(ctx context.Context) ([]gateway.Account, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAHungQueryIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(hungAccounts{})
		began := time.Now()
		for range 3 {
			go func() { _, _ = d.look(t.Context(), bookAge) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.look(ctx, bookAge); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("a waiter with a deadline got %v after %v", err, time.Since(began))
		}
		if _, err := d.look(t.Context(), bookAge); err == nil || time.Since(began) != lookTimeout {
			t.Errorf("a waiter got %v after %v", err, time.Since(began))
		}
	})
}

func TestANewAccountIsFoundWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		all := f.accounts
		post := func(h http.Handler, secret string, events ...graphtest.Event) int {
			body := graphtest.Body(numberA.Entry(ann.Text("wamid.a", "x")), numberB.Entry(events...))
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
			req.Header.Set("X-Hub-Signature-256", graphtest.Sign(secret, body))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			return w.Code
		}
		f.accounts = all[:2] // the sandbox and A
		h := NewHandler(f, f, f, slog.New(slog.DiscardHandler), nil)
		if status := post(h, secretB, ben.Text("wamid.b", "x")); status != 401 {
			t.Errorf("before B exists: %d", status)
		}
		b := all[2]
		f.accounts = append(all[:2:2], b)
		if status := post(h, secretB, ben.Text("wamid.b", "x")); status != 401 {
			t.Errorf("within the second: %d", status)
		}
		time.Sleep(missAge)
		if status := post(h, secretB, ben.Text("wamid.b", "x")); status != 200 || len(f.got()) != 1 {
			t.Errorf("a second later: %d, stored %v", status, f.got())
		}
		// B moves to A's app: its secret is new, the signature is known already.
		b.Cloud.AppSecret = secretA
		f.accounts = append(all[:2:2], b)
		time.Sleep(missAge)
		if status := post(h, secretA, ben.Text("wamid.b2", "x")); status != 200 || len(f.got()) != 3 {
			t.Errorf("after the move: %d, stored %v", status, f.got())
		}
	})
}
