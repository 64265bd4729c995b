package content

import (
	"math"

	"go.mau.fi/whatsmeow"

	"wagent/gateway"
	"wagent/gateway/whatsapp/fetch"
)

// media is a message that has a file.
type media interface {
	whatsmeow.DownloadableMessage
	GetMimetype() string
	GetFileLength() uint64
}

// attach notes the message's file, if it can be fetched.
func (rd *reading) attach(kind string, m media, name string) {
	rd.detail.set("mime_type", m.GetMimetype())
	f := &fetch.File{
		Kind: kind, Path: m.GetDirectPath(), Key: gateway.Secret(m.GetMediaKey()), SHA256: m.GetFileSHA256(),
		EncSHA256: m.GetFileEncSHA256(), Length: int64(min(m.GetFileLength(), math.MaxInt64)),
		ID: rd.info.ID, Chat: rd.info.Chat.ToNonAD().String(), Sender: rd.info.Sender.ToNonAD().String(), FromMe: rd.info.IsFromMe,
	}
	if !f.Whole() {
		return
	}
	rd.in.Attachment = &gateway.Attachment{
		MimeType: cut(m.GetMimetype(), maxName), Name: cut(name, maxName), Size: f.Length, Source: f.Source(),
	}
}

func (rd *reading) text() {
	rd.in.Type, rd.in.Text = gateway.TypeText, rd.m.GetConversation()
	if rd.in.Text == "" {
		rd.in.Text = rd.m.GetExtendedTextMessage().GetText()
	}
}

func (rd *reading) image() {
	m := rd.m.GetImageMessage()
	rd.in.Type, rd.in.Text = gateway.TypeImage, m.GetCaption()
	rd.attach("image", m, "")
	rd.detail.set("width", m.GetWidth())
	rd.detail.set("height", m.GetHeight())
	rd.viewOnce = rd.viewOnce || m.GetViewOnce()
}

// video reads a video, or a round video note.
func (rd *reading) video() {
	m := rd.m.GetVideoMessage()
	if m == nil {
		m = rd.m.GetPtvMessage()
	}
	rd.in.Type, rd.in.Text = gateway.TypeVideo, m.GetCaption()
	rd.attach("video", m, "")
	rd.detail.set("seconds", m.GetSeconds())
	rd.detail.set("gif", m.GetGifPlayback())
	rd.viewOnce = rd.viewOnce || m.GetViewOnce()
}

func (rd *reading) audio() {
	m := rd.m.GetAudioMessage()
	rd.in.Type = gateway.TypeAudio
	rd.attach("audio", m, "")
	rd.detail.set("voice", m.GetPTT())
	rd.detail.set("seconds", m.GetSeconds())
	rd.viewOnce = rd.viewOnce || m.GetViewOnce()
}

func (rd *reading) document() {
	m := rd.m.GetDocumentMessage()
	name := m.GetFileName()
	if name == "" {
		name = m.GetTitle()
	}
	rd.in.Type, rd.in.Text = gateway.TypeDocument, m.GetCaption()
	if rd.in.Text == "" {
		rd.in.Text = name
	}
	rd.attach("document", m, name)
	rd.detail.set("filename", name)
	rd.detail.set("pages", m.GetPageCount())
}

func (rd *reading) sticker() {
	m := rd.m.GetStickerMessage()
	rd.in.Type, rd.in.Text = gateway.TypeSticker, m.GetEmojis()
	rd.attach("sticker", m, "")
	rd.detail.set("animated", m.GetIsAnimated() || m.GetIsLottie())
	rd.detail.set("label", m.GetAccessibilityLabel())
}
