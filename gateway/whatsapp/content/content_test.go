package content

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/encoding/protowire"

	"wagent/gateway"
	"wagent/gateway/whatsapp/fetch"
)

func text(s string) *waE2E.Message { return &waE2E.Message{Conversation: &s} }

func event(t testing.TB, info goldenInfo, m *waE2E.Message) *events.Message {
	t.Helper()
	evt := &events.Message{Info: info.info(t), RawMessage: m}
	return evt.UnwrapRaw()
}

func TestAddressing(t *testing.T) {
	const pn, lid = "@s.whatsapp.net", "@lid"
	ada := gateway.Address{Phone: "+" + adaPhone, LID: adaLID}
	ourselves := gateway.Address{Phone: "+" + ourPhone, LID: ourLID}
	group := gateway.Address{Group: aGroup}
	known := book{adaLID: adaPhone, benLID: benPhone}
	tests := map[string]struct {
		info         goldenInfo
		book         Book
		peer, sender gateway.Address
	}{
		"by LID, with the number beside it":        {goldenInfo{Chat: adaLID + lid, SenderAlt: adaPhone + pn}, nil, ada, ada},
		"by number, with the LID beside it":        {goldenInfo{Chat: adaPhone + pn, SenderAlt: adaLID + lid}, nil, ada, ada},
		"by LID, and the book knows the number":    {goldenInfo{Chat: adaLID + lid}, known, ada, ada},
		"by number, and the book knows the LID":    {goldenInfo{Chat: adaPhone + pn}, known, ada, ada},
		"by LID, and the number is hidden":         {goldenInfo{Chat: adaLID + lid}, book{}, gateway.Address{LID: adaLID}, gateway.Address{LID: adaLID}},
		"by number, and nobody knows the LID":      {goldenInfo{Chat: adaPhone + pn}, book{}, gateway.Address{Phone: "+" + adaPhone}, gateway.Address{Phone: "+" + adaPhone}},
		"without a book":                           {goldenInfo{Chat: adaPhone + pn}, nil, gateway.Address{Phone: "+" + adaPhone}, gateway.Address{Phone: "+" + adaPhone}},
		"the event knows better than the book":     {goldenInfo{Chat: adaLID + lid, SenderAlt: benPhone + pn}, known, gateway.Address{LID: adaLID, Phone: "+" + benPhone}, gateway.Address{LID: adaLID, Phone: "+" + benPhone}},
		"from a device of theirs":                  {goldenInfo{Chat: adaLID + lid, Sender: adaLID + ":31" + lid, SenderAlt: adaPhone + ":31" + pn}, nil, ada, ada},
		"a chat that names a device":               {goldenInfo{Chat: adaLID + ":31" + lid}, known, ada, ada},
		"the same form twice":                      {goldenInfo{Chat: adaLID + lid, SenderAlt: adaLID + lid}, known, ada, ada},
		"hosted by Meta":                           {goldenInfo{Chat: adaPhone + "@hosted", SenderAlt: adaLID + "@hosted.lid"}, nil, ada, ada},
		"by a number of old":                       {goldenInfo{Chat: adaPhone + "@c.us"}, known, ada, ada},
		"an echo, by number":                       {goldenInfo{Chat: adaPhone + pn, Sender: ourPhone + pn, RecipientAlt: adaLID + lid, FromMe: true}, nil, ada, ourselves},
		"an echo, by LID":                          {goldenInfo{Chat: adaLID + lid, Sender: ourLID + ":3" + lid, RecipientAlt: adaPhone + pn, FromMe: true}, nil, ada, ourselves},
		"an echo, of which the book knows the LID": {goldenInfo{Chat: adaPhone + pn, Sender: ourPhone + pn, FromMe: true}, known, ada, ourselves},
		"an echo of old, from history":             {goldenInfo{Chat: adaPhone + pn, Sender: ourLID + lid, FromMe: true}, book{}, gateway.Address{Phone: "+" + adaPhone}, ourselves},
		"in a group, by LID":                       {goldenInfo{Chat: aGroup + "@g.us", Sender: adaLID + ":31" + lid, SenderAlt: adaPhone + ":31" + pn}, nil, group, ada},
		"in a group, by number":                    {goldenInfo{Chat: aGroup + "@g.us", Sender: adaPhone + pn}, known, group, ada},
		"in a group, by a hidden number":           {goldenInfo{Chat: aGroup + "@g.us", Sender: adaLID + lid}, book{}, group, gateway.Address{LID: adaLID}},
		"in a group of old":                        {goldenInfo{Chat: "491510000001-1400000000@g.us", Sender: adaLID + lid}, known, gateway.Address{Group: "491510000001-1400000000"}, ada},
		"an echo in a group":                       {goldenInfo{Chat: aGroup + "@g.us", Sender: ourLID + ":3" + lid, FromMe: true}, nil, group, ourselves},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in, ok, err := (&Reader{Self: us(), Book: tt.book}).Read(t.Context(), event(t, tt.info, text("hello")))
			if err != nil || !ok {
				t.Fatalf("ok %t, error %v", ok, err)
			}
			if diff := cmp.Diff([]gateway.Address{tt.peer, tt.sender}, []gateway.Address{in.Peer, in.Sender}); diff != "" {
				t.Errorf("peer, sender (-want +got):\n%s", diff)
			}
			if (in.Origin == gateway.OriginEcho) != tt.info.FromMe || in.FromUs != tt.info.FromMe || in.Account != "acc_a" {
				t.Errorf("origin %s, account %s", in.Origin, in.Account)
			}
		})
	}
}

func TestAddressAndJID(t *testing.T) {
	for s, want := range map[string]gateway.Address{
		adaPhone + "@s.whatsapp.net":   {Phone: "+" + adaPhone},
		adaPhone + ":7@s.whatsapp.net": {Phone: "+" + adaPhone},
		adaLID + ":7@lid":              {LID: adaLID},
		aGroup + "@g.us":               {Group: aGroup},
		"status@broadcast":             {},
		"1234@broadcast":               {},
		"1234@newsletter":              {},
		"867051314767696@bot":          {},
		"abc@s.whatsapp.net":           {},
		"@g.us":                        {},
		"s.whatsapp.net":               {},
	} {
		j := jid(t, s)
		a := Address(j)
		if a != want {
			t.Errorf("Address(%s) = %+v, want %+v", s, a, want)
		}
		back, ok := JID(a)
		if ok != (want != gateway.Address{}) || ok && back != j.ToNonAD() {
			t.Errorf("JID(Address(%s)) = %s, %t", s, back, ok)
		}
	}
	for want, a := range map[string]gateway.Address{
		adaLID + "@lid":              {Phone: "+" + adaPhone, LID: adaLID},
		adaPhone + "@s.whatsapp.net": {Phone: "+" + adaPhone, LID: "US.134"},
	} {
		if j, ok := JID(a); !ok || j.String() != want {
			t.Errorf("JID(%+v) = %s, %t, want %s", a, j, ok, want)
		}
	}
	for _, a := range []gateway.Address{{Phone: adaPhone}, {LID: "US.134"}, {Group: "x y"}, {Phone: "+"}} {
		if j, ok := JID(a); ok {
			t.Errorf("JID(%+v) = %s", a, j)
		}
	}
}

func TestChatsThatAreNoConversations(t *testing.T) {
	in := goldenInfo{Sender: adaLID + "@lid"}
	for name, info := range map[string]goldenInfo{
		"a status":                        {Chat: "status@broadcast", Sender: in.Sender},
		"a broadcast list":                {Chat: "1234@broadcast", Sender: in.Sender},
		"a channel":                       {Chat: "120363000000000002@newsletter"},
		"Meta's bot":                      {Chat: "867051314767696@bot"},
		"Meta's bot by number":            {Chat: "13135550002@s.whatsapp.net"},
		"a bot in a group":                {Chat: aGroup + "@g.us", Sender: "867051314767696@bot"},
		"WhatsApp itself":                 {Chat: "0@s.whatsapp.net"},
		"a note to ourselves":             {Chat: ourPhone + "@s.whatsapp.net", Sender: ourPhone + "@s.whatsapp.net", FromMe: true},
		"a note to ourselves by LID":      {Chat: ourLID + "@lid", Sender: ourLID + "@lid", FromMe: true},
		"our phone's order":               {Chat: ourPhone + "@s.whatsapp.net", FromMe: true, Category: "peer"},
		"another network":                 {Chat: "1234@msgr"},
		"another network's in a group":    {Chat: aGroup + "@g.us", Sender: "1234@interop"},
		"an address that is none":         {Chat: "somebody@lid"},
		"an address of more than an id's": {Chat: strings.Repeat("1", 41) + "@lid"},
	} {
		got, ok, err := (&Reader{Self: us(), Book: failing{}}).Read(t.Context(), event(t, info, text("hello")))
		if ok || err != nil {
			t.Errorf("%s: %+v, error %v", name, got, err)
		}
	}
	evt := event(t, goldenInfo{}, text("hello"))
	evt.Info.ID = ""
	for name, evt := range map[string]*events.Message{"no event": nil, "no id": evt, "no message": event(t, goldenInfo{}, nil)} {
		if got, ok, err := (&Reader{Self: us()}).Read(t.Context(), evt); ok || err != nil {
			t.Errorf("%s: %+v, error %v", name, got, err)
		}
	}
}

func TestAnAdminDeletesOurs(t *testing.T) {
	m := &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: &waCommon.MessageKey{ID: new("3EB0"), Participant: new(ourLID + "@lid")},
	}}
	info := goldenInfo{Chat: aGroup + "@g.us", Sender: adaLID + "@lid", Edit: types.EditAttributeAdminRevoke}
	if in, ok, err := (&Reader{Self: us()}).Read(t.Context(), event(t, info, m)); ok || err != nil {
		t.Errorf("%+v, error %v", in, err)
	}
	m.ProtocolMessage.Key.Participant = new(benLID + "@lid")
	info.FromMe, info.Sender = true, ourLID+"@lid"
	in, ok, err := (&Reader{Self: us()}).Read(t.Context(), event(t, info, m))
	if !ok || err != nil || in.Sender.LID != benLID || in.Origin != gateway.OriginLive || in.FromUs {
		t.Errorf("ours of Ben's: %+v, error %v", in, err)
	}
}

func TestKindsOfTheFuture(t *testing.T) {
	future := protowire.AppendTag(nil, 999, protowire.BytesType)
	future = protowire.AppendBytes(future, []byte("something"))
	m := &waE2E.Message{MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: make([]byte, 32)}}
	m.ProtoReflect().SetUnknown(future)
	in, ok, err := (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, m))
	if err != nil || !ok || in.Type != gateway.TypeUnsupported || string(in.Detail) != `{"kind":"field 999"}` {
		t.Errorf("%+v, ok %t, error %v", in, ok, err)
	}
	m.SenderKeyDistributionMessage = &waE2E.SenderKeyDistributionMessage{}
	if in, ok, err = (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, m)); ok || err != nil {
		t.Errorf("with a key, which the message follows under the same id: %+v, error %v", in, err)
	}
}

func TestTextsAndDetailsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", maxText+10)
	in, _, err := (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, text(long)))
	if err != nil || utf8.RuneCountInString(in.Text) != maxText || !utf8.ValidString(in.Text) {
		t.Errorf("text of %d characters, error %v", utf8.RuneCountInString(in.Text), err)
	}
	in, _, _ = (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, text("a\x00b\xffc")))
	if in.Text != "ab\uFFFDc" {
		t.Errorf("text %q", in.Text)
	}
	p := &waE2E.PollCreationMessage{Name: new("?")}
	for range 200 {
		p.Options = append(p.Options, &waE2E.PollCreationMessage_Option{OptionName: &long})
	}
	in, _, _ = (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, &waE2E.Message{PollCreationMessage: p}))
	if string(in.Detail) != `{"kind":"pollCreationMessage","truncated":true}` || utf8.RuneCountInString(in.Text) != maxText {
		t.Errorf("detail %.200s, text of %d characters", in.Detail, utf8.RuneCountInString(in.Text))
	}
}

func TestWrappersAreTakenOffToADepth(t *testing.T) {
	m := text("deep")
	for range maxWraps {
		m = &waE2E.Message{SpoilerMessage: &waE2E.FutureProofMessage{Message: m}}
	}
	in, ok, err := (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, m))
	if err != nil || !ok || in.Text != "deep" {
		t.Errorf("%+v, ok %t, error %v", in, ok, err)
	}
	m = &waE2E.Message{SpoilerMessage: &waE2E.FutureProofMessage{Message: m}}
	in, ok, err = (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, m))
	if err != nil || !ok || in.Type != gateway.TypeUnsupported {
		t.Errorf("%+v, ok %t, error %v", in, ok, err)
	}
}

func TestAnAttachmentCanBeFetchedLater(t *testing.T) {
	hash := sha256.Sum256([]byte("x"))
	m := &waE2E.DocumentMessage{
		DirectPath: new("/v/f/1?ccb=1"), MediaKey: hash[:], FileSHA256: hash[:], FileEncSHA256: hash[:], FileLength: new(uint64(1 << 63)),
		FileName: new("bill.pdf"), Mimetype: new("application/pdf"),
	}
	info := goldenInfo{Chat: aGroup + "@g.us", Sender: adaLID + ":3@lid"}
	in, _, err := (&Reader{Self: us()}).Read(t.Context(), event(t, info, &waE2E.Message{DocumentMessage: m}))
	if err != nil || in.Attachment == nil {
		t.Fatalf("%+v, error %v", in, err)
	}
	f, err := fetch.ParseFile(in.Attachment.Source)
	if err != nil {
		t.Fatal(err)
	}
	if f.GetDirectPath() != m.GetDirectPath() || string(f.GetMediaKey()) != string(hash[:]) || string(f.GetFileSHA256()) != string(hash[:]) ||
		string(f.GetFileEncSHA256()) != string(hash[:]) || whatsmeow.GetMediaType(f) != whatsmeow.MediaDocument || f.Length < 0 {
		t.Errorf("file %+v", f)
	}
	if i := f.Info(); i.ID != in.ExternalID || i.Chat.String() != info.Chat || i.Sender.String() != adaLID+"@lid" || !i.IsGroup || i.IsFromMe {
		t.Errorf("message %+v", i)
	}
}

// A failing is a database that is away.
type failing struct{ store.MsgSecretStore }

var errAway = errors.New("database is away")

func (failing) GetLIDForPN(context.Context, types.JID) (types.JID, error) {
	return types.JID{}, errAway
}

func (failing) GetPNForLID(context.Context, types.JID) (types.JID, error) {
	return types.JID{}, errAway
}

func (failing) PollOptions(context.Context, gateway.AccountID, string) ([]string, error) {
	return nil, errAway
}

func (failing) GetMessageSecret(context.Context, types.JID, types.JID, types.MessageID) ([]byte, types.JID, error) {
	return nil, types.JID{}, errAway
}

// A secret is the secret of every message, by ada.
type secret struct {
	store.MsgSecretStore
	key []byte
}

func (s secret) GetMessageSecret(context.Context, types.JID, types.JID, types.MessageID) ([]byte, types.JID, error) {
	return s.key, types.JID{User: adaLID, Server: types.HiddenUserServer}, nil
}

// client is the library's, with nothing but secrets.
func client(self Self, secrets store.MsgSecretStore) *whatsmeow.Client {
	return &whatsmeow.Client{Store: &store.Device{ID: &self.PN, LID: self.LID, MsgSecrets: secrets}}
}

// vote is what the library makes of a vote of ada's in her own poll.
func vote(t testing.TB, secrets store.MsgSecretStore, options ...string) *waE2E.Message {
	t.Helper()
	ada := Self{PN: jid(t, adaPhone+"@s.whatsapp.net"), LID: jid(t, adaLID+"@lid")}
	poll := types.MessageInfo{ID: "3EB0POLL", MessageSource: types.MessageSource{Chat: us().LID.ToNonAD(), Sender: ada.LID, IsFromMe: true}}
	m, err := client(ada, secrets).BuildPollVote(t.Context(), &poll, options)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheLibraryOpensAVote(t *testing.T) {
	key := secret{key: make([]byte, 32)}
	r := &Reader{Self: us(), Secrets: client(us(), key), Polls: polls{"3EB0POLL": {"Pizza", "Pasta"}}}
	in, ok, err := r.Read(t.Context(), event(t, goldenInfo{}, vote(t, key, "Pasta")))
	if err != nil || !ok || in.Text != "Pasta" || in.Type != gateway.TypeInteractive {
		t.Errorf("%+v, ok %t, error %v", in, ok, err)
	}
}

// sealed is a message of every kind that is sealed a second time.
func sealed(t testing.TB) map[string]*waE2E.Message {
	t.Helper()
	target := &waCommon.MessageKey{ID: new("3EB0"), FromMe: new(true)}
	iv, payload := make([]byte, nonceSize), make([]byte, 32)
	return map[string]*waE2E.Message{
		"pollUpdateMessage":  vote(t, secret{key: make([]byte, 32)}, "Pasta"),
		"encReactionMessage": {EncReactionMessage: &waE2E.EncReactionMessage{TargetMessageKey: target, EncIV: iv, EncPayload: payload}},
		"encCommentMessage":  {EncCommentMessage: &waE2E.EncCommentMessage{TargetMessageKey: target, EncIV: iv, EncPayload: payload}},
		"secretEncryptedMessage": {SecretEncryptedMessage: &waE2E.SecretEncryptedMessage{
			TargetMessageKey: target, EncIV: iv, EncPayload: payload, SecretEncType: waE2E.SecretEncryptedMessage_MESSAGE_EDIT.Enum(),
		}},
	}
}

// TestADatabaseThatIsAwayRefusesTheEvent holds the library to the words by which
// mayPass knows that a secret could not be looked up.
func TestADatabaseThatIsAwayRefusesTheEvent(t *testing.T) {
	for kind, m := range sealed(t) {
		in, ok, err := (&Reader{Self: us(), Secrets: client(us(), failing{})}).Read(t.Context(), event(t, goldenInfo{}, m))
		if ok || !errors.Is(err, errAway) {
			t.Errorf("%s: %+v, ok %t, error %v", kind, in, ok, err)
		}
	}
	key := secret{key: make([]byte, 32)}
	for name, r := range map[string]*Reader{
		"the book":  {Self: us(), Book: failing{}, Secrets: client(us(), key)},
		"the polls": {Self: us(), Polls: failing{}, Secrets: client(us(), key)},
	} {
		in, ok, err := r.Read(t.Context(), event(t, goldenInfo{Chat: adaLID + "@lid"}, vote(t, key, "Pasta")))
		if ok || !errors.Is(err, errAway) {
			t.Errorf("%s: %+v, ok %t, error %v", name, in, ok, err)
		}
	}
}

func TestWhatNeverOpensIsNotRefused(t *testing.T) {
	for kind, m := range sealed(t) {
		target := map[string]any{"kind": kind, "sealed": true}
		for name, secrets := range map[string]Secrets{
			"nobody opens":         nil,
			"there is no secret":   client(us(), secret{}),
			"the secret is wrong":  client(us(), secret{key: []byte("another")}),
			"the opener has a bug": nothing{},
		} {
			in, ok, err := (&Reader{Self: us(), Secrets: secrets}).Read(t.Context(), event(t, goldenInfo{}, m))
			var d map[string]any
			_ = json.Unmarshal(in.Detail, &d)
			if err != nil || !ok || in.Type != gateway.TypeUnsupported || in.Change != "" || in.ReplyTo == "" || !cmp.Equal(target, d) {
				t.Errorf("%s, %s: %+v, detail %s, ok %t, error %v", kind, name, in, in.Detail, ok, err)
			}
		}
	}
}

// The library panics on a nonce of another length than AES-GCM's.
func TestANonceOfAnotherLengthIsAStrangers(t *testing.T) {
	m := vote(t, secret{key: make([]byte, 32)}, "Pasta")
	m.PollUpdateMessage.Vote.EncIV = []byte("short")
	in, ok, err := (&Reader{Self: us(), Secrets: client(us(), secret{key: make([]byte, 32)})}).Read(t.Context(), event(t, goldenInfo{}, m))
	if err != nil || !ok || in.Type != gateway.TypeUnsupported {
		t.Errorf("%+v, ok %t, error %v", in, ok, err)
	}
}

// nothing opens every seal, and finds nothing.
type nothing struct{}

func (nothing) DecryptPollVote(context.Context, *events.Message) (*waE2E.PollVoteMessage, error) {
	return nil, nil
}

func (nothing) DecryptReaction(context.Context, *events.Message) (*waE2E.ReactionMessage, error) {
	return nil, nil
}

func (nothing) DecryptComment(context.Context, *events.Message) (*waE2E.Message, error) {
	return nil, nil
}

func (nothing) DecryptSecretEncryptedMessage(context.Context, *events.Message) (*waE2E.Message, error) {
	return nil, nil
}

func TestPollOptions(t *testing.T) {
	in, _, err := (&Reader{Self: us()}).Read(t.Context(), event(t, goldenInfo{}, &waE2E.Message{PollCreationMessageV3: &waE2E.PollCreationMessage{
		Name: new("?"), Options: []*waE2E.PollCreationMessage_Option{{OptionName: new("a")}, {OptionName: new("b")}},
	}}))
	if err != nil || !cmp.Equal(PollOptions(in.Detail), []string{"a", "b"}) {
		t.Errorf("options %q of %s, error %v", PollOptions(in.Detail), in.Detail, err)
	}
	for _, raw := range []string{"", "[]", `{"options":3}`, `{"kind":"imageMessage"}`} {
		if got := PollOptions(json.RawMessage(raw)); got != nil {
			t.Errorf("options %q of %s", got, raw)
		}
	}
}

func TestCards(t *testing.T) {
	tests := map[string]struct {
		vcard string
		want  card
	}{
		"nothing":                    {"", card{}},
		"a folded line":              {"BEGIN:VCARD\r\nFN:Ada\r\n  Lovelace\r\nTEL:+49\r\n 151\r\n", card{"Ada Lovelace", []string{"+49151"}}},
		"a group and parameters":     {"item1.TEL;type=CELL;waid=49151:+49 151", card{"", []string{"+49 151"}}},
		"a number only WhatsApp has": {"FN:Ada\nTEL;waid=49151;type=CELL:\n", card{"Ada", []string{"+49151"}}},
		"a number as a URI":          {"TEL;VALUE=uri:tel:+49-151", card{"", []string{"+49-151"}}},
		"escapes":                    {`FN:Lovelace\, Ada\; Countess\\x\nof`, card{`Lovelace, Ada; Countess\x of`, nil}},
		"quoted-printable":           {"N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg;;;\r\nTEL;CELL:1", card{"Jörg Müller", []string{"1"}}},
		"quoted-printable, folded":   {"FN;ENCODING=QUOTED-PRINTABLE:M=C3=BC=\r\nller\r\nTEL:1", card{"Müller", []string{"1"}}},
		"a name in parts":            {"N:Lovelace;Ada;King;Countess;PhD", card{"Countess Ada King Lovelace PhD", nil}},
		"a colon in quotes":          {`TEL;X="a:b":1`, card{"", []string{"1"}}},
		"lines that are none":        {"BEGIN\n:\n::\nTEL\nFN:x", card{"x", nil}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseCard(tt.vcard)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if n := len(parseCard(strings.Repeat("TEL:1\n", 100)).Phones); n != maxPhones {
		t.Errorf("%d phones", n)
	}
}
