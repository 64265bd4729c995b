package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"wagent/gateway"
)

// A neighbour is the process that has the data directory, asked over its
// socket.
type neighbour struct {
	client  *http.Client
	account gateway.AccountID
}

// Start satisfies pairer.
func (n *neighbour) Start(ctx context.Context, method gateway.PairingMethod, phone string) (gateway.Pairing, error) {
	in := map[string]string{"method": string(method)}
	if phone != "" {
		in["phone_number"] = phone
	}
	s, err := n.call(ctx, http.MethodPost, "/pairing", map[string]any{"pairing": in})
	return s.pairing(), err
}

// Watch satisfies pairer.
func (n *neighbour) Watch(ctx context.Context) (gateway.Pairing, gateway.Link, error) {
	s, err := n.call(ctx, http.MethodGet, "", nil)
	return s.pairing(), gateway.Link{State: gateway.LinkState(s.Link.State), Reason: s.Link.Reason, Phone: s.PhoneNumber}, err
}

// Answer satisfies pairer.
func (n *neighbour) Answer(ctx context.Context, answer []byte) error {
	_, err := n.call(ctx, http.MethodPost, "/passkey", map[string]any{"passkey": json.RawMessage(answer)})
	return err
}

// Confirm satisfies pairer.
func (n *neighbour) Confirm(ctx context.Context) error {
	_, err := n.call(ctx, http.MethodPost, "/passkey/confirm", map[string]any{})
	return err
}

// neighbourSession is what the API says of a linked device.
type neighbourSession struct {
	PhoneNumber string `json:"phone_number"`
	Link        struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"link"`
	Pairing struct {
		Method         string          `json:"method"`
		Step           string          `json:"step"`
		QR             string          `json:"qr"`
		Code           string          `json:"code"`
		PasskeyOptions json.RawMessage `json:"passkey_options"`
		Error          string          `json:"error"`
		ExpiresAt      time.Time       `json:"expires_at"`
	} `json:"pairing"`
}

func (s *neighbourSession) pairing() gateway.Pairing {
	p := s.Pairing
	return gateway.Pairing{
		Method: gateway.PairingMethod(p.Method), Step: gateway.PairingStep(p.Step), QR: p.QR, Code: p.Code,
		Options: p.PasskeyOptions, Error: p.Error, ExpiresAt: p.ExpiresAt,
	}
}

func (n *neighbour) call(ctx context.Context, method, path string, in any) (s neighbourSession, err error) {
	err = askNeighbour(ctx, n.client, method, "/sessions/"+url.PathEscape(string(n.account))+path, in, &s)
	return s, err
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// askNeighbour calls the API of the process that has the data directory, under
// /api/v1, and reads what its answer is about into out, if that is not nil.
func askNeighbour(ctx context.Context, client *http.Client, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode what the running wagent is asked: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://wagent/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the running wagent: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	answer := struct {
		Data    any                 `json:"data"`
		Error   string              `json:"error"`
		Details map[string][]string `json:"details"`
	}{Data: out}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return fmt.Errorf("read the running wagent's answer (%s): %w", resp.Status, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return &gateway.Error{Kind: kindOf(resp.StatusCode), Msg: cmp.Or(answer.Error, resp.Status), Details: answer.Details}
	}
	return nil
}

// kindOf is what a status of the API means.
func kindOf(status int) gateway.Kind {
	switch status {
	case http.StatusNotFound:
		return gateway.NotFound
	case http.StatusConflict:
		return gateway.Conflict
	case http.StatusUnauthorized:
		return gateway.Unauthorized
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return gateway.Invalid
	default:
		return gateway.Unavailable
	}
}
