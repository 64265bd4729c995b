package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ gateway.Channel = (*Sandbox)(nil)

var (
	account = gateway.Account{ID: "acc_try", Kind: gateway.Sandbox}
	cloud   = gateway.Account{ID: "acc_main", Kind: gateway.CloudAPI}
)

type fakeStore struct {
	received []gateway.Inbound
	err      error
}

func (f *fakeStore) Account(_ context.Context, id gateway.AccountID) (gateway.Account, error) {
	for _, a := range []gateway.Account{account, cloud} {
		if a.ID == id {
			return a, nil
		}
	}
	return gateway.Account{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no such account"}
}

func (f *fakeStore) Receive(_ context.Context, ms ...gateway.Inbound) ([]gateway.Outcome, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.received = append(f.received, ms...)
	return []gateway.Outcome{gateway.OutcomeHeld}, nil
}

func newSandbox(reg prometheus.Registerer) (*Sandbox, *fakeStore) {
	f := &fakeStore{}
	return New(f, f, slog.New(slog.DiscardHandler), reg), f
}

func TestAnInjectedMessageGoesToTheInbox(t *testing.T) {
	s, f := newSandbox(prometheus.NewRegistry())
	before := time.Now()
	outcome, id, err := s.Inject(t.Context(), "acc_try", "+15550001111", "Ann", "hello")
	if err != nil || outcome != gateway.OutcomeHeld || id == "" {
		t.Fatalf("%q %q %v", outcome, id, err)
	}
	ann := gateway.Address{Phone: "+15550001111"}
	want := []gateway.Inbound{{
		Account: "acc_try", Peer: ann, Sender: ann, SenderName: "Ann", ExternalID: id,
		Type: gateway.TypeText, Text: "hello", Origin: gateway.OriginLive,
	}}
	if diff := cmp.Diff(want, f.received, cmpopts.IgnoreFields(gateway.Inbound{}, "SentAt")); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	if at := f.received[0].SentAt; at.Before(before) || at.After(time.Now()) {
		t.Errorf("sent at %v", at)
	}
	if n := testutil.ToFloat64(s.received.WithLabelValues("acc_try", "sandbox", "held")); n != 1 {
		t.Errorf("counted %v", n)
	}
	if _, second, err := s.Inject(t.Context(), "acc_try", "+15550001111", "", "hello"); err != nil || second == id {
		t.Errorf("the same words again: id %q, %v", second, err)
	}
}

func TestWhatCanNotBeInjectedSaysWhy(t *testing.T) {
	tests := map[string]struct {
		account          gateway.AccountID
		from, name, text string
		kind             gateway.Kind
		fields           []string
	}{
		"no such account":         {"acc_x", "+15550001111", "", "x", gateway.NotFound, nil},
		"a real account":          {"acc_main", "+15550001111", "", "x", gateway.Invalid, []string{"account"}},
		"a number without a plus": {"acc_try", "15550001111", "", "x", gateway.Invalid, []string{"from"}},
		"a number with a space":   {"acc_try", "+1 5550001111", "", "x", gateway.Invalid, []string{"from"}},
		"a number with a newline": {"acc_try", "+15550001111\n", "", "x", gateway.Invalid, []string{"from"}},
		"a number from zero":      {"acc_try", "+05550001111", "", "x", gateway.Invalid, []string{"from"}},
		"a number too long":       {"acc_try", "+1234567890123456", "", "x", gateway.Invalid, []string{"from"}},
		"other digits":            {"acc_try", "+١٢٣٤٥٦٧٨٩", "", "x", gateway.Invalid, []string{"from"}},
		"no text":                 {"acc_try", "+15550001111", "", " \n", gateway.Invalid, []string{"text"}},
		"a text too long":         {"acc_try", "+15550001111", "", strings.Repeat("é", 4097), gateway.Invalid, []string{"text"}},
		"a text of other bytes":   {"acc_try", "+15550001111", "", "\xff", gateway.Invalid, []string{"text"}},
		"a name too long":         {"acc_try", "+15550001111", strings.Repeat("x", 101), "x", gateway.Invalid, []string{"name"}},
		"all of it":               {"acc_main", "", "\xff", "", gateway.Invalid, []string{"account", "from", "name", "text"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, f := newSandbox(nil)
			_, _, err := s.Inject(t.Context(), tt.account, tt.from, tt.name, tt.text)
			var e *gateway.Error
			if !errors.As(err, &e) || e.Kind != tt.kind {
				t.Fatalf("error %v, want kind %v", err, tt.kind)
			}
			var fields []string
			for k := range e.Details {
				fields = append(fields, k)
			}
			if diff := cmp.Diff(tt.fields, fields, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			if len(f.received) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestAFailureToStoreIsTheInboxs(t *testing.T) {
	s, f := newSandbox(nil)
	f.err = &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
	if _, _, err := s.Inject(t.Context(), "acc_try", "+15550001111", "", "x"); gateway.KindOf(err) != gateway.Unavailable {
		t.Errorf("error %v", err)
	}
}

func TestASendAgainIsTheSameMessage(t *testing.T) {
	s, _ := newSandbox(nil)
	first, err := s.Transmit(t.Context(), &account, &gateway.Send{ID: "msg_1", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Transmit(t.Context(), &account, &gateway.Send{ID: "msg_1", Attempt: 2})
	other, _ := s.Transmit(t.Context(), &account, &gateway.Send{ID: "msg_2"})
	if first == "" || again != first || other == first {
		t.Errorf("ids %q %q %q", first, again, other)
	}
}

func TestASendThatCanNotGoSaysWhy(t *testing.T) {
	s, _ := newSandbox(nil)
	sends, cancel := s.Subscribe()
	defer cancel()
	if _, err := s.Transmit(t.Context(), &cloud, &gateway.Send{ID: "msg_1"}); gateway.KindOf(err) != gateway.Invalid {
		t.Errorf("from a real account: %v", err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if _, err := s.Transmit(over, &account, &gateway.Send{ID: "msg_1"}); gateway.KindOf(err) != gateway.Unavailable {
		t.Errorf("given up: %v", err)
	}
	if len(sends) != 0 {
		t.Error("a subscriber saw a message that was not accepted")
	}
}

func TestSubscribersSeeWhatIsAccepted(t *testing.T) {
	s, _ := newSandbox(nil)
	a, cancelA := s.Subscribe()
	b, cancelB := s.Subscribe()
	defer cancelB()
	transmit := func(id gateway.MessageID) {
		t.Helper()
		if _, err := s.Transmit(t.Context(), &account, &gateway.Send{ID: id, Text: "hi"}); err != nil {
			t.Fatal(err)
		}
	}
	transmit("msg_1")
	if got := <-a; got.ID != "msg_1" || got.Text != "hi" {
		t.Errorf("a got %+v", got)
	}
	cancelA()
	cancelA()
	if _, open := <-a; open {
		t.Error("the channel is open after its end")
	}
	transmit("msg_2")
	if first, second := <-b, <-b; first.ID != "msg_1" || second.ID != "msg_2" {
		t.Errorf("b got %s, %s", first.ID, second.ID)
	}
}

func TestASlowSubscriberHoldsNobodyUp(t *testing.T) {
	s, _ := newSandbox(nil)
	sends, cancel := s.Subscribe()
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range backlog {
				if _, err := s.Transmit(t.Context(), &account, &gateway.Send{ID: "msg_1"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(sends) != backlog {
		t.Errorf("%d sends wait, want %d", len(sends), backlog)
	}
}

func TestTwoEdgesCountInOneCounter(t *testing.T) {
	reg := prometheus.NewRegistry()
	other := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_messages_received_total",
		Help: "Messages that came in, by account and what became of them.",
	}, []string{"account", "kind", "outcome"})
	reg.MustRegister(other)
	s, _ := newSandbox(reg)
	if _, _, err := s.Inject(t.Context(), "acc_try", "+15550001111", "", "x"); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(other.WithLabelValues("acc_try", "sandbox", "held")); n != 1 {
		t.Errorf("the counter that was there has %v, want 1", n)
	}
}

func TestAMessageOfAnyTypeIsAcceptedWhole(t *testing.T) {
	s, _ := newSandbox(nil)
	sends, cancel := s.Subscribe()
	defer cancel()
	for _, kind := range []gateway.MessageType{
		gateway.TypeText, gateway.TypeImage, gateway.TypeVideo, gateway.TypeAudio, gateway.TypeDocument, gateway.TypeTemplate, gateway.TypeInteractive,
	} {
		send := gateway.Send{ID: gateway.NewMessageID(), Account: account.ID, Type: kind, Text: "words", Content: []byte(`{"url":"https://example.com/a"}`)}
		if id, err := s.Transmit(t.Context(), &account, &send); err != nil || id != "sandbox."+string(send.ID) {
			t.Errorf("%s: %q, %v", kind, id, err)
		}
		if diff := cmp.Diff(send, <-sends); diff != "" {
			t.Errorf("%s: seen (-want +got):\n%s", kind, diff)
		}
	}
}
