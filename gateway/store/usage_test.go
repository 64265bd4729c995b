package store_test

import (
	"fmt"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestTheLatencyIsTheMeanFromTakenToDelivered(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		if err := s.PutAccount(t.Context(), gateway.Account{ID: "acc", Kind: gateway.Sandbox}); err != nil {
			t.Fatal(err)
		}
		var ms []gateway.Arrival
		for _, id := range []string{"1", "2", "3", "4"} {
			peer := gateway.Address{Phone: "+15550000001"}
			ms = append(ms, gateway.Arrival{Inbound: gateway.Inbound{
				Account: "acc", Peer: peer, Sender: peer, ExternalID: id, Type: gateway.TypeText, Origin: gateway.OriginLive,
			}, State: gateway.StateIgnored})
		}
		if _, err := s.AddMessages(t.Context(), ms); err != nil {
			t.Fatal(err)
		}
		// Those that were never delivered, or of which it is not known when they were
		// taken, do not count; WhatsApp's clock may be behind ours.
		if err := store.Exec(t.Context(), cfg, `UPDATE messages SET direction = 'out', status = 'read', accepted_at = 10000, delivered_at = CASE external_id
			WHEN '1' THEN 13000 WHEN '2' THEN 9000 WHEN '3' THEN 0 ELSE 99000 END;
			UPDATE messages SET accepted_at = 0 WHERE external_id = '4'`); err != nil {
			t.Fatal(err)
		}
		got, err := s.Traffic(t.Context(), time.Now().Add(-time.Hour))
		if want := (gateway.Traffic{Messages: 4, Sent: 4, Latency: 1500 * time.Millisecond}); err != nil || got != want {
			t.Errorf("traffic is %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestAListCountsMessagesUpToALimit(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		if err := s.PutAccount(t.Context(), gateway.Account{ID: "acc_1", Kind: gateway.Sandbox}); err != nil {
			t.Fatal(err)
		}
		c, err := s.OpenConversation(t.Context(), "acc_1", gateway.Address{Phone: "+15550000001"})
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []struct{ from, to, want int }{{1, 9_999, 9_999}, {10_000, 10_001, 10_000}} {
			if err := store.Exec(t.Context(), cfg, fmt.Sprintf(`INSERT INTO messages (id, account, conversation, contact, direction, origin, external_id, part, type, body,
				detail, reply_to, sent_at, received_at, state, state_reason, status, run, change, target, revoked_at)
				WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
				SELECT 'msg_' || i, 'acc_1', '%s', '', 'in', 'live', '', 0, 'text', '', '', '', 1, 1, 'ignored', '', '', '', '', '', 0 FROM n`, more.from, more.to, c.ID)); err != nil {
				t.Fatal(err)
			}
			if ms, total, err := s.PeerMessages(t.Context(), "acc_1", "", 1); err != nil || len(ms) != 1 || total != more.want {
				t.Errorf("%d messages of %d, %v; want %d", len(ms), total, err, more.want)
			}
		}
	})
}
