//go:build watest

package watest

import (
	"encoding/json"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// A refusal is why a login fails.
type refusal struct {
	reason int
	expiry time.Duration // of a temporary ban
}

func (r *refusal) node() node {
	a := attrs{"reason": strconv.Itoa(r.reason), "location": "watest"}
	if r.expiry > 0 {
		a["code"], a["expire"] = "101", strconv.Itoa(int(r.expiry.Seconds())) // 101: sent to too many people
	}
	return node{Tag: "failure", Attrs: a}
}

// Refuse answers every login of d with that reason, until Admit, and cuts the
// connection that it has. A nil d is everybody, those who pair included. The
// expiry, in whole seconds, is that of a temporary ban (402); 0 says none.
func (s *Server) Refuse(d *Device, reason int, expiry time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &refusal{reason: reason, expiry: expiry}
	if d == nil {
		s.refusal = r
	} else {
		d.refusal = r
	}
	for c := range s.conns {
		if d == nil || c.dev == d {
			c.drop()
		}
	}
}

// Admit ends what Refuse began. A nil d is everybody, except whom Refuse named.
func (s *Server) Admit(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == nil {
		s.refusal = nil
	} else {
		d.refusal = nil
	}
}

// StreamError ends d's connection with that code: 515 asks for another login,
// 503 says that the server restarts.
func (s *Server) StreamError(d *Device, code int) {
	s.dismiss(d, node{Tag: "stream:error", Attrs: attrs{"code": strconv.Itoa(code)}})
}

// Replace ends d's connection as another process's login under the same
// session does. A real second login does it too.
func (s *Server) Replace(d *Device) { s.dismiss(d, conflict("replaced")) }

// Unlink removes d on the phone: the connection ends, and logins are refused
// with 401.
func (p *Phone) Unlink(d *Device) {
	n := conflict("device_removed")
	n.Attrs = attrs{"code": "401"}
	p.s.dismiss(d, n)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	d.unlink()
	p.s.touch()
}

func conflict(kind string) node {
	return node{Tag: "stream:error", Content: []node{{Tag: "conflict", Attrs: attrs{"type": kind}}}}
}

func (s *Server) dismiss(d *Device, n node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := d.conn(); c != nil {
		c.dismiss(n)
	}
	s.touch()
}

// Nack refuses the next messages that d sends, one code for each: 463 says
// that the account may not write to strangers, 479 that the addressee is
// unknown.
func (s *Server) Nack(d *Device, codes ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.nacks = append(d.nacks, codes...)
}

// Timelock tells d that its account may not write to strangers until then. The
// notice alone refuses nothing: see Nack.
func (s *Server) Timelock(d *Device, until time.Time) {
	content, err := json.Marshal(map[string]any{"data": map[string]any{"xwa2_notify_account_reachout_timelock": map[string]any{
		"is_active": true, "enforcement_type": "BIZ_QUALITY", "time_enforcement_ends": strconv.FormatInt(until.Unix(), 10),
	}}})
	if err != nil {
		panic(err) // of our own making
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.push(node{
		Tag: "notification", Attrs: attrs{"from": types.ServerJID, "type": "mex", "id": s.newID(), "t": time.Now().Unix()},
		Content: []node{{Tag: "update", Attrs: attrs{"op_name": "NotificationAccountReachoutTimelock"}, Content: content}},
	}, nil)
}
