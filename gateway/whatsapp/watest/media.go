//go:build watest

package watest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/util/cbcutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
)

const (
	mediaHost    = "mmg.watest.invalid" // nobody resolves it: Attach dials the server
	maxMedia     = 100 << 20
	mediaMACSize = 10
)

func mediaHosts() node {
	return node{
		Tag: "media_conn", Attrs: attrs{"auth": "watest", "ttl": 3600, "auth_ttl": 3600, "max_buckets": 12},
		Content: []node{{Tag: "host", Attrs: attrs{"hostname": mediaHost}}},
	}
}

// media serves what clients and people upload. What is lost is 404.
func (s *Server) media(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	switch r.Method {
	case http.MethodPost:
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMedia))
		sum := sha256.Sum256(data)
		if err != nil || name != base64.URLEncoding.EncodeToString(sum[:]) {
			http.Error(w, "the token is not the hash of what came", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		p := s.store(data)
		_ = json.NewEncoder(w).Encode(map[string]string{"url": "https://" + mediaHost + p, "direct_path": p})
	case http.MethodGet:
		s.mu.Lock()
		data, ok := s.files[name]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	case http.MethodDelete:
		w.WriteHeader(http.StatusOK)
	default:
		http.Error(w, "", http.StatusMethodNotAllowed)
	}
}

// store keeps a file and returns its direct path.
func (s *Server) store(data []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(data)
}

// put is store for who holds mu.
func (s *Server) put(data []byte) string {
	name := s.newID()
	s.files[name] = data
	return "/v/f/" + name + "?ccb=watest"
}

// A blob is an encrypted file and what a message says of it.
type blob struct {
	data                    []byte
	mediaKey, encSum, plain []byte
	length                  uint64
}

// encryptMedia encrypts a file as WhatsApp does: AES-256-CBC, and the first 10
// bytes of an HMAC over IV and ciphertext behind it.
func encryptMedia(kind whatsmeow.MediaType, data []byte) *blob {
	b := &blob{mediaKey: make([]byte, 32), length: uint64(len(data))}
	_, _ = rand.Read(b.mediaKey)
	iv, cipherKey, macKey := mediaKeys(b.mediaKey, kind)
	sealed, err := cbcutil.Encrypt(cipherKey, iv, slices.Clip(data))
	if err != nil {
		panic(fmt.Errorf("encrypt a file: %w", err)) // the key has its length
	}
	b.data = append(sealed, mediaMAC(macKey, iv, sealed)...)
	plain, enc := sha256.Sum256(data), sha256.Sum256(b.data)
	b.plain, b.encSum = plain[:], enc[:]
	return b
}

func mediaKeys(key []byte, kind whatsmeow.MediaType) (iv, cipherKey, macKey []byte) {
	k := hkdfutil.SHA256(key, nil, []byte(kind), 112)
	return k[:16], k[16:48], k[48:80]
}

func mediaMAC(key, iv, sealed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(iv)
	mac.Write(sealed)
	return mac.Sum(nil)[:mediaMACSize]
}

// Voice sends a voice note.
func (c *Chat) Voice(data []byte, length time.Duration) *Sent {
	b := encryptMedia(whatsmeow.MediaAudio, data)
	p := c.from.s.store(b.data)
	return c.Send(&waE2E.Message{AudioMessage: &waE2E.AudioMessage{
		PTT: new(true), Seconds: new(uint32(length.Seconds())), Mimetype: new("audio/ogg; codecs=opus"),
		URL: new("https://" + mediaHost + p), DirectPath: &p, MediaKey: b.mediaKey,
		FileEncSHA256: b.encSum, FileSHA256: b.plain, FileLength: &b.length,
	}})
}

// Image sends a JPEG picture with a caption, which may be empty.
func (c *Chat) Image(data []byte, caption string) *Sent {
	b := encryptMedia(whatsmeow.MediaImage, data)
	p := c.from.s.store(b.data)
	return c.Send(&waE2E.Message{ImageMessage: &waE2E.ImageMessage{
		Caption: new(caption), Mimetype: new("image/jpeg"),
		URL: new("https://" + mediaHost + p), DirectPath: &p, MediaKey: b.mediaKey,
		FileEncSHA256: b.encSum, FileSHA256: b.plain, FileLength: &b.length,
	}})
}

// attachment is the file of a message: of those that this package sends and
// clients under test are likely to.
func attachment(msg *waE2E.Message) (whatsmeow.DownloadableMessage, whatsmeow.MediaType) {
	switch {
	case msg.GetAudioMessage() != nil:
		return msg.AudioMessage, whatsmeow.MediaAudio
	case msg.GetImageMessage() != nil:
		return msg.ImageMessage, whatsmeow.MediaImage
	case msg.GetVideoMessage() != nil:
		return msg.VideoMessage, whatsmeow.MediaVideo
	case msg.GetDocumentMessage() != nil:
		return msg.DocumentMessage, whatsmeow.MediaDocument
	default:
		return nil, ""
	}
}

func mediaKind(msg *waE2E.Message) string {
	switch {
	case msg.GetAudioMessage().GetPTT():
		return "ptt"
	case msg.GetAudioMessage() != nil:
		return "audio"
	case msg.GetImageMessage() != nil:
		return "image"
	case msg.GetVideoMessage() != nil:
		return "video"
	case msg.GetDocumentMessage() != nil:
		return "document"
	default:
		return ""
	}
}

// Media decrypts the file of the message. An error says that there is none,
// that it is lost, or that it is not what the message says.
func (r *Received) Media() ([]byte, error) {
	m, kind := attachment(r.Message)
	if m == nil {
		return nil, errors.New("open media: the message has none")
	}
	r.s.mu.Lock()
	data, ok := r.s.files[fileOf(m.GetDirectPath())]
	r.s.mu.Unlock()
	if !ok || len(data) < mediaMACSize {
		return nil, errors.New("open media: the file is lost")
	}
	iv, cipherKey, macKey := mediaKeys(m.GetMediaKey(), kind)
	sealed, mac := data[:len(data)-mediaMACSize], data[len(data)-mediaMACSize:]
	enc := sha256.Sum256(data)
	if !bytes.Equal(enc[:], m.GetFileEncSHA256()) || !hmac.Equal(mac, mediaMAC(macKey, iv, sealed)) {
		return nil, errors.New("open media: hash or MAC is wrong")
	}
	plain, err := cbcutil.Decrypt(cipherKey, iv, bytes.Clone(sealed))
	if err != nil {
		return nil, fmt.Errorf("open media: %w", err)
	}
	if sum := sha256.Sum256(plain); !bytes.Equal(sum[:], m.GetFileSHA256()) {
		return nil, errors.New("open media: the plain file's hash is wrong")
	}
	return plain, nil
}

func fileOf(directPath string) string {
	file, _, _ := bytes.Cut([]byte(path.Base(directPath)), []byte("?"))
	return string(file)
}

// LoseMedia removes the message's file from the servers, as WhatsApp does after
// weeks. A client that asks for it again gets a new one from the phone.
func (m *Sent) LoseMedia() {
	file, _ := attachment(m.msg)
	if file == nil {
		panic(m.ID + " has no media")
	}
	s := m.chat.from.s
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fileOf(file.GetDirectPath())
	s.files["lost "+name] = s.files[name]
	delete(s.files, name)
}

// reupload answers a client's request for a file that is gone.
func (s *Server) reupload(d *Device, n *node) {
	rmr := child(n, "rmr")
	answer := node{Tag: "notification", Attrs: attrs{"from": d.phone.pn, "type": "mediaretry", "id": idOf(n), "t": time.Now().Unix()}}
	m := s.sent[idOf(n)]
	var file whatsmeow.DownloadableMessage
	if m != nil {
		file, _ = attachment(m.msg)
	}
	if file == nil {
		answer.Content = []node{*rmr, {Tag: "error", Attrs: attrs{"code": "2"}}} // not on the phone either
		d.push(answer, nil)
		return
	}
	data, ok := s.files["lost "+fileOf(file.GetDirectPath())]
	if !ok {
		data = s.files[fileOf(file.GetDirectPath())]
	}
	plain := marshal(&waMmsRetry.MediaRetryNotification{
		StanzaID: &m.ID, DirectPath: new(s.put(data)), Result: waMmsRetry.MediaRetryNotification_SUCCESS.Enum(),
	})
	iv := make([]byte, 12)
	_, _ = rand.Read(iv)
	key := hkdfutil.SHA256(file.GetMediaKey(), nil, []byte("WhatsApp Media Retry Notification"), 32)
	answer.Content = []node{*rmr, {Tag: "encrypt", Content: []node{
		{Tag: "enc_p", Content: gcm(key).Seal(nil, iv, plain, []byte(m.ID))},
		{Tag: "enc_iv", Content: iv},
	}}}
	d.push(answer, nil)
}
