package post

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"wagent/gateway"
)

func TestSignMatchesTheContractsVector(t *testing.T) {
	h := Sign("whsec_test", "del_1", time.Unix(1_700_000_000, 0), []byte(`{"event":"agent_run.completed","data":{"id":"run_1"}}`))
	const want = "sha256=6a40c5461750992a8d4403cbbc10a8a81f11e6727737f0d5d4199d0c3fec6b3f"
	for _, name := range []string{"X-Webhook-Signature", "X-Whatsrb-Signature"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestSignVerifiesAsStandardWebhooks(t *testing.T) {
	body := []byte(`{"event":"agent_run.completed","data":{}}`)
	tests := map[string]struct {
		secret gateway.Secret
		key    []byte // nil: what the library makes of the secret
	}{
		"a whsec secret is base64":             {secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
		"a plain secret is its bytes":          {secret: "a plain secret", key: []byte("a plain secret")},
		"whsec without base64 is its bytes":    {secret: "whsec_not base64!", key: []byte("whsec_not base64!")},
		"a prefix alone is its bytes":          {secret: "whsec_", key: []byte("whsec_")},
		"base64 without the prefix is a plain": {secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key: []byte("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wh, err := standardwebhooks.NewWebhookRaw(tt.key)
			if tt.key == nil {
				wh, err = standardwebhooks.NewWebhook(string(tt.secret))
			}
			if err != nil {
				t.Fatal(err)
			}
			h := Sign(tt.secret, "del_1", time.Now(), body)
			if err := wh.Verify(body, h); err != nil {
				t.Errorf("Verify = %v", err)
			}
			if err := wh.Verify(append([]byte(" "), body...), h); err == nil {
				t.Error("another body verifies too")
			}
			h.Set("webhook-id", "del_2")
			if err := wh.Verify(body, h); err == nil {
				t.Error("another id verifies too")
			}
		})
	}
}

func TestSignWithoutASecretSignsNothing(t *testing.T) {
	want := http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"wagent"}, "Webhook-Id": {"del_1"},
		"Webhook-Timestamp": {"1700000000"}, "X-Webhook-Timestamp": {"1700000000"},
	}
	if diff := cmp.Diff(want, Sign("", "del_1", time.Unix(1_700_000_000, 999), []byte(`{}`))); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func ExampleSign() {
	h := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1_614_265_330, 0), []byte(`{"test": 2432232314}`))
	fmt.Println(h.Get("webhook-id"), h.Get("webhook-timestamp"))
	fmt.Println(h.Get("webhook-signature"))
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek 1614265330
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

func TestBothSecretsSignWhileOneReplacesTheOther(t *testing.T) {
	const secret, older = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	body := []byte(`{"event":"agent_run.completed","data":{}}`)
	h := Sign(secret, "del_1", time.Now(), body, older)
	for _, s := range []string{secret, older} {
		wh, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(body, h); err != nil {
			t.Errorf("under %s: %v", s, err)
		}
	}
	alone := Sign(secret, "del_1", time.Now(), body)
	if got, want := h.Get("X-Webhook-Signature"), alone.Get("X-Webhook-Signature"); got != want {
		t.Errorf("X-Webhook-Signature is %s, want the new secret's %s", got, want)
	}
}

// TestSignSignsAsTheLibraryForJavaScript holds signatures against those that the
// library that testdata/javascript.json names made: new Webhook(secret).sign(id, new
// Date(timestamp*1000), body).
func TestSignSignsAsTheLibraryForJavaScript(t *testing.T) {
	src, err := os.ReadFile("testdata/javascript.json")
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Vectors []struct {
			Secret    gateway.Secret
			ID, Body  string
			Signature string
			Timestamp int64
		}
	}
	if err := json.Unmarshal(src, &made); err != nil || len(made.Vectors) < 3 {
		t.Fatalf("%d vectors, %v", len(made.Vectors), err)
	}
	older := made.Vectors[0]
	for _, v := range made.Vectors {
		h := Sign(v.Secret, v.ID, time.Unix(v.Timestamp, 0), []byte(v.Body))
		if got := h.Get("Webhook-Signature"); got != v.Signature {
			t.Errorf("%s: %s, want %s", v.ID, got, v.Signature)
		}
	}
	h := Sign("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", older.ID, time.Unix(older.Timestamp, 0), []byte(older.Body), older.Secret)
	if got := strings.Fields(h.Get("Webhook-Signature")); len(got) != 2 || got[1] != older.Signature {
		t.Errorf("while one replaces the other: %v", got)
	}
}
