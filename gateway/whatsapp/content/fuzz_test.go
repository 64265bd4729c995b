package content

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"wagent/gateway"
	"wagent/gateway/whatsapp/fetch"
)

// FuzzRead reads any message of anybody's, with anything under its seal.
func FuzzRead(f *testing.F) {
	for _, g := range goldens(f) {
		evt := g.event(f)
		raw, err := proto.Marshal(evt.RawMessage)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, []byte(g.Opens), evt.Info.Chat.String(), evt.Info.Sender.String(), evt.Info.SenderAlt.String(), evt.Info.IsFromMe, string(evt.Info.Edit))
	}
	f.Fuzz(func(t *testing.T, raw, opens []byte, chat, sender, alt string, fromMe bool, edit string) {
		var m waE2E.Message
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		c, _ := types.ParseJID(chat)
		s, _ := types.ParseJID(sender)
		a, _ := types.ParseJID(alt)
		evt := &events.Message{RawMessage: &m, Info: types.MessageInfo{
			MessageSource: types.MessageSource{Chat: c, Sender: s, SenderAlt: a, RecipientAlt: a, IsFromMe: fromMe},
			ID:            "3EB0", PushName: string(raw), Edit: types.EditAttribute(edit),
		}}
		r := &Reader{Self: us(), Book: book{adaLID: adaPhone}, Secrets: opener{opens}, Polls: polls{"3EB0POLL": {"Pizza"}}}
		in, ok, err := r.Read(t.Context(), evt.UnwrapRaw())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			wellFormed(t, &in)
		}
	})
}

func wellFormed(t *testing.T, in *gateway.Inbound) {
	t.Helper()
	if in.Account == "" || in.ExternalID == "" || in.Type == "" || in.Origin == "" ||
		in.Peer == (gateway.Address{}) || in.Sender == (gateway.Address{}) {
		t.Errorf("incomplete: %+v", in)
	}
	if (in.Change != "") != (in.Target != "") || in.Change != "" && in.Attachment != nil {
		t.Errorf("change %q of %q, attachment %+v", in.Change, in.Target, in.Attachment)
	}
	for _, s := range []string{in.Text, in.SenderName, in.ReplyTo, in.Target, string(in.Detail)} {
		if !utf8.ValidString(s) || bytes.ContainsRune([]byte(s), 0) || utf8.RuneCountInString(s) > maxText+maxDetail {
			t.Errorf("text %q", s)
		}
	}
	if in.Detail != nil && (!json.Valid(in.Detail) || len(in.Detail) > maxDetail || hasZero(in.Detail)) {
		t.Errorf("detail %s", in.Detail)
	}
	if in.Attachment != nil {
		if f, err := fetch.ParseFile(in.Attachment.Source); err != nil || f.Length != in.Attachment.Size || f.Length < 0 {
			t.Errorf("attachment %+v: %v", in.Attachment, err)
		}
	}
}

// hasZero reports whether a string in raw has the zero character, which
// PostgreSQL refuses escaped too.
func hasZero(raw json.RawMessage) bool {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return true
	}
	var has func(any) bool
	has = func(v any) bool {
		switch v := v.(type) {
		case string:
			return bytes.ContainsRune([]byte(v), 0)
		case []any:
			return slices.ContainsFunc(v, has)
		case map[string]any:
			for k, e := range v {
				if has(k) || has(e) {
					return true
				}
			}
		}
		return false
	}
	return has(v)
}
