package content

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"wagent/gateway"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A golden is a file of testdata: what came, and what is made of it. Another kind
// of message is another file.
type golden struct {
	Says    string              `json:"says"`
	Info    goldenInfo          `json:"info,omitzero"`
	Message json.RawMessage     `json:"message"`          // waE2E.Message as protojson, with its wrappers
	Opens   json.RawMessage     `json:"opens,omitempty"`  // what its seal holds, as protojson: a vote, a reaction or a message
	Polls   map[string][]string `json:"polls,omitempty"`  // options by message
	Phones  map[string]string   `json:"phones,omitempty"` // the book: phone number by LID
	Skipped bool                `json:"skipped,omitempty"`
	Inbound json.RawMessage     `json:"inbound,omitempty"`
}

// A goldenInfo is what the envelope says, where it is not the usual: ada's
// message of a moment.
type goldenInfo struct {
	Chat         string              `json:"chat,omitempty"`
	Sender       string              `json:"sender,omitempty"`
	SenderAlt    string              `json:"sender_alt,omitempty"`
	RecipientAlt string              `json:"recipient_alt,omitempty"`
	FromMe       bool                `json:"from_me,omitempty"`
	Edit         types.EditAttribute `json:"edit,omitempty"`
	Category     string              `json:"category,omitempty"`
}

const (
	ourPhone, ourLID = "491510000001", "77000000000001"
	adaPhone, adaLID = "491510000002", "77000000000002"
	benPhone, benLID = "491510000003", "77000000000003"
	aGroup           = "120363000000000001"
)

func jid(t testing.TB, s string) types.JID {
	t.Helper()
	if s == "" {
		return types.JID{}
	}
	j, err := types.ParseJID(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func us() Self {
	return Self{
		Account: "acc_a",
		PN:      types.JID{User: ourPhone, Device: 7, Server: types.DefaultUserServer},
		LID:     types.JID{User: ourLID, Device: 7, Server: types.HiddenUserServer},
	}
}

func (i goldenInfo) info(t testing.TB) types.MessageInfo {
	t.Helper()
	if i.Chat == "" {
		i.Chat, i.SenderAlt = adaLID+"@lid", adaPhone+"@s.whatsapp.net"
	}
	if i.Sender == "" {
		i.Sender = i.Chat
	}
	chat := jid(t, i.Chat)
	return types.MessageInfo{
		MessageSource: types.MessageSource{
			Chat: chat, Sender: jid(t, i.Sender), SenderAlt: jid(t, i.SenderAlt), RecipientAlt: jid(t, i.RecipientAlt),
			IsFromMe: i.FromMe, IsGroup: chat.Server == types.GroupServer || chat.Server == types.BroadcastServer,
		},
		ID: "3EB0AAAA", PushName: "Ada", Timestamp: time.Date(2026, 9, 21, 12, 0, 0, 0, time.UTC),
		Edit: i.Edit, Category: i.Category,
	}
}

func (g *golden) event(t testing.TB) *events.Message {
	t.Helper()
	var m waE2E.Message
	if err := protojson.Unmarshal(g.Message, &m); err != nil {
		t.Fatal(err)
	}
	evt := &events.Message{Info: g.Info.info(t), RawMessage: &m}
	return evt.UnwrapRaw()
}

func (g *golden) reader() *Reader {
	return &Reader{Self: us(), Book: book(g.Phones), Secrets: opener{g.Opens}, Polls: polls(g.Polls)}
}

// A book knows phone numbers by LID.
type book map[string]string

func (b book) GetPNForLID(_ context.Context, lid types.JID) (types.JID, error) {
	if phone, ok := b[lid.User]; ok {
		return types.JID{User: phone, Device: lid.Device, Server: types.DefaultUserServer}, nil
	}
	return types.JID{}, nil
}

func (b book) GetLIDForPN(_ context.Context, pn types.JID) (types.JID, error) {
	for lid, phone := range b {
		if phone == pn.User {
			return types.JID{User: lid, Device: pn.Device, Server: types.HiddenUserServer}, nil
		}
	}
	return types.JID{}, nil
}

type polls map[string][]string

func (p polls) PollOptions(_ context.Context, account gateway.AccountID, id string) ([]string, error) {
	if account != "acc_a" {
		return nil, errors.New("another account's poll")
	}
	return p[id], nil
}

// An opener opens every seal, and finds the same in each; nothing if it has none.
type opener struct{ plain json.RawMessage }

func openAs[M proto.Message](o opener, m M) (M, error) {
	if o.plain == nil {
		var none M
		return none, whatsmeow.ErrOriginalMessageSecretNotFound
	}
	return m, protojson.Unmarshal(o.plain, m)
}

func (o opener) DecryptPollVote(context.Context, *events.Message) (*waE2E.PollVoteMessage, error) {
	return openAs(o, &waE2E.PollVoteMessage{})
}

func (o opener) DecryptReaction(context.Context, *events.Message) (*waE2E.ReactionMessage, error) {
	return openAs(o, &waE2E.ReactionMessage{})
}

func (o opener) DecryptComment(context.Context, *events.Message) (*waE2E.Message, error) {
	return openAs(o, &waE2E.Message{})
}

func (o opener) DecryptSecretEncryptedMessage(context.Context, *events.Message) (*waE2E.Message, error) {
	return openAs(o, &waE2E.Message{})
}

// shown is an Inbound without what is not set.
func shown(t testing.TB, in *gateway.Inbound) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return encodeGolden(t, withoutEmpty(all))
}

func withoutEmpty(m map[string]any) map[string]any {
	for k, v := range m {
		if inner, ok := v.(map[string]any); ok && k != "Detail" {
			m[k] = withoutEmpty(inner)
		}
		if v == nil || v == "" || v == 0.0 || v == false {
			delete(m, k)
		}
	}
	return m
}

func encodeGolden(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func goldens(t testing.TB) map[string]*golden {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	out := map[string]*golden{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g := &golden{}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if g.Says == "" {
			t.Errorf("%s says nothing", file)
		}
		out[file] = g
	}
	return out
}

func TestGolden(t *testing.T) {
	for file, g := range goldens(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, ok, err := g.reader().Read(t.Context(), g.event(t))
			if err != nil {
				t.Fatal(err)
			}
			got := *g
			got.Skipped, got.Inbound = !ok, nil
			if ok {
				got.Inbound = shown(t, &in)
			}
			if *update {
				if err := os.WriteFile(file, encodeGolden(t, got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(encodeGolden(t, g)), string(encodeGolden(t, got))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", g.Says, diff)
			}
		})
	}
}

func TestEveryKindHasAGoldenFile(t *testing.T) {
	seen := map[protoreflect.Name]bool{}
	for _, g := range goldens(t) {
		rd := reading{}
		rd.unwrap(g.event(t).Message)
		seen[first(rd.m)] = true
	}
	for name := range kinds {
		if !seen[name] {
			t.Errorf("no golden file has a %s", name)
		}
	}
}

// TestEveryKindOfTheLibraryIsDecided fails when the library learns a new kind:
// say what it is to us.
func TestEveryKindOfTheLibraryIsDecided(t *testing.T) {
	unsupported := map[protoreflect.Name]bool{
		"declinePaymentRequestMessage": true, "cancelPaymentRequestMessage": true, "invoiceMessage": true,
		"paymentInviteMessage": true, "paymentReminderMessage": true, "splitPaymentMessage": true, "splitPaymentUpdateMessage": true,
		"encReactionMessage": true, "encCommentMessage": true, "encEventResponseMessage": true, "secretEncryptedMessage": true,
		"commentMessage": true, // sealed, or read as what they hold
		"bcallMessage":   true, "scheduledCallEditMessage": true, "pollResultSnapshotMessage": true, "pollResultSnapshotMessageV3": true,
		"newsletterAdminInviteMessage": true, "newsletterFollowerInviteMessageV2": true, "placeholderMessage": true,
		"stickerPackMessage": true, "richResponseMessage": true, "statusQuotedMessage": true, "statusStickerInteractionMessage": true,
		"conditionalRevealMessage": true, "musicMessage": true,
	}
	fields := (&waE2E.Message{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		decided := 0
		for _, is := range []bool{
			kinds[f.Name()] != nil, silent[f.Name()], unsupported[f.Name()],
			f.Message() != nil && f.Message().Name() == "FutureProofMessage",
		} {
			if is {
				decided++
			}
		}
		if decided != 1 {
			t.Errorf("%s is decided %d times", f.Name(), decided)
		}
	}
}
