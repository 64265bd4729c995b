package storetest_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// edited is an edit of a message, written a while after now.
func edited(a gateway.Arrival, id, text string, after time.Duration) gateway.Arrival {
	a.Change, a.Target, a.ExternalID, a.Text, a.SentAt = gateway.Edit, a.ExternalID, id, text, time.Now().Add(after)
	return a
}

// revoked is the deletion of a message.
func revoked(a gateway.Arrival, id string) gateway.Arrival {
	a.Change, a.Target, a.ExternalID, a.Text, a.Type = gateway.Revoke, a.ExternalID, id, "", gateway.TypeSystem
	a.State, a.Reason = gateway.StateIgnored, "revoke"
	return a
}

// said is what stands of messages: state, reason and text.
func said(ms []gateway.Message) (out []string) {
	for _, m := range ms {
		out = append(out, string(m.State)+" "+m.StateReason+": "+m.Text)
	}
	return out
}

// record returns a conversation's messages, oldest first.
func record(t *testing.T, s *store.Store, account gateway.AccountID, id gateway.ConversationID) []gateway.Message {
	t.Helper()
	ms := got(s.Messages(t.Context(), account, id, 100))(t)
	slices.Reverse(ms)
	return ms
}

func TestChanges(t *testing.T) {
	a := from(sandbox, alice, "wamid.1")
	a.Text = "one"
	b := from(sandbox, alice, "wamid.2")
	b.Text = "two"
	photo := a
	photo.Type, photo.Detail = gateway.TypeImage, json.RawMessage(`{"width":1}`)
	ignored := a
	ignored.State, ignored.Reason = gateway.StateIgnored, "too_short"
	stranger := edited(a, "wamid.e", "forged", time.Second)
	stranger.Peer, stranger.Sender = gateway.Address{Phone: bob}, gateway.Address{Phone: bob}
	inGroup, otherInGroup := a, edited(a, "wamid.e", "forged", time.Second)
	inGroup.Peer, otherInGroup.Peer = gateway.Address{Group: "g"}, gateway.Address{Group: "g"}
	otherInGroup.Sender = gateway.Address{Phone: bob}
	inGroupByBob := inGroup
	inGroupByBob.Sender = gateway.Address{Phone: bob}
	old := edited(a, "wamid.h", "from history", time.Second)
	old.Origin, old.State, old.Reason = gateway.OriginHistory, gateway.StateIgnored, "history"
	filtered := edited(a, "wamid.e", "uno", time.Second)
	filtered.State, filtered.Reason = gateway.StateIgnored, "too_short"
	caption := edited(photo, "wamid.e", "uno", time.Second)
	caption.Type, caption.Detail = gateway.TypeText, nil
	image := edited(photo, "wamid.e", "uno", time.Second)
	image.Detail = json.RawMessage(`{"width":2}`)

	const claim = -1 // in place of a message: a run takes what waits
	const pause = -2
	tests := map[string]struct {
		steps  []any
		want   []string // what is on record
		waits  []string // what the next run reads
		recent []string // what stands in the conversation
	}{
		"an edit replaces what waits": {
			steps:  []any{a, b, edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"waiting : uno", "waiting : two", "ignored edit_applied: uno"},
			waits:  []string{"uno", "two"},
			recent: []string{"uno", "two"},
		},
		"the same edit twice is one": {
			steps:  []any{a, edited(a, "wamid.e", "uno", time.Second), edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"waiting : uno", "ignored edit_applied: uno"},
			waits:  []string{"uno"},
			recent: []string{"uno"},
		},
		"of two edits the one that was written last holds": {
			steps:  []any{a, edited(a, "wamid.e2", "eins", 2*time.Second), edited(a, "wamid.e1", "uno", time.Second)},
			want:   []string{"waiting : eins", "ignored edit_applied: eins", "ignored edit_outdated: uno"},
			waits:  []string{"eins"},
			recent: []string{"eins"},
		},
		"of two edits of one second the one that came last holds": {
			steps:  []any{a, edited(a, "wamid.e1", "uno", time.Second), edited(a, "wamid.e2", "eins", time.Second)},
			want:   []string{"waiting : eins", "ignored edit_applied: uno", "ignored edit_applied: eins"},
			waits:  []string{"eins"},
			recent: []string{"eins"},
		},
		"an edit that the filter refuses changes what waits": {
			steps:  []any{a, filtered},
			want:   []string{"waiting : uno", "ignored edit_applied: uno"},
			waits:  []string{"uno"},
			recent: []string{"uno"},
		},
		"a text edits a caption": {
			steps:  []any{photo, caption},
			want:   []string{"waiting : uno", "ignored edit_applied: uno"},
			waits:  []string{`uno image {"width":1}`},
			recent: []string{"uno"},
		},
		"an image edits an image": {
			steps:  []any{photo, image},
			want:   []string{"waiting : uno", "ignored edit_applied: uno"},
			waits:  []string{`uno image {"width":2}`},
			recent: []string{"uno"},
		},
		"an edit of what a run took is told": {
			steps:  []any{a, claim, edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"batched : one", "waiting : uno"},
			waits:  []string{"uno edit"},
			recent: []string{"one", "uno"},
		},
		"a second edit of what a run took replaces the first": {
			steps:  []any{a, claim, edited(a, "wamid.e1", "uno", time.Second), edited(a, "wamid.e2", "eins", 2*time.Second)},
			want:   []string{"batched : one", "waiting : eins", "ignored edit_applied: eins"},
			waits:  []string{"eins edit"},
			recent: []string{"one", "eins"},
		},
		"a third edit comes after the run took the second": {
			steps:  []any{a, claim, edited(a, "wamid.e1", "uno", time.Second), claim, edited(a, "wamid.e2", "eins", 2*time.Second)},
			want:   []string{"batched : one", "batched : uno", "waiting : eins"},
			waits:  []string{"eins edit"},
			recent: []string{"one", "uno", "eins"},
		},
		"an edit in a pause is held as any message": {
			steps:  []any{a, claim, pause, edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"batched : one", "held paused: uno"},
			recent: []string{"one", "uno"},
		},
		"an edit replaces what is held": {
			steps:  []any{pause, a, edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"held paused: uno", "ignored edit_applied: uno"},
			recent: []string{"uno"},
		},
		"an edit of what nobody wants": {
			steps:  []any{ignored, edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"ignored too_short: one", "ignored edit_of_ignored: uno"},
			recent: []string{"one", "uno"},
		},
		"an edit of what is not known is a message": {
			steps:  []any{edited(a, "wamid.e", "uno", time.Second)},
			want:   []string{"waiting : uno"},
			waits:  []string{"uno edit"},
			recent: []string{"uno"},
		},
		"the message comes after its edit": {
			steps:  []any{edited(a, "wamid.e", "uno", time.Second), a},
			want:   []string{"ignored edit_applied: uno", "waiting : uno"},
			waits:  []string{"uno"},
			recent: []string{"uno"},
		},
		"the message comes after a run took its edit": {
			steps:  []any{edited(a, "wamid.e", "uno", time.Second), claim, a},
			want:   []string{"batched : uno", "ignored edited: uno"},
			recent: []string{"uno", "uno"},
		},
		"the image comes after a run took its edit": {
			steps:  []any{caption, claim, photo},
			want:   []string{"batched : uno", "waiting : uno"},
			waits:  []string{`uno image {"width":1}`},
			recent: []string{"uno", "uno"},
		},
		"nobody else edits": {
			steps:  []any{inGroup, otherInGroup},
			want:   []string{"waiting : one", "waiting : forged"},
			waits:  []string{"one", "forged edit"},
			recent: []string{"one", "forged"},
		},
		"nobody edits from another conversation": {
			steps:  []any{a, stranger},
			want:   []string{"waiting : one"},
			waits:  []string{"one"},
			recent: []string{"one"},
		},
		"history edits nothing": {
			steps:  []any{a, old},
			want:   []string{"waiting : one", "ignored history: from history"},
			waits:  []string{"one"},
			recent: []string{"one", "from history"},
		},
		"what waits is deleted": {
			steps:  []any{a, b, revoked(a, "wamid.r")},
			want:   []string{"ignored revoked: one", "waiting : two", "ignored revoke_applied: "},
			waits:  []string{"two"},
			recent: []string{"two"},
		},
		"without anything left no run starts": {
			steps: []any{a, revoked(a, "wamid.r")},
			want:  []string{"ignored revoked: one", "ignored revoke_applied: "},
		},
		"what is held is deleted": {
			steps: []any{pause, a, revoked(a, "wamid.r")},
			want:  []string{"ignored revoked: one", "ignored revoke_applied: "},
		},
		"a deletion comes too late": {
			steps: []any{a, claim, revoked(a, "wamid.r")},
			want:  []string{"batched : one", "ignored revoked_late: "},
		},
		"an edit that waits goes with its message": {
			steps: []any{a, claim, edited(a, "wamid.e", "uno", time.Second), revoked(a, "wamid.r")},
			want:  []string{"batched : one", "ignored revoked: uno", "ignored revoked_late: "},
		},
		"a deletion comes first": {
			steps: []any{revoked(a, "wamid.r"), a, edited(a, "wamid.e", "uno", time.Second)},
			want:  []string{"ignored revoked_late: ", "ignored revoked: one", "ignored revoked: uno"},
		},
		"nobody else deletes": {
			steps:  []any{inGroup, revoked(inGroupByBob, "wamid.r")},
			want:   []string{"waiting : one", "ignored revoked_late: "},
			waits:  []string{"one"},
			recent: []string{"one"},
		},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				account := gateway.NewAccountID()
				must(t, s.PutAccount(t.Context(), gateway.Account{ID: account, Kind: gateway.Sandbox}))
				var conv gateway.ConversationID
				for _, step := range tt.steps {
					switch step {
					case claim:
						f := finish(got(s.ClaimRun(t.Context(), conv, time.Minute))(t), "")
						f.Sends = nil
						must(t, s.FinishRun(t.Context(), f))
					case pause:
						conv = got(s.OpenConversation(t.Context(), account, a.Peer))(t).ID
						must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
					default:
						m := step.(gateway.Arrival)
						m.Account = account
						if in := add(t, s, m)[0].Conversation; conv == "" {
							conv = in
						}
					}
				}
				equal(t, "on record", said(record(t, s, account, conv)), tt.want)
				var recent []string
				for _, m := range got(s.Recent(t.Context(), conv, 0, 100))(t) {
					recent = append(recent, m.Text)
				}
				equal(t, "recent", recent, tt.recent)
				c, err := s.ClaimRun(t.Context(), conv, time.Minute)
				if tt.waits == nil {
					wantKind(t, err, gateway.NotFound)
					return
				}
				must(t, err)
				equal(t, "the run's messages", told(c.Messages), tt.waits)
			})
		}
	})
}

// told is what a run reads of messages.
func told(ms []gateway.Message) (out []string) {
	for _, m := range ms {
		text := m.Text
		if m.Type != gateway.TypeText {
			text += " " + string(m.Type) + " " + string(m.Detail)
		}
		if m.Change != "" {
			text += " " + string(m.Change)
		}
		out = append(out, text)
	}
	return out
}

func TestWeEditAndDeleteOurOwnWords(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		echo := from(sandbox, alice, "wamid.1")
		echo.Origin, echo.State, echo.Reason, echo.Text = gateway.OriginEcho, gateway.StateIgnored, "echo", "one"
		m := add(t, s, echo)[0]
		add(t, s, edited(echo, "wamid.e", "uno", time.Second))
		recent := got(s.Recent(t.Context(), m.Conversation, 0, 9))(t)
		if len(recent) != 1 || recent[0].Text != "uno" || recent[0].Direction != gateway.Out {
			t.Errorf("after the edit: %+v", recent)
		}
		// The customer's id may be the same: it is not ours to change.
		theirs := add(t, s, from(sandbox, alice, "wamid.1"))[0]
		add(t, s, revoked(echo, "wamid.r"))
		recent = got(s.Recent(t.Context(), m.Conversation, 0, 9))(t)
		if len(recent) != 1 || recent[0].ID != theirs.ID || recent[0].State != gateway.StateWaiting {
			t.Errorf("after the deletion: %+v", recent)
		}
		for _, m := range record(t, s, sandbox, m.Conversation) {
			if m.Text == "uno" && m.Change == "" && m.RevokedAt.IsZero() {
				t.Error("the deleted message is not marked")
			}
		}
	})
}
