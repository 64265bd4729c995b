package storetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// noWindows are windows that only remember what was put in them.
type noWindows struct{ armed []string }

func (w *noWindows) Add(_ context.Context, m *gateway.Message, _ gateway.Window) error {
	w.armed = append(w.armed, m.ExternalID)
	return nil
}

func (w *noWindows) Drop(context.Context, gateway.ConversationID) error { return nil }

// Every reason for which the inbound filter skips a message, through the inbox
// and on record.
func TestSkippedMessagesHaveTheirReasonOnRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := everything(cloud)
		a.AutoRun = true
		a.Filter = gateway.InboundFilter{
			TextOnly: true, MinLength: 2, MaxPerHour: 3, IgnorePatterns: []string{`^stop\b`, `n[o0]pe`}, IgnoreEmoji: true, IgnoreGreeting: true,
		}
		must(t, s.CreateAgent(t.Context(), &a))
		windows := &noWindows{}
		told := map[string]int{}
		inbox := &gateway.Inbox{
			Store: s, Agents: s, Window: windows, MaxAge: 6 * time.Hour, Log: slog.New(slog.DiscardHandler),
			Skipped: func(m *gateway.Message) { told[m.StateReason]++ },
		}
		text := func(id, words string) gateway.Inbound {
			m := from(cloud, alice, id).Inbound
			m.Text = words
			return m
		}
		changed := func(m gateway.Inbound, change func(*gateway.Inbound)) gateway.Inbound { change(&m); return m }
		burst := []gateway.Inbound{
			text("1", "I need a room"),
			text("2", "Guten Tag!"),
			text("3", "👨‍👩‍👧 🇫🇷 1️⃣"),
			text("4", "x"),
			text("5", "STOP it"),
			text("6", "well, NOPE"),
			changed(text("7", ""), func(m *gateway.Inbound) { m.Type = gateway.TypeImage }),
			changed(text("8", "❤️"), func(m *gateway.Inbound) { m.Type = gateway.TypeReaction }),
			changed(text("9", "merci"), func(m *gateway.Inbound) { m.ReplyTo = "wamid.of.ours" }),
			changed(text("10", "an old one"), func(m *gateway.Inbound) { m.SentAt = time.Now().Add(-7 * time.Hour) }),
			text("11", "one too many"),
		}
		outcomes := got(inbox.Receive(t.Context(), burst...))(t)
		again := got(inbox.Receive(t.Context(), burst...))(t)
		conv := got(s.ConversationWith(t.Context(), cloud, gateway.Address{Phone: alice}))(t)
		found := map[string]string{}
		for _, m := range got(s.Messages(t.Context(), cloud, conv.ID, 100))(t) {
			found[m.ExternalID] = fmt.Sprint(m.State, " ", m.StateReason)
		}
		equal(t, "messages", found, map[string]string{
			"1": "waiting ", "2": "ignored greeting", "3": "ignored emoji", "4": "ignored too_short", "5": "ignored pattern", "6": "ignored pattern",
			"7": "ignored not_text", "8": "ignored type", "9": "waiting ", "10": "held too_old", "11": "ignored hourly_limit",
		})
		equal(t, "windows", windows.armed, []string{"1", "9", "1", "9"})
		equal(t, "told", told, map[string]int{
			"greeting": 1, "emoji": 1, "too_short": 1, "pattern": 2, "not_text": 1, "type": 1, "too_old": 1, "hourly_limit": 1,
		})
		for i := range outcomes {
			if again[i] != gateway.OutcomeDuplicate {
				t.Errorf("message %s comes again as %s", burst[i].ExternalID, again[i])
			}
		}
		c := got(s.ClaimRun(t.Context(), conv.ID, time.Minute))(t)
		var answered []string
		for i := range c.Messages {
			answered = append(answered, c.Messages[i].ExternalID)
		}
		equal(t, "the run answers", answered, []string{"1", "9"})
	})
}
