package post

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wagent/gateway"
)

// Sign returns the headers of one attempt to deliver body under a delivery's
// id: those of Standard Webhooks and those of the agents API beside them. The
// event's name, X-Webhook-Event, is not among them. An empty secret signs
// nothing; then the signatures are missing.
//
//   - webhook-id, webhook-timestamp, webhook-signature: "v1," and the base64
//     HMAC-SHA256 of "id.timestamp.body" (Standard Webhooks, "Signature
//     scheme"). The key of a secret whsec_… is what its base64 decodes to; any
//     other secret is taken as its bytes. Older secrets that are still good
//     each add a signature, after a space: a receiver takes any that it knows.
//   - X-Webhook-Signature and X-Whatsrb-Signature: "sha256=" and the hex
//     HMAC-SHA256 of the body under the secret as it is written. They have room
//     for one signature: older secrets do not sign here.
//   - X-Webhook-Timestamp: seconds since 1970, as in webhook-timestamp.
func Sign(secret gateway.Secret, id string, at time.Time, body []byte, older ...gateway.Secret) http.Header {
	seconds := strconv.FormatInt(at.Unix(), 10)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "wagent")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", seconds)
	h.Set("X-Webhook-Timestamp", seconds)
	if secret == "" {
		return h
	}
	var signatures []string
	for _, s := range append([]gateway.Secret{secret}, older...) {
		mac := sum(standardKey(string(s)), []byte(id+"."+seconds+"."), body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac))
	}
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
	plain := "sha256=" + hex.EncodeToString(sum([]byte(secret), body))
	h.Set("X-Webhook-Signature", plain)
	h.Set("X-Whatsrb-Signature", plain) // some published clients read only this one
	return h
}

// standardKey returns the key that a Standard Webhooks secret stands for.
func standardKey(secret string) []byte {
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(key) > 0 {
			return key
		}
	}
	return []byte(secret)
}

func sum(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		_, _ = mac.Write(p) // never fails (hash.Hash)
	}
	return mac.Sum(nil)
}
