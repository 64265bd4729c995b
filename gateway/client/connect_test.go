package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway/client"
)

func TestWaitForConnectReturnsTheAccount(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string // of the connect; the last one stays
		want    string   // the account's id
		fails   string
		after   time.Duration
	}{
		"at once": {answers: []string{`{"status":"completed","account":{"id":"acc_9"}}`}, want: "acc_9"},
		"by its id, after a while": {
			answers: []string{`{"status":"pending"}`, `{"status":"pending"}`, `{"status":"completed","business_account_id":"acc_8"}`},
			want:    "acc_8", after: 4 * time.Second,
		},
		"never":                  {answers: []string{`{"status":"pending"}`, `{"status":"expired"}`}, fails: "it is expired", after: 2 * time.Second},
		"with why it failed":     {answers: []string{`{"status":"failed","error":"Meta refused"}`}, fails: "it is failed Meta refused"},
		"until the context ends": {answers: []string{`{"status":"pending"}`}, fails: "deadline exceeded", after: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks := 0
				api, err := client.New("http://wagent.test", testKey, client.WithHTTPClient(&http.Client{Transport: scripted(func(r *http.Request) string {
					if id, ok := strings.CutPrefix(r.URL.Path, "/api/v1/business_accounts/"); ok {
						return `{"data":{"id":"` + id + `"}}`
					}
					looks++
					return `{"data":` + c.answers[min(looks, len(c.answers))-1] + `}`
				})}))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				a, err := api.Accounts.WaitForConnect(ctx, "con_1")
				if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
					t.Errorf("WaitForConnect = %v, want %q", err, c.fails)
				}
				if c.fails == "deadline exceeded" && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("WaitForConnect = %v, which is no deadline", err)
				}
				if a.ID != c.want || time.Since(began) != c.after {
					t.Errorf("account %q after %v, want %q after %v", a.ID, time.Since(began), c.want, c.after)
				}
			})
		})
	}
}
