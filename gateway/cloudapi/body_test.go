package cloudapi

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway/cloudapi/graphtest"
)

// A trickle is a body that stops before its end until its sender goes away.
type trickle struct {
	io.Reader
	ctx context.Context
}

func (b trickle) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	return n, err
}

func TestStrangersWithLargeBodiesDoNotKeepMetaOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		h := NewHandler(store, store, store, slog.New(slog.DiscardHandler), nil)
		ctx, leave := context.WithCancel(t.Context())
		status := make(chan int, 100)
		post := func(ctx context.Context, body io.Reader, signature string) {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", body)
			r.Header.Set(signatureHeader, signature)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			status <- w.Code
		}
		forged := "sha256=" + strings.Repeat("0", 64)
		large := bytes.Repeat([]byte(" "), 2*smallBody)
		for range largeBodies {
			go post(ctx, trickle{bytes.NewReader(large), ctx}, forged)
		}
		synctest.Wait()
		small := graphtest.Body(numberA.Entry(ann.Text("wamid.1", "x")))
		post(t.Context(), bytes.NewReader(small), graphtest.Sign(secretA, small))
		if got := <-status; got != 200 {
			t.Errorf("a body of the usual size is answered %d, want 200", got)
		}
		began := time.Now()
		post(t.Context(), bytes.NewReader(large), graphtest.Sign(secretA, large))
		if got, took := <-status, time.Since(began); got != 503 || took != largeWait {
			t.Errorf("one large body more is answered %d after %v, want 503 after %v", got, took, largeWait)
		}
		leave()
		synctest.Wait()
		for range largeBodies {
			if got := <-status; got != 400 {
				t.Errorf("a body that broke off is answered %d, want 400", got)
			}
		}
		signed := append(large, small...)
		post(t.Context(), bytes.NewReader(signed), graphtest.Sign(secretA, signed))
		if got := <-status; got != 200 {
			t.Errorf("a large body is answered %d once there is room, want 200", got)
		}
	})
}
