//go:build watest

package watest_test

import (
	"slices"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestReceiptsGoBothWays(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada := s.Contact("491510000002")
	one, two := ada.Text("one"), ada.Text("two")
	c.message(one.ID)
	c.message(two.ID)
	ids, err := s.Expect(ada).Receipt(c.ctx, types.ReceiptTypeInactive) // delivered, by a client that is not in use
	c.must(err)
	got(t, "delivered", ids[0], one.ID)

	c.must(c.cli.MarkRead(c.ctx, []string{one.ID, two.ID}, time.Now(), ada.LID(), types.EmptyJID))
	ids, err = s.Expect(ada).Receipt(c.ctx, types.ReceiptTypeRead)
	c.must(err)
	if want := []string{one.ID, two.ID}; !slices.Equal(ids, want) {
		t.Errorf("read messages are %v, want %v", ids, want)
	}

	sent := c.send(ada.LID(), text("three"))
	chat := ada.To(phone)
	for _, kind := range []types.ReceiptType{types.ReceiptTypeDelivered, types.ReceiptTypeRead, types.ReceiptTypePlayed} {
		chat.Receipt(kind, sent.ID, "another")
		r := expect(c, func(r *events.Receipt) bool { return r.Type == kind })
		if want := []string{sent.ID, "another"}; !slices.Equal(r.MessageIDs, want) {
			t.Errorf("receipt %q is for %v, want %v", kind, r.MessageIDs, want)
		}
		got(t, "receipt's sender", r.Sender, ada.LID())
	}
	c.must(d.Settled(c.ctx))
}

func TestWhatWasNotAcknowledgedComesAgain(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	warm := ada.Text("warm up")
	c.message(warm.ID)
	c.must(warm.Acked(c.ctx))

	c.judge(func(*events.Message) bool { return false })
	failed := ada.Text("not stored")
	c.message(failed.ID)
	c.judge(nil)
	if pending := d.Pending(); !slices.Equal(pending, []string{failed.ID}) {
		t.Errorf("pending is %v, want %v", pending, failed.ID)
	}
	c.restart(d)
	got(t, "text again", c.message(failed.ID).Message.GetConversation(), "not stored")
	c.must(failed.Acked(c.ctx))
}

func TestWhatWasAcknowledgedIsDroppedWhenItComesAgain(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	sent := ada.Text("once")
	c.message(sent.ID)
	c.must(sent.Acked(c.ctx))
	sent.Redeliver()
	c.must(d.Settled(c.ctx)) // acknowledged again
	got(t, "events of the second delivery", count(c, withID(sent.ID)), 0)
}

func TestOfflineBacklogComesInOrderBetweenPreviewAndCompletion(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada, bob := s.Contact("491510000002"), s.Contact("491510000003")
	expect[*events.OfflineSyncCompleted](c, nil) // of the first login
	c.disconnect()
	c.must(d.Offline(c.ctx))
	var want []string
	for range 20 {
		want = append(want, ada.Text("from ada").ID, bob.Text("from bob").ID)
	}
	ada.To(phone).Receipt(types.ReceiptTypeRead, "some message")
	if pending := d.Pending(); !slices.Equal(pending, want) {
		t.Fatalf("pending is %v, want %v", pending, want)
	}
	c.restart(d)
	preview := expect[*events.OfflineSyncPreview](c, nil)
	got(t, "messages announced", preview.Messages, len(want))
	got(t, "receipts announced", preview.Receipts, 1)
	done := expect[*events.OfflineSyncCompleted](c, nil)
	got(t, "stanzas in all", done.Count, len(want)+1)
	var is []string
	for range want {
		is = append(is, expect[*events.Message](c, nil).Info.ID) // all came before the completion
	}
	if !slices.Equal(is, want) {
		t.Errorf("messages came as %v, want %v", is, want)
	}
	c.must(d.Settled(c.ctx))
}

func TestClientAsksForARetryOfWhatItCannotDecrypt(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada := s.Contact("491510000002")
	chat := ada.To(phone)
	c.message(chat.Text("hello").ID)
	c.send(ada.LID(), text("hello"))
	_, err := s.Expect(ada).Text(c.ctx)
	c.must(err)
	for _, damaged := range []int{1, 2} { // the second retry brings keys for a new session
		ada.Garble(damaged)
		sent := chat.Text("hard to read")
		m := c.message(sent.ID)
		got(t, "text", m.Message.GetConversation(), "hard to read")
		got(t, "retries", m.RetryCount, damaged)
		for range damaged {
			got(t, "undecryptable message", expect[*events.UndecryptableMessage](c, nil).Info.ID, sent.ID)
		}
		c.must(d.Settled(c.ctx))
	}
}

func TestClientAsksForARetryOfAGroupMessage(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	ada := s.Contact("491510000002")
	chat := ada.In(s.Group("staff", phone, ada))
	first := chat.Text("hello")
	c.message(first.ID)
	c.message(first.ID)
	ada.Garble(1)
	sent := chat.Text("hard to read")
	got(t, "text", c.message(sent.ID).Message.GetConversation(), "hard to read")
}

func TestContactAsksForARetryOfWhatItCannotDecrypt(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada := s.Contact("491510000002")
	c.message(ada.To(phone).Text("hello").ID)
	c.send(ada.LID(), text("in a session"))
	_, err := s.Expect(ada).Text(c.ctx)
	c.must(err)

	ada.Forget()
	c.disconnect() // what was sent is in the database, not in memory
	c.restart(d)
	sent := c.send(ada.LID(), text("please read"))
	r, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	got(t, "id", r.ID, sent.ID)
	got(t, "text", r.Text(), "please read")
	got(t, "retries", r.Retry, 2)
}

func TestContactAsksForARetryAfterTheClientRestarted(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada := s.Contact("491510000002")
	c.message(ada.To(phone).Text("hello").ID)
	c.send(ada.LID(), text("in a session"))
	_, err := s.Expect(ada).Text(c.ctx)
	c.must(err)

	ada.Forget()
	s.CutAfter(d, "message") // the retry receipt waits for the next login
	go func() {              // it waits for an answer that never comes, as a process that dies does
		_, _ = c.cli.SendMessage(c.ctx, ada.LID(), text("please read"), whatsmeow.SendRequestExtra{ID: "RESTART", Timeout: patience})
	}()
	expect[*events.Disconnected](c, nil)
	c.restart(d)
	r, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	got(t, "id", r.ID, "RESTART")
	got(t, "text", r.Text(), "please read")
}
