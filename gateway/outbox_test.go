package gateway_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// sendStore is an outbox of one send.
type sendStore struct {
	mu      sync.Mutex
	send    gateway.Send
	settled []gateway.Send
	first   gateway.SendState // what a status update made of the send meanwhile; empty: nothing
}

func (s *sendStore) ClaimSends(_ context.Context, _ string, _ bool, _ int) ([]gateway.ClaimedSend, []gateway.Send, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.send.State != gateway.SendReady {
		return nil, nil, time.Time{}, nil
	}
	if s.send.NextAt.After(time.Now()) {
		return nil, nil, s.send.NextAt, nil
	}
	s.send.State, s.send.Deadline = gateway.SendClaimed, time.Now().Add(gateway.SendDeadline)
	s.send.Attempt++
	return []gateway.ClaimedSend{{Send: s.send, Account: gateway.Account{Kind: gateway.Sandbox}}}, nil, time.Time{}, nil
}

func (s *sendStore) SettleSend(_ context.Context, x *gateway.Send) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = append(s.settled, *x)
	if s.first != "" {
		s.send.State = s.first
		return s.first == x.State, nil
	}
	s.send = *x
	return true, nil
}

// channel answers one error after the other, then takes the message.
type channel struct{ errs []error }

func (c *channel) Transmit(context.Context, *gateway.Account, *gateway.Send) (string, error) {
	if len(c.errs) == 0 {
		return "wamid.1", nil
	}
	err := c.errs[0]
	c.errs = c.errs[1:]
	return "", err
}

func TestOutboxSettlesByKind(t *testing.T) {
	kind := func(k gateway.Kind) error { return &gateway.Error{Kind: k, Msg: "no"} }
	tests := map[string]struct {
		errs     []error
		state    gateway.SendState
		attempts int
		after    time.Duration
	}{
		"taken at once":                        {nil, gateway.SendAccepted, 1, 0},
		"not reached: again after 1 s and 2 s": {[]error{kind(gateway.Unavailable), kind(gateway.Unavailable)}, gateway.SendAccepted, 3, 3 * time.Second},
		"a rate limit says how long":           {[]error{&gateway.Error{Kind: gateway.RateLimited, RetryAfter: 30 * time.Second}}, gateway.SendAccepted, 2, 30 * time.Second},
		"a bad token is tried again":           {[]error{kind(gateway.Unauthorized)}, gateway.SendAccepted, 2, time.Second},
		"a closed window is final":             {[]error{kind(gateway.WindowClosed)}, gateway.SendRefused, 1, 0},
		"a refusal is final":                   {[]error{kind(gateway.Invalid)}, gateway.SendRefused, 1, 0},
		"nobody knows":                         {[]error{kind(gateway.Ambiguous)}, gateway.SendUnknown, 1, 0},
		"what is not classified is not known":  {[]error{errors.New("boom")}, gateway.SendUnknown, 1, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				store := &sendStore{send: gateway.Send{ID: "msg_1", State: gateway.SendReady}}
				var at time.Duration
				o := &gateway.Outbox{
					Store: store, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: &channel{errs: tt.errs}},
					Log: quiet(), Observe: func(*gateway.Send) { at = time.Since(start) },
				}
				ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
				defer stop()
				if err := o.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if store.send.State != tt.state || store.send.Attempt != tt.attempts || at != tt.after {
					t.Errorf("%s after %d attempts and %v, want %s, %d, %v", store.send.State, store.send.Attempt, at, tt.state, tt.attempts, tt.after)
				}
				if tt.state == gateway.SendUnknown && !store.send.NextAt.Equal(start.Add(gateway.SendDeadline+gateway.SendQuarantine)) {
					t.Errorf("looked at again %v after the claim", store.send.NextAt.Sub(start))
				}
			})
		})
	}
}

// A status update may say what became of a send before its attempt ends.
func TestOutboxTellsOnlyOfWhatStands(t *testing.T) {
	lost := &gateway.Error{Kind: gateway.Ambiguous, Msg: "the answer was lost"}
	for name, tt := range map[string]struct {
		errs  []error
		first gateway.SendState
		told  []gateway.SendState
	}{
		"nothing was said before":               {[]error{lost}, "", []gateway.SendState{gateway.SendUnknown}},
		"it was accepted, and nobody knew":      {[]error{lost}, gateway.SendAccepted, nil},
		"it was accepted, as the attempt was":   {nil, gateway.SendAccepted, []gateway.SendState{gateway.SendAccepted}},
		"it was accepted, \"not taken\" or not": {[]error{&gateway.Error{Kind: gateway.Unavailable, Msg: "not taken"}}, gateway.SendAccepted, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &sendStore{send: gateway.Send{ID: "msg_1", State: gateway.SendReady}, first: tt.first}
				var told []gateway.SendState
				o := &gateway.Outbox{
					Store: store, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: &channel{errs: tt.errs}},
					Log: quiet(), Observe: func(s *gateway.Send) { told = append(told, s.State) },
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				if err := o.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.told, told); diff != "" || len(store.settled) != 1 {
					t.Errorf("settled %d times; told (-want +got):\n%s", len(store.settled), diff)
				}
			})
		})
	}
}

func TestOutboxLooksAtTheDeadlineBeforeTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &stalled{sendStore: sendStore{send: gateway.Send{ID: "msg_1", State: gateway.SendReady}}}
		wrote := &channel{}
		o := &gateway.Outbox{Store: store, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: wrote}, Log: quiet()}
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		_ = o.Run(ctx)
		if s := store.settled[0]; s.State != gateway.SendReady {
			t.Errorf("a claim whose deadline had passed became %s", s.State)
		}
	})
}

// stalled is a store whose claims come back too late.
type stalled struct{ sendStore }

func (s *stalled) ClaimSends(ctx context.Context, holder string, resend bool, limit int) ([]gateway.ClaimedSend, []gateway.Send, time.Time, error) {
	c, settled, next, err := s.sendStore.ClaimSends(ctx, holder, resend, limit)
	if len(c) > 0 {
		time.Sleep(gateway.SendDeadline)
	}
	return c, settled, next, err
}

// flaky is a store that can not write for a while.
type flaky struct {
	sendStore
	until time.Time
}

func (f *flaky) SettleSend(ctx context.Context, x *gateway.Send) (bool, error) {
	if time.Now().Before(f.until) {
		return false, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is not available"}
	}
	return f.sendStore.SettleSend(ctx, x)
}

func TestOutboxRemembersWhatWasTakenWhileTheDatabaseWasAway(t *testing.T) {
	for name, tt := range map[string]struct {
		away, run time.Duration
		want      gateway.SendState
	}{
		"for half a minute":             {30 * time.Second, time.Minute, gateway.SendAccepted},
		"until another may count it":    {2 * time.Minute, 3 * time.Minute, gateway.SendClaimed},
		"and a shutdown has to give up": {30 * time.Second, time.Second, gateway.SendClaimed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &flaky{sendStore: sendStore{send: gateway.Send{ID: "msg_1", State: gateway.SendReady}}, until: time.Now().Add(tt.away)}
				o := &gateway.Outbox{Store: store, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: &channel{}}, Log: quiet(), Drain: time.Second}
				ctx, stop := context.WithTimeout(t.Context(), tt.run)
				defer stop()
				began := time.Now()
				if err := o.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if store.send.State != tt.want {
					t.Errorf("what WhatsApp took is on record as %s, want %s", store.send.State, tt.want)
				}
				if took := time.Since(began); took > tt.run+2*time.Second {
					t.Errorf("Run took %v", took)
				}
			})
		})
	}
}

// twoParts is the outbox of a long reply: nothing overtakes, so its second part
// is not due before the first was settled.
type twoParts struct {
	mu    sync.Mutex
	state [2]gateway.SendState
}

func (p *twoParts) ClaimSends(context.Context, string, bool, int) ([]gateway.ClaimedSend, []gateway.Send, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, state := range p.state {
		switch state {
		case gateway.SendClaimed:
			return nil, nil, time.Time{}, nil
		case gateway.SendReady:
			p.state[i] = gateway.SendClaimed
			s := gateway.Send{Part: i, Deadline: time.Now().Add(gateway.SendDeadline)}
			return []gateway.ClaimedSend{{Send: s, Account: gateway.Account{Kind: gateway.Sandbox}}}, nil, time.Time{}, nil
		default:
		}
	}
	return nil, nil, time.Time{}, nil
}

func (p *twoParts) SettleSend(_ context.Context, x *gateway.Send) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state[x.Part] = x.State
	return true, nil
}

// slow is a channel that takes a second.
type slow struct{}

func (slow) Transmit(context.Context, *gateway.Account, *gateway.Send) (string, error) {
	time.Sleep(time.Second)
	return "wamid.1", nil
}

func TestOutboxFlushesALongReplyToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &twoParts{state: [2]gateway.SendState{gateway.SendReady, gateway.SendReady}}
		o := &gateway.Outbox{Store: p, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: slow{}}, Log: quiet(), Drain: 5 * time.Second}
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		began := time.Now()
		if err := o.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if p.state[1] != gateway.SendAccepted || time.Since(began) != 2*time.Second {
			t.Errorf("the second part is %s after %v, want accepted after 2s", p.state[1], time.Since(began))
		}
	})
}

// patient is a channel that takes 7 s, if its context lets it.
type patient struct{}

func (patient) Transmit(ctx context.Context, _ *gateway.Account, _ *gateway.Send) (string, error) {
	timer := time.NewTimer(7 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return "wamid.1", nil
	case <-ctx.Done():
		return "", &gateway.Error{Kind: gateway.Ambiguous, Msg: "cut short"}
	}
}

func TestOutboxWaitsForAWriteThatHasBegun(t *testing.T) {
	for name, drain := range map[string]time.Duration{"past its drain": 5 * time.Second, "without any drain": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &sendStore{send: gateway.Send{ID: "msg_1", State: gateway.SendReady}}
				o := &gateway.Outbox{Store: store, Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: patient{}}, Log: quiet(), Drain: drain}
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				if err := o.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if store.send.State != gateway.SendAccepted {
					t.Errorf("a shutdown made the send %s", store.send.State)
				}
			})
		})
	}
}

// reaching is a channel on which WhatsApp says whom it reached.
type reaching struct {
	channel
	met gateway.Address
}

func (c *reaching) Transmit(ctx context.Context, a *gateway.Account, s *gateway.Send) (string, error) {
	s.Met = c.met
	return c.channel.Transmit(ctx, a, s)
}

func TestOutboxTellsOfPeopleWhoAreKnownByAnotherNumber(t *testing.T) {
	const asked, known = "+5531988887777", "+553188887777"
	for name, tt := range map[string]struct {
		met   string
		errs  []error
		fails error
		told  []string
	}{
		"another number":                    {met: known, told: []string{asked + " is " + known}},
		"another, and it can't be noted":    {met: known, fails: errors.New("boom"), told: []string{asked + " is " + known}},
		"the same number":                   {met: asked},
		"WhatsApp does not say":             {},
		"a message that WhatsApp refused":   {met: known, errs: []error{&gateway.Error{Kind: gateway.Invalid, Msg: "no"}}},
		"a message that nobody knows about": {met: known, errs: []error{&gateway.Error{Kind: gateway.Ambiguous, Msg: "lost"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &sendStore{send: gateway.Send{ID: "msg_1", Account: "acc_1", To: gateway.Address{Phone: asked}, State: gateway.SendReady}}
				var told []string
				o := &gateway.Outbox{
					Store: store, Log: quiet(),
					Channels: map[gateway.AccountKind]gateway.Channel{gateway.Sandbox: &reaching{channel{errs: tt.errs}, gateway.Address{Phone: tt.met}}},
					Met: func(_ context.Context, account gateway.AccountID, asked, known gateway.Address) error {
						if account != "acc_1" || store.send.State != gateway.SendAccepted {
							t.Errorf("told of account %s while the send is %s", account, store.send.State)
						}
						told = append(told, asked.Phone+" is "+known.Phone)
						return tt.fails
					},
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				if err := o.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.told, told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}
