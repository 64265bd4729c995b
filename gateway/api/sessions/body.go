package sessions

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"rsc.io/qr"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// sessionBody is a session as clients see it. Link and Pairing are ours; of what
// they say, the SDKs read the reason and the time elsewhere.
type sessionBody struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Status      string       `json:"status" enum:"connecting,qr_pending,connected,disconnected"`
	Why         *string      `json:"status_reason" description:"Why it is not connected: of the link or, where that says nothing, of the pairing"`
	Connected   bool         `json:"connected"`
	PhoneNumber *string      `json:"phone_number"`
	QRCode      *string      `json:"qr_code" description:"A picture, as a data URL"`
	LastConnect *string      `json:"last_connected_at"`
	CreatedAt   *string      `json:"created_at"`
	UpdatedAt   *string      `json:"updated_at"`
	Link        linkBody     `json:"link"`
	Pairing     *pairingBody `json:"pairing"`
}

// linkBody is how the connection stands; the words of state are
// [gateway.LinkState]'s.
type linkBody struct {
	State        string  `json:"state"`
	Reason       *string `json:"reason"`
	RetryAt      *string `json:"retry_at"`
	NoFirstUntil *string `json:"no_first_messages_until"`
	ConnectedAt  *string `json:"connected_at"`
	LastFrameAt  *string `json:"last_frame_at"`
}

// pairingBody is what a try to link waits for; the words of step are
// [gateway.PairingStep]'s. QR is what the picture of qr_code holds, for those
// who draw it themselves.
type pairingBody struct {
	Method         string          `json:"method"`
	Step           string          `json:"step"`
	QR             *string         `json:"qr"`
	Code           *string         `json:"code"`
	PasskeyOptions json.RawMessage `json:"passkey_options"`
	Error          *string         `json:"error"`
	ExpiresAt      *string         `json:"expires_at"`
}

// The values of status.
const (
	statusConnecting   = "connecting"
	statusQR           = "qr_pending"
	statusConnected    = "connected"
	statusDisconnected = "disconnected"
)

// A session is what is known of one. Its pairing is nil if there was none.
type session struct {
	account gateway.Account
	link    gateway.Link
	pairing *gateway.Pairing
}

func (s *session) body(now time.Time) (sessionBody, error) {
	b := sessionBody{
		ID: string(s.account.ID), Name: s.account.Name, Status: s.status(now), Why: wire.OrNull(s.why()), Connected: s.link.State == gateway.LinkConnected,
		PhoneNumber: wire.OrNull(s.link.Phone), LastConnect: wire.Stamp(s.link.ConnectedAt), CreatedAt: wire.Stamp(s.account.CreatedAt), UpdatedAt: wire.Stamp(s.updatedAt()),
		Link: linkBody{
			State: string(s.link.State), Reason: wire.OrNull(s.link.Reason), RetryAt: wire.Stamp(s.link.RetryAt),
			NoFirstUntil: wire.Stamp(s.link.NoFirstUntil), ConnectedAt: wire.Stamp(s.link.ConnectedAt), LastFrameAt: wire.Stamp(s.link.LastFrameAt),
		},
	}
	p := s.pairing
	if p == nil {
		return b, nil
	}
	b.Pairing = &pairingBody{
		Method: string(p.Method), Step: string(p.Step), Code: wire.OrNull(p.Code), PasskeyOptions: p.Options,
		Error: wire.OrNull(p.Error), ExpiresAt: wire.Stamp(p.ExpiresAt),
	}
	if s.showsQR(now) {
		url, err := picture(p.QR)
		if err != nil {
			return b, fmt.Errorf("draw QR code of account %s: %w", s.account.ID, err)
		}
		b.QRCode, b.Pairing.QR = &url, &p.QR
	}
	return b, nil
}

func (s *session) status(now time.Time) string {
	switch {
	case s.link.State == gateway.LinkConnected:
		return statusConnected
	case s.showsQR(now):
		return statusQR
	case s.link.State == gateway.LinkConnecting, s.pairing != nil && !s.pairing.Step.Over():
		return statusConnecting
	default:
		return statusDisconnected
	}
}

// why says why there is no connection, as far as anything does.
func (s *session) why() string {
	if s.link.State == gateway.LinkConnected {
		return ""
	}
	if s.link.Reason == "" && s.pairing != nil {
		return s.pairing.Error
	}
	return s.link.Reason
}

// showsQR reports whether there is a picture that a phone can scan. One whose
// time is over is none: the process that would have renewed it may be dead.
func (s *session) showsQR(now time.Time) bool {
	p := s.pairing
	return p != nil && p.Step == gateway.StepQR && p.QR != "" && (p.ExpiresAt.IsZero() || now.Before(p.ExpiresAt))
}

// updatedAt is when any part of the session was last written.
func (s *session) updatedAt() time.Time {
	times := []time.Time{s.account.CreatedAt, s.link.UpdatedAt}
	if s.pairing != nil {
		times = append(times, s.pairing.UpdatedAt)
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

const (
	// minPicture is in pixels, what WhatsApp Web shows; phones scan it from a
	// screen without trouble.
	minPicture = 264
	// quiet is how many modules stay white on each side (ISO/IEC 18004), which
	// the encoder adds.
	quiet = 4
	// moduleSize is in pixels, more where the code is small.
	moduleSize = 8
)

// picture is a PNG of a QR code as a data URL.
func picture(text string) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", err
	}
	modules := code.Size + 2*quiet
	code.Scale = max(moduleSize, (minPicture+modules-1)/modules)
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(code.PNG()), nil
}
