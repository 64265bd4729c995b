//go:build watest

package whatsapp_test

import (
	"context"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/watest"
)

func TestSendsEndAsWhatsAppSays(t *testing.T) {
	tests := map[string]struct {
		trouble func(r *rig, ada *watest.Person)
		want    gateway.Kind
	}{
		"not now (479)":               {func(r *rig, _ *watest.Person) { r.wa.Nack(r.device, 479) }, gateway.Unavailable},
		"not to strangers (463)":      {func(r *rig, _ *watest.Person) { r.wa.Nack(r.device, 463) }, gateway.Invalid},
		"too many (429)":              {func(r *rig, _ *watest.Person) { r.wa.Nack(r.device, 429) }, gateway.RateLimited},
		"refused for another reason":  {func(r *rig, _ *watest.Person) { r.wa.Nack(r.device, 400) }, gateway.Invalid},
		"WhatsApp does not answer":    {func(r *rig, _ *watest.Person) { r.wa.Ignore(r.device, "message") }, gateway.Ambiguous},
		"the account is disconnected": {func(r *rig, _ *watest.Person) { r.wa.Refuse(r.device, 409, 0); r.state(gateway.LinkRefused) }, gateway.Unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, p := paired(t)
			ada := r.wa.Contact("491510000002", watest.Name("Ada"))
			r.must(ada.Text("hello").Acked(r.ctx))
			tt.trouble(r, ada)
			_, err := r.send(p, address(ada), "an answer")
			if err == nil || gateway.KindOf(err) != tt.want {
				t.Errorf("Transmit = %v (%v), want %v", err, gateway.KindOf(err), tt.want)
			}
		})
	}
}

func TestSendToANumberThatIsNotOnWhatsApp(t *testing.T) {
	r, p := paired(t)
	if _, err := r.send(p, gateway.Address{Phone: "+499999999999"}, "anybody?"); gateway.KindOf(err) != gateway.Invalid || err == nil {
		t.Errorf("Transmit = %v, want Invalid", err)
	}
}

func TestALinkedDeviceSendsTextOnly(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	s := &gateway.Send{ID: gateway.NewMessageID(), Account: account, To: address(ada), Type: gateway.TypeImage, Text: "a caption", Answers: time.Now()}
	s.Deadline = time.Now().Add(gateway.SendDeadline)
	if _, err := p.Transmit(r.ctx, &gateway.Account{ID: account}, s); gateway.KindOf(err) != gateway.Invalid || err == nil {
		t.Errorf("Transmit = %v, want Invalid", err)
	}
	s.Type = gateway.TypeText
	_, err := p.Transmit(r.ctx, &gateway.Account{ID: account}, s)
	r.must(err)
}

func TestSendsHaveOneIDForAllAttempts(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	s := &gateway.Send{ID: gateway.NewMessageID(), Account: account, To: address(ada), Text: "an answer", Answers: time.Now()}
	for range 2 {
		s.Deadline = time.Now().Add(gateway.SendDeadline)
		id, err := p.Transmit(r.ctx, &gateway.Account{ID: account}, s)
		r.must(err)
		if id != s.ID.WireID() {
			t.Errorf("sent under %s, want %s", id, s.ID.WireID())
		}
		got, err := r.wa.Expect(ada).Message(r.ctx)
		r.must(err)
		if got.ID != id || got.Text() != "an answer" {
			t.Errorf("she got %s %q", got.ID, got.Text())
		}
	}
}

func TestAnswersQuoteWhatTheyAnswer(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	s := &gateway.Send{ID: gateway.NewMessageID(), Account: account, To: address(ada), Text: "yes", ReplyTo: "ABCD", Answers: time.Now(), Deadline: time.Now().Add(gateway.SendDeadline)}
	_, err := p.Transmit(r.ctx, &gateway.Account{ID: account}, s)
	r.must(err)
	got, err := r.wa.Expect(ada).Message(r.ctx)
	r.must(err)
	if e := got.Message.GetExtendedTextMessage(); e.GetText() != "yes" || e.GetContextInfo().GetStanzaID() != "ABCD" {
		t.Errorf("she got %v", got.Message)
	}
}

func TestCustomersSeeThatTheyAreAnswered(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	hello := ada.Text("hello")
	r.must(hello.Acked(r.ctx))
	c, err := r.db.ConversationWith(r.ctx, account, address(ada))
	r.must(err)
	ms, err := r.db.Messages(r.ctx, account, c.ID, 1)
	r.must(err)
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	go p.Attend(ctx, account, c.Peer, []gateway.Seen{{ExternalID: ms[0].ExternalID, Sender: c.Peer}})
	ids, err := r.wa.Expect(ada).Receipt(r.ctx, types.ReceiptTypeRead)
	r.must(err)
	if len(ids) != 1 || ids[0] != ms[0].ExternalID {
		t.Errorf("read are %v, want %s", ids, ms[0].ExternalID)
	}
	state, _, err := r.wa.Expect(ada).Typing(r.ctx)
	r.must(err)
	if state != types.ChatPresenceComposing {
		t.Errorf("the account is %s", state)
	}
	stop()
	state, _, err = r.wa.Expect(ada).Typing(r.ctx)
	r.must(err)
	if state != types.ChatPresencePaused {
		t.Errorf("afterwards the account is %s", state)
	}
}

func TestQuietAccountsShowNothing(t *testing.T) {
	r, p := paired(t, func(a *gateway.Account) { a.Linked.Typing, a.Linked.MarkRead = false, gateway.ReadNever })
	ada := r.wa.Contact("491510000002")
	r.must(ada.Text("hello").Acked(r.ctx))
	p.Attend(r.ctx, account, address(ada), []gateway.Seen{{ExternalID: "x", Sender: address(ada)}})
	_, err := r.send(p, address(ada), "an answer")
	r.must(err)
	_, err = r.wa.Expect(ada).Text(r.ctx)
	r.must(err)
	if n := r.wa.Expect(ada).Unread(); n != 0 {
		t.Errorf("she also got %d other things", n)
	}
}
