package content

import (
	"slices"
	"strconv"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"wagent/gateway"
)

// kinds knows how to read each kind of message, by its field's name. What is in
// neither kinds nor silent becomes unsupported.
var kinds = map[protoreflect.Name]func(*reading){
	"conversation":                 (*reading).text,
	"extendedTextMessage":          (*reading).text,
	"imageMessage":                 (*reading).image,
	"videoMessage":                 (*reading).video,
	"ptvMessage":                   (*reading).video,
	"audioMessage":                 (*reading).audio,
	"documentMessage":              (*reading).document,
	"stickerMessage":               (*reading).sticker,
	"locationMessage":              (*reading).location,
	"liveLocationMessage":          (*reading).liveLocation,
	"contactMessage":               (*reading).contacts,
	"contactsArrayMessage":         (*reading).contacts,
	"reactionMessage":              (*reading).reaction,
	"pollCreationMessage":          (*reading).poll,
	"pollCreationMessageV2":        (*reading).poll,
	"pollCreationMessageV3":        (*reading).poll,
	"pollCreationMessageV5":        (*reading).poll,
	"pollCreationMessageV6":        (*reading).poll,
	"pollUpdateMessage":            (*reading).pollVote,
	"pollAddOptionMessage":         (*reading).pollOption,
	"buttonsResponseMessage":       (*reading).buttonsResponse,
	"listResponseMessage":          (*reading).listResponse,
	"templateButtonReplyMessage":   (*reading).templateReply,
	"interactiveResponseMessage":   (*reading).interactiveResponse,
	"buttonsMessage":               (*reading).buttons,
	"listMessage":                  (*reading).list,
	"templateMessage":              (*reading).template,
	"highlyStructuredMessage":      (*reading).template,
	"interactiveMessage":           (*reading).interactive,
	"eventMessage":                 (*reading).event,
	"eventInviteMessage":           (*reading).eventInvite,
	"orderMessage":                 (*reading).order,
	"productMessage":               (*reading).product,
	"groupInviteMessage":           (*reading).groupInvite,
	"questionResponseMessage":      (*reading).answer,
	"statusQuestionAnswerMessage":  (*reading).answer,
	"callLogMesssage":              (*reading).callLog, // so it is spelled
	"scheduledCallCreationMessage": (*reading).plannedCall,
	"requestPhoneNumberMessage":    (*reading).phoneRequest,
	"sendPaymentMessage":           (*reading).payment,
	"requestPaymentMessage":        (*reading).payment,
}

// silent are the fields that tell a reader nothing: keys, settings, calls as they
// ring, marks on other messages, and the heads of albums, whose pictures follow.
var silent = map[protoreflect.Name]bool{
	"senderKeyDistributionMessage":               true,
	"fastRatchetKeySenderKeyDistributionMessage": true,
	"groupRootKeyShare":                          true,
	"rootSecretDistributeMessage":                true,
	"messageContextInfo":                         true,
	"protocolMessage":                            true,
	"deviceSentMessage":                          true,
	"call":                                       true,
	"chat":                                       true,
	"keepInChatMessage":                          true,
	"pinInChatMessage":                           true,
	"stickerSyncRmrMessage":                      true,
	"messageHistoryBundle":                       true,
	"messageHistoryNotice":                       true,
	"albumMessage":                               true,
	"statusNotificationMessage":                  true,
	"statusLinkPreviewMetadata":                  true,
}

// repeats are the ways in which a file comes once more, in another quality,
// after the message that a reader sees.
var repeats = []waE2E.MessageAssociation_AssociationType{
	waE2E.MessageAssociation_HD_VIDEO_DUAL_UPLOAD, waE2E.MessageAssociation_HD_IMAGE_DUAL_UPLOAD,
	waE2E.MessageAssociation_HEVC_VIDEO_DUAL_UPLOAD, waE2E.MessageAssociation_MOTION_PHOTO,
}

// understand fills in type, text, detail and attachment. It reports false if
// there is nothing to understand.
func (rd *reading) understand() bool {
	if rd.in.Change == gateway.Revoke {
		rd.in.Type = gateway.TypeSystem
		return true
	}
	with := rd.m.GetMessageContextInfo().GetMessageAssociation()
	if with.GetParentMessageKey().GetID() != "" && slices.Contains(repeats, with.GetAssociationType()) {
		return false
	}
	kind := first(rd.m)
	if kind == "" {
		return false
	}
	read, known := kinds[kind]
	if known && rd.sealed == "" {
		read(rd)
	}
	plainText := kind == "conversation" || kind == "extendedTextMessage"
	empty := rd.in.Type == gateway.TypeText && rd.in.Text == "" && rd.in.Attachment == nil
	switch {
	case plainText:
		return !empty
	case rd.sealed != "":
		rd.in.Type = gateway.TypeUnsupported
		rd.detail["sealed"] = true
	case rd.in.Type == "" || empty:
		rd.in.Type = gateway.TypeUnsupported
		rd.anyText()
	}
	if _, ok := rd.detail["kind"]; !ok {
		rd.detail["kind"] = string(kind)
	}
	if rd.in.Change != "" {
		rd.in.Attachment = nil // the file is the one that came with the message
	}
	return true
}

// first names the kind of m: of the fields that are set, the first in WhatsApp's
// own order that can be read, or else any that says something. It is empty where
// none does.
func first(m *waE2E.Message) protoreflect.Name {
	var known, other protoreflect.FieldDescriptor
	hushed := false
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		least := &other
		if _, ok := kinds[f.Name()]; ok {
			least = &known
		}
		switch {
		case silent[f.Name()]:
			hushed = hushed || f.Name() != "messageContextInfo"
		case *least == nil || f.Number() < (*least).Number():
			*least = f
		}
		return true
	})
	switch {
	case known != nil:
		return known.Name()
	case other != nil:
		return other.Name()
	case hushed:
		// With a key may come what nobody knows yet. The message that it belongs to
		// has the same id: taken for a message, it would hide that one.
		return ""
	default:
		return unknown(m)
	}
}

// unknown names a kind that is newer than the library: "field 140".
func unknown(m *waE2E.Message) protoreflect.Name {
	n, _, size := protowire.ConsumeTag(m.ProtoReflect().GetUnknown())
	if size < 0 {
		return ""
	}
	return protoreflect.Name("field " + strconv.Itoa(int(n)))
}

// content is the kind's own message; nil if it has none.
func content(m *waE2E.Message) protoreflect.Message {
	name := first(m)
	f := m.ProtoReflect().Descriptor().Fields().ByName(name)
	if f == nil || f.Message() == nil {
		return nil
	}
	return m.ProtoReflect().Get(f).Message()
}

// contextOf returns the context of any kind that has one; nil otherwise.
func contextOf(m *waE2E.Message) *waE2E.ContextInfo {
	c := content(m)
	if c == nil {
		return nil
	}
	f := c.Descriptor().Fields().ByName("contextInfo")
	if f == nil || f.Message() == nil || f.IsList() || !c.Has(f) {
		return nil
	}
	info, _ := c.Get(f).Message().Interface().(*waE2E.ContextInfo)
	return info
}

// words are the fields in which the kinds that nobody taught us have what a
// reader would read.
var words = []protoreflect.Name{"text", "caption", "body", "title", "name", "description", "note", "newsletterName"}

// anyText reads the first of words that is there.
func (rd *reading) anyText() {
	c := content(rd.m)
	if c == nil || rd.in.Text != "" {
		return
	}
	for _, w := range words {
		f := c.Descriptor().Fields().ByName(w)
		if f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() && c.Get(f).String() != "" {
			rd.in.Text = c.Get(f).String()
			return
		}
	}
}
