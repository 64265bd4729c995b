//go:build watest

package watest

import (
	"bytes"
	"compress/zlib"
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waLidMigrationSyncPayload"
	"go.mau.fi/whatsmeow/proto/waWeb"
)

// perChunk is how many messages one history blob carries.
const perChunk = 500

// Remember puts an old conversation on the phone, oldest text first: what the
// other side wrote. Every device that is linked later gets it after its first
// login, and may ask for what came before a message.
func (p *Phone) Remember(with Party, texts ...string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	other := with.person()
	start := time.Now().Add(-24 * time.Hour)
	conversation := &waHistorySync.Conversation{ID: new(other.lid.String()), PnJID: new(other.pn.String()), Name: &other.name}
	for i, text := range texts {
		conversation.Messages = append(conversation.Messages, &waHistorySync.HistorySyncMsg{
			MsgOrderID: new(uint64(i + 1)),
			Message: &waWeb.WebMessageInfo{
				Key:              &waCommon.MessageKey{RemoteJID: conversation.ID, FromMe: new(false), ID: new(p.s.newID())},
				Message:          &waE2E.Message{Conversation: new(text)},
				MessageTimestamp: new(uint64(start.Add(time.Duration(i) * time.Second).Unix())),
				PushName:         &other.name,
			},
		})
	}
	p.history = append(p.history, conversation)
}

// bootstrap sends a new device the phone's history, in chunks, and then the
// names of the people in it. The caller holds mu.
func (p *Phone) bootstrap(d *Device) {
	if len(p.history) == 0 {
		return
	}
	chunk := &waHistorySync.HistorySync{SyncType: waHistorySync.HistorySync_INITIAL_BOOTSTRAP.Enum()}
	names := &waHistorySync.HistorySync{SyncType: waHistorySync.HistorySync_PUSH_NAME.Enum()}
	order, held := uint32(0), 0
	flush := func() {
		if held == 0 {
			return
		}
		order++
		chunk.ChunkOrder = new(order)
		p.sync(d, chunk, "")
		chunk, held = &waHistorySync.HistorySync{SyncType: waHistorySync.HistorySync_RECENT.Enum()}, 0
	}
	for _, c := range p.history {
		chunk.PhoneNumberToLidMappings = append(chunk.PhoneNumberToLidMappings, &waHistorySync.PhoneNumberToLIDMapping{PnJID: c.PnJID, LidJID: c.ID})
		names.Pushnames = append(names.Pushnames, &waHistorySync.Pushname{ID: c.ID, Pushname: c.Name})
		for some := range slices.Chunk(c.GetMessages(), perChunk) {
			if held+len(some) > perChunk {
				flush()
			}
			chunk.Conversations = append(chunk.Conversations, &waHistorySync.Conversation{ID: c.ID, PnJID: c.PnJID, Name: c.Name, Messages: some})
			held += len(some)
		}
	}
	flush()
	p.sync(d, names, "")
}

// Sync sends d any history, as the phone does after linking and when asked.
func (p *Phone) Sync(d *Device, history *waHistorySync.HistorySync) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.sync(d, history, "")
}

// sync uploads a blob and tells the device where it is. request is the message
// that asked for it. The caller holds mu.
func (p *Phone) sync(d *Device, history *waHistorySync.HistorySync, request string) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = z.Write(marshal(history)) // a buffer takes everything
	_ = z.Close()
	b := encryptMedia(whatsmeow.MediaHistory, packed.Bytes())
	note := &waE2E.HistorySyncNotification{
		SyncType: waE2E.HistorySyncType(history.GetSyncType()).Enum(), ChunkOrder: history.ChunkOrder, Progress: history.Progress,
		DirectPath: new(p.s.put(b.data)), MediaKey: b.mediaKey, FileSHA256: b.plain, FileEncSHA256: b.encSum, FileLength: &b.length,
	}
	if request != "" {
		note.PeerDataRequestSessionID = &request
	}
	p.peer(d, &waE2E.ProtocolMessage{Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(), HistorySyncNotification: note})
}

// peer sends a message of the phone to one of its own devices. The caller
// holds mu.
func (p *Phone) peer(d *Device, m *waE2E.ProtocolMessage) {
	deliver := func() {
		d.push(node{
			Tag:     "message",
			Attrs:   attrs{"from": p.pn, "id": p.s.newID(), "t": time.Now().Unix(), "type": "text", "category": "peer"},
			Content: []node{p.seal(d, &waE2E.Message{ProtocolMessage: m})},
		}, nil)
	}
	if d.keyed {
		deliver()
	} else {
		d.unkeyed = append(d.unkeyed, deliver)
	}
}

// answer gives a device the history before a message, which it asked for.
func (p *Phone) answer(d *Device, r *Received) {
	request := r.Message.GetProtocolMessage().GetPeerDataOperationRequestMessage()
	ask := request.GetHistorySyncOnDemandRequest()
	if request.GetPeerDataOperationRequestType() != waE2E.PeerDataOperationRequestType_HISTORY_SYNC_ON_DEMAND || ask == nil {
		return
	}
	out := &waHistorySync.HistorySync{SyncType: waHistorySync.HistorySync_ON_DEMAND.Enum()}
	for _, c := range p.history {
		if ask.GetChatJID() != c.GetID() && ask.GetChatJID() != c.GetPnJID() {
			continue
		}
		all := c.GetMessages()
		end := slices.IndexFunc(all, func(m *waHistorySync.HistorySyncMsg) bool {
			return m.GetMessage().GetKey().GetID() == ask.GetOldestMsgID()
		})
		if end < 0 {
			end = len(all)
		}
		start := max(0, end-int(ask.GetOnDemandMsgCount()))
		out.Conversations = append(out.Conversations, &waHistorySync.Conversation{ID: c.ID, PnJID: c.PnJID, Name: c.Name, Messages: all[start:end]})
	}
	p.sync(d, out, r.ID)
}

// TellLIDs tells the phone's devices which numbers and LIDs belong together, as
// phones do when accounts move to LIDs.
func (p *Phone) TellLIDs(people ...Party) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	payload := &waLidMigrationSyncPayload.LIDMigrationMappingSyncPayload{ChatDbMigrationTimestamp: new(uint64(time.Now().Unix()))}
	for _, who := range people {
		number, _ := strconv.ParseUint(who.person().pn.User, 10, 64)
		lid, _ := strconv.ParseUint(who.person().lid.User, 10, 64)
		payload.PnToLidMappings = append(payload.PnToLidMappings, &waLidMigrationSyncPayload.LIDMigrationMapping{Pn: &number, AssignedLid: &lid})
	}
	for _, d := range p.devices {
		p.peer(d, &waE2E.ProtocolMessage{
			Type:                           waE2E.ProtocolMessage_LID_MIGRATION_MAPPING_SYNC.Enum(),
			LidMigrationMappingSyncMessage: &waE2E.LIDMigrationMappingSyncMessage{EncodedMappingPayload: marshal(payload)},
		})
	}
}

// Announce tells every device of the server that the person's devices changed,
// which names both of the person's addresses.
func (p *Person) Announce() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for _, phone := range p.s.phones {
		for _, d := range phone.devices {
			d.push(node{
				Tag:     "notification",
				Attrs:   attrs{"from": p.pn, "lid": p.lid, "type": "devices", "id": p.s.newID(), "t": time.Now().Unix()},
				Content: []node{{Tag: "update", Attrs: attrs{"device_hash": "2:watest"}, Content: []node{{Tag: "device", Attrs: attrs{"jid": p.pn, "lid": p.lid}}}}},
			}, nil)
		}
	}
}
