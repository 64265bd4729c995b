package gateway

import (
	"context"
	"log/slog"
	"time"
)

// The times of a send. Nothing is sent again before a claim's deadline plus
// sendQuarantine: by then a stalled process has looked at its deadline and
// let go, and WhatsApp has told of what it took.
const (
	SendDeadline   = 10 * time.Second
	SendQuarantine = 60 * time.Second
)

// An Outbox sends what is due in the outbox table, under the rules of
// sending: no message of an agent's into a conversation that somebody paused, none past the
// service window, no template that waited for as long, none of an account that is not in
// use any more, none twice but after an unknown end.
type Outbox struct {
	Store    SendStore
	Channels map[AccountKind]Channel
	Holder   string // under which name this process holds linked devices; empty: it holds none
	Resend   bool   // send once more after an unknown end, or else hold
	Drain    time.Duration
	Observe  func(s *Send) // told of each send that was settled; may be nil
	// Met takes note that WhatsApp knows whom we wrote to by another number than we
	// wrote to. It may be nil. What it fails to is told again with the next send.
	Met func(ctx context.Context, account AccountID, asked, known Address) error
	Log *slog.Logger

	loop Loop[ClaimedSend]
}

// A Channel transmits to WhatsApp.
type Channel interface {
	// Transmit sends one message and returns WhatsApp's id of it. The context
	// ends at the claim's deadline. An error's kind says what is known:
	// Ambiguous if the message may have been taken, Unavailable or RateLimited
	// if it was not and may be later, anything else if it was refused. It sets
	// s.Met where WhatsApp says whom it reached.
	Transmit(ctx context.Context, a *Account, s *Send) (externalID string, err error)
}

// SendStore keeps the outbox.
type SendStore interface {
	// ClaimSends settles what the rules stop (a pause, the end of the service
	// window or of the account, claims whose quarantine is over) and claims at most limit sends
	// that are due, oldest first and one per conversation, each with a
	// deadline. Those of linked devices are claimed only where holder holds the
	// account. next is when to ask again: in a moment after a claim; zero if none
	// waits, and if limit was reached.
	ClaimSends(ctx context.Context, holder string, resend bool, limit int) (claimed []ClaimedSend, settled []Send, next time.Time, err error)
	// SettleSend records how an attempt ended: s.State with s.ExternalID,
	// s.Error, s.NextAt and s.Unknowns. It reports whether the send stands so:
	// where another claim or a status update of WhatsApp's said otherwise
	// first, it changes nothing. It may be repeated.
	SettleSend(ctx context.Context, s *Send) (stands bool, err error)
}

// A ClaimedSend is a send in hand, with the account that it leaves from.
type ClaimedSend struct {
	Send    Send
	Account Account
}

// Run sends until ctx is done, then what is due still, for Drain or until the
// time of the Stop with which ctx ended. What
// is being written then has until its claim's deadline. It may be called once.
func (o *Outbox) Run(ctx context.Context) error {
	o.init()
	return o.loop.Run(ctx)
}

// Wake tells the outbox that a send was added. It never blocks.
func (o *Outbox) Wake() { o.loop.Wake() }

func (o *Outbox) init() {
	o.loop.Name, o.loop.Slots, o.loop.Drain, o.loop.Flush, o.loop.Log = "outbox", 64, o.Drain, true, o.Log
	o.loop.Claim = func(ctx context.Context, limit int) ([]ClaimedSend, time.Time, error) {
		claimed, settled, next, err := o.Store.ClaimSends(ctx, o.Holder, o.Resend, limit)
		for i := range settled {
			o.observe(ctx, &settled[i])
		}
		return claimed, next, err
	}
	o.loop.Work = o.transmit
}

func (o *Outbox) transmit(ctx context.Context, c ClaimedSend) {
	s := &c.Send
	channel, ok := o.Channels[c.Account.Kind]
	var id string
	var err error
	switch {
	case !ok:
		err = &Error{Kind: Invalid, Msg: "no channel for accounts of kind " + string(c.Account.Kind)}
	case !time.Now().Before(s.Deadline):
		err = &Error{Kind: Unavailable, Msg: "the claim's deadline passed before the write"}
	default:
		// A write that has begun is waited for, past a shutdown's drain too: cut
		// short, nobody knows its end, and the customer may get it twice.
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), s.Deadline)
		id, err = channel.Transmit(ctx, &c.Account, s)
		cancel()
	}
	o.settle(s, id, err)
	defer o.meet(ctx, s)
	switch stands, err := o.record(ctx, s); {
	case err != nil:
		// The claim runs out by itself: the send then counts as unknown.
		o.Log.ErrorContext(ctx, "settle send", "send", s.ID, "state", s.State, "err", err)
	case !stands:
		o.Log.InfoContext(ctx, "send was settled otherwise first", "send", s.ID, "account", s.Account, "attempt", s.Attempt, "attempt_ended", s.State)
	default:
		o.observe(ctx, s)
		if s.State == SendReady {
			o.loop.Wake()
		}
	}
}

// meet has it noted whom WhatsApp says that a send reached, after what became of it.
func (o *Outbox) meet(ctx context.Context, s *Send) {
	if o.Met == nil || s.State != SendAccepted || s.Met.Phone == "" || s.Met.Phone == s.To.Phone {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := o.Met(ctx, s.Account, s.To, s.Met); err != nil {
		o.Log.WarnContext(ctx, "number of a send not taken for another of the same person", "send", s.ID, "account", s.Account, "err", err)
	}
}

// Writing down how an attempt ended: how long one try may take, and the waits
// between them.
const (
	recordTimeout = 5 * time.Second
	recordFirst   = 100 * time.Millisecond
	recordMost    = 5 * time.Second
)

// record writes down how an attempt ended, again and again while that fails:
// what WhatsApp took must not be sent twice because the database was away for a
// moment. It gives up when the attempt counts as unknown anyhow, or when ctx
// ends, after one more try.
func (o *Outbox) record(ctx context.Context, s *Send) (stands bool, err error) {
	until := s.Deadline.Add(SendQuarantine)
	for wait := recordFirst; ; wait = min(2*wait, recordMost) {
		last := ctx.Err() != nil
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
		stands, err := o.Store.SettleSend(try, s)
		cancel()
		if err == nil || last || !time.Now().Add(wait).Before(until) {
			return stands, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// settle turns the answer of a channel into the send's next state.
func (o *Outbox) settle(s *Send, externalID string, err error) {
	if err == nil {
		s.State, s.ExternalID, s.Error = SendAccepted, externalID, ""
		return
	}
	s.Error = publicText(err)
	switch KindOf(err) {
	case Ambiguous, Internal: // what nobody classified may have been taken
		// The store sends it again, or not, once its quarantine is over.
		s.State, s.NextAt = SendUnknown, s.Deadline.Add(SendQuarantine)
		s.Unknowns++
	case RateLimited, Unavailable, Unauthorized:
		// Not taken. It is tried until the service window ends, and a template for
		// as long; people mend tokens.
		s.State, s.NextAt = SendReady, time.Now().Add(sendBackoff(s.Attempt, err))
	default:
		s.State = SendRefused
	}
}

// sendBackoff is 1 s doubled per attempt, at most 5 min, and never less than
// what the error asks for.
func sendBackoff(attempt int, err error) time.Duration {
	d := min(time.Second<<min(max(attempt-1, 0), 10), 5*time.Minute)
	if e, ok := asError(err); ok {
		d = max(d, min(e.RetryAfter, time.Hour))
	}
	return d
}

func (o *Outbox) observe(ctx context.Context, s *Send) {
	o.Log.InfoContext(ctx, "send", "send", s.ID, "account", s.Account, "conversation", s.Conversation,
		"origin", s.Origin, "origin_id", s.OriginID, "state", s.State, "attempt", s.Attempt, "reason", s.Error)
	if o.Observe != nil {
		o.Observe(s)
	}
}
