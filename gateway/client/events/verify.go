package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	scheme = "sha256="
	// tolerance is how far the timestamp may be from the own clock, in both
	// directions.
	tolerance = 300 * time.Second
)

// ErrSignature is wrapped by the errors of what is not to be believed.
var ErrSignature = errors.New("the webhook is not authentic")

// VerifyWebhook returns nil if the body was signed with the secret (whsec_…) and
// is at most 300 s old. The signature is that of X-Webhook-Signature or
// X-Whatsrb-Signature, sha256= and a hex HMAC-SHA256 of the raw body; the
// timestamp is that of X-Webhook-Timestamp, in epoch seconds. WhatsRB Cloud's
// scheme does not sign the timestamp: it tells late deliveries, and whoever
// replays one on purpose is told only by what was seen before.
func VerifyWebhook(body []byte, secret, signature, timestamp string) error {
	if secret == "" {
		return errors.New("the webhook's secret is empty")
	}
	if err := recent(timestamp); err != nil {
		return err
	}
	given, err := hex.DecodeString(strings.TrimPrefix(signature, scheme))
	if err != nil || !strings.HasPrefix(signature, scheme) {
		return wrong("its signature is not sha256= and hex")
	}
	if !hmac.Equal(given, sum([]byte(secret), body)) {
		return wrong("its signature is another's")
	}
	return nil
}

func recent(timestamp string) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return wrong("its timestamp is no number of seconds")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return wrong("its timestamp is more than 300 s from now")
	}
	return nil
}

// Verify returns nil if one of the secrets signed the body under these headers:
// those of Standard Webhooks, whose signatures are several while a secret is
// being changed and cover id and time as well, or else those that
// [VerifyWebhook] takes. An error that is no mistake of the caller wraps
// [ErrSignature].
func Verify(h http.Header, body []byte, secrets ...string) error {
	err := errors.New("there is no secret to verify webhooks with")
	for _, secret := range secrets {
		if h.Get("webhook-signature") != "" {
			err = verifyStandard(h, body, secret)
		} else {
			signature := h.Get("X-Webhook-Signature")
			if signature == "" {
				signature = h.Get("X-Whatsrb-Signature")
			}
			err = VerifyWebhook(body, secret, signature, h.Get("X-Webhook-Timestamp"))
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// verifyStandard is Standard Webhooks, "Verifying webhook authenticity": "v1,"
// and base64, of which there may be several with a space between them.
func verifyStandard(h http.Header, body []byte, secret string) error {
	timestamp := h.Get("webhook-timestamp")
	if secret == "" {
		return errors.New("the webhook's secret is empty")
	}
	if err := recent(timestamp); err != nil {
		return err
	}
	want := sum(standardKey(secret), []byte(h.Get("webhook-id")+"."+timestamp+"."), body)
	for s := range strings.FieldsSeq(h.Get("webhook-signature")) {
		encoded, ok := strings.CutPrefix(s, "v1,")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(given, want) {
			return nil
		}
	}
	return wrong("its signature is another's")
}

// standardKey is what the base64 of a whsec_… secret decodes to, and the bytes of
// any other secret.
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
		mac.Write(p) // never fails (hash.Hash)
	}
	return mac.Sum(nil)
}

type wrong string

func (w wrong) Error() string        { return ErrSignature.Error() + ": " + string(w) }
func (w wrong) Is(target error) bool { return target == ErrSignature }
