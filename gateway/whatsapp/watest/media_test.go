//go:build watest

package watest_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types/events"
)

func TestMediaGoesDown(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	chat := s.Contact("491510000002").To(phone)
	sound, picture := bytes.Repeat([]byte("opus"), 1000), bytes.Repeat([]byte("jpeg"), 4) // whole cipher blocks

	voice := c.message(chat.Voice(sound, 3*time.Second).ID)
	got(t, "type", voice.Info.MediaType, "ptt")
	got(t, "voice note", voice.Message.GetAudioMessage().GetPTT(), true)
	is, err := c.cli.Download(c.ctx, voice.Message.GetAudioMessage())
	c.must(err)
	got(t, "sound is whole", bytes.Equal(is, sound), true)

	image := c.message(chat.Image(picture, "my room").ID)
	got(t, "caption", image.Message.GetImageMessage().GetCaption(), "my room")
	is, err = c.cli.Download(c.ctx, image.Message.GetImageMessage())
	c.must(err)
	got(t, "picture is whole", bytes.Equal(is, picture), true)
}

func TestMediaGoesUp(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	data := bytes.Repeat([]byte("pdf."), 999)
	up, err := c.cli.Upload(c.ctx, data, whatsmeow.MediaDocument)
	c.must(err)
	document := &waE2E.DocumentMessage{
		URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
		FileLength: &up.FileLength, FileName: new("bill.pdf"), Mimetype: new("application/pdf"),
	}
	c.send(ada.LID(), &waE2E.Message{DocumentMessage: document})
	r, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	is, err := r.Media()
	c.must(err)
	got(t, "document is whole", bytes.Equal(is, data), true)

	document.FileSHA256 = make([]byte, 32)
	c.send(ada.LID(), &waE2E.Message{DocumentMessage: document})
	r, err = s.Expect(ada).Message(c.ctx)
	c.must(err)
	if _, err := r.Media(); err == nil {
		t.Error("a file that is not what the message says was opened")
	}
}

func TestLostMediaComesAgainFromThePhone(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	sent := s.Contact("491510000002").To(phone).Voice([]byte("some sound"), time.Second)
	m := c.message(sent.ID)
	sent.LoseMedia()
	sound := m.Message.GetAudioMessage()
	if _, err := c.cli.Download(c.ctx, sound); !errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith404) {
		t.Fatalf("the download of a lost file ended with %v, want 404", err)
	}
	c.must(c.cli.SendMediaRetryReceipt(c.ctx, &m.Info, sound.GetMediaKey()))
	again, err := whatsmeow.DecryptMediaRetryNotification(expect[*events.MediaRetry](c, nil), sound.GetMediaKey())
	c.must(err)
	got(t, "result", again.GetResult(), waMmsRetry.MediaRetryNotification_SUCCESS)
	sound.DirectPath = again.DirectPath
	is, err := c.cli.Download(c.ctx, sound)
	c.must(err)
	got(t, "sound", string(is), "some sound")

	m.Info.ID = "nobody sent this"
	c.must(c.cli.SendMediaRetryReceipt(c.ctx, &m.Info, sound.GetMediaKey()))
	_, err = whatsmeow.DecryptMediaRetryNotification(expect[*events.MediaRetry](c, nil), sound.GetMediaKey())
	if !errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone) {
		t.Errorf("what the phone has not ended with %v", err)
	}
	c.must(d.Settled(c.ctx))
}
