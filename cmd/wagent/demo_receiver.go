package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiverSecret is what the demo's deliveries are signed with.
const receiverSecret = "whsec_d2FnZW50IGRlbW8gc2VjcmV0IG9mIDMyIGJ5dGVz"

// receiver is a customer's endpoint in the demo: a real HTTP server that
// verifies what comes with the published library, not with our own code.
type receiver struct {
	ln       net.Listener
	verifier *standardwebhooks.Webhook
	got      chan received
}

// received is one delivery.
type received struct {
	event, run, action string
	err                error // why it was refused; nil if its signature is right
}

func newReceiver(ctx context.Context) (*receiver, error) {
	verifier, err := standardwebhooks.NewWebhook(receiverSecret)
	if err != nil {
		return nil, fmt.Errorf("make the receiver's verifier: %w", err)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	return &receiver{ln: ln, verifier: verifier, got: make(chan received, 16)}, nil
}

func (r *receiver) url() string { return "http://" + r.ln.Addr().String() + "/hooks" }

func (r *receiver) close() { _ = r.ln.Close() }

func (r *receiver) serve(ctx context.Context) error {
	return serveHTTP(ctx, r.ln, r, time.Second, slog.New(slog.DiscardHandler))
}

// ServeHTTP verifies a delivery and takes note of it.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err == nil {
		err = r.verifier.Verify(body, req.Header)
	}
	var envelope struct {
		Event string
		Data  struct {
			RunID string `json:"run_id"`
			Type  string
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &envelope)
	}
	if err != nil {
		err = fmt.Errorf("the receiver refused a delivery: %w", err)
		w.WriteHeader(http.StatusUnauthorized)
	}
	tell(r.got, received{event: envelope.Event, run: envelope.Data.RunID, action: envelope.Data.Type, err: err})
}
