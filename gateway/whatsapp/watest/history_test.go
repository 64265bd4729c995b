//go:build watest

package watest_test

import (
	"fmt"
	"testing"

	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestHistoryComesAfterPairing(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	ada := s.Contact("491510000002")
	const long = 1200 // more than fits in a chunk
	var texts []string
	for i := range long {
		texts = append(texts, fmt.Sprint("message ", i))
	}
	phone.Remember(ada, texts...)
	phone.Remember(s.Contact("491510000003"), "short")
	c := newClient(t, s)
	d := c.link(phone)

	var is []string
	for len(is) < long+1 {
		h := expect(c, func(h *events.HistorySync) bool { return h.Data.GetSyncType() != waHistorySync.HistorySync_PUSH_NAME })
		for _, conversation := range h.Data.GetConversations() {
			chat, err := types.ParseJID(conversation.GetID())
			c.must(err)
			for _, m := range conversation.GetMessages() {
				parsed, err := c.cli.ParseWebMessage(chat, m.GetMessage())
				c.must(err)
				is = append(is, parsed.Message.GetConversation())
			}
		}
	}
	got(t, "first", is[0], "message 0")
	got(t, "last of the long conversation", is[long-1], fmt.Sprint("message ", long-1))
	got(t, "the short one", is[long], "short")
	expect(c, func(h *events.HistorySync) bool { return h.Data.GetSyncType() == waHistorySync.HistorySync_PUSH_NAME })
	c.must(d.Settled(c.ctx))
	pn, err := c.cli.Store.LIDs.GetPNForLID(c.ctx, ada.LID())
	c.must(err)
	got(t, "number that the history told", pn, ada.PN())

	c.restart(d)
	c.must(d.Settled(c.ctx))
	got(t, "history after a restart", count[*events.HistorySync](c, nil), 0)
}

func TestHistoryOnDemand(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	ada := s.Contact("491510000002")
	phone.Remember(ada, "one", "two", "three", "four")
	c := newClient(t, s)
	c.link(phone)
	all := expect(c, func(h *events.HistorySync) bool {
		return h.Data.GetSyncType() == waHistorySync.HistorySync_INITIAL_BOOTSTRAP
	}).Data.GetConversations()[0].GetMessages()

	last, err := c.cli.ParseWebMessage(ada.LID(), all[3].GetMessage())
	c.must(err)
	_, err = c.cli.SendPeerMessage(c.ctx, c.cli.BuildHistorySyncRequest(&last.Info, 2))
	c.must(err)
	before := expect(c, func(h *events.HistorySync) bool { return h.Data.GetSyncType() == waHistorySync.HistorySync_ON_DEMAND })
	messages := before.Data.GetConversations()[0].GetMessages()
	got(t, "messages", len(messages), 2)
	got(t, "first", messages[0].GetMessage().GetMessage().GetConversation(), "two")
	asked, err := s.Expect(phone).Peer(c.ctx)
	c.must(err)
	got(t, "messages asked for", asked.GetProtocolMessage().GetPeerDataOperationRequestMessage().GetHistorySyncOnDemandRequest().GetOnDemandMsgCount(), 2)
}

func TestHistoryOfAnyKind(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	phone.Sync(d, &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_RECENT.Enum(), Progress: new(uint32(40)),
	})
	h := expect[*events.HistorySync](c, nil)
	got(t, "kind", h.Data.GetSyncType(), waHistorySync.HistorySync_RECENT)
	got(t, "progress", h.Data.GetProgress(), 40)
	c.must(d.Settled(c.ctx))
}
