package fetch

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
)

// maxPath bounds where a stranger says that a file is.
const maxPath = 4096

// A File is what it takes to fetch an attachment, by any process and at any time:
// the Source of a [gateway.Attachment]. It is a whatsmeow.DownloadableMessage.
// It does not print its key.
type File struct {
	Kind      string         `json:"kind"` // image, video, audio, document or sticker
	Path      string         `json:"direct_path"`
	Key       gateway.Secret `json:"-"`
	SHA256    []byte         `json:"sha256"`
	EncSHA256 []byte         `json:"enc_sha256"`
	Length    int64          `json:"length"` // bytes, as the sender says
	ID        string         `json:"id"`     // of the message, as are the rest
	Chat      string         `json:"chat"`
	Sender    string         `json:"sender"`
	FromMe    bool           `json:"from_me,omitempty"`
	Asked     int            `json:"asked,omitempty"`  // how often the phone was asked for it
	Broken    int            `json:"broken,omitempty"` // how often it arrived broken
}

// sealedFile is a File as it is stored.
type sealedFile struct {
	File
	Key []byte `json:"media_key"`
}

var mediaTypes = map[string]whatsmeow.MediaType{
	"image": whatsmeow.MediaImage, "video": whatsmeow.MediaVideo, "audio": whatsmeow.MediaAudio,
	"document": whatsmeow.MediaDocument, "sticker": whatsmeow.MediaImage,
}

// ParseFile reads an attachment's Source. An error says that nothing can be
// fetched with it.
func ParseFile(source json.RawMessage) (*File, error) {
	var s sealedFile
	if err := json.Unmarshal(source, &s); err != nil {
		return nil, fmt.Errorf("parse source of an attachment: %w", err)
	}
	f := s.File
	f.Key = gateway.Secret(s.Key)
	if !f.Whole() {
		return nil, errors.New("parse source of an attachment: it is not whole")
	}
	return &f, nil
}

// Whole reports whether the file could be fetched and checked.
func (f *File) Whole() bool {
	return mediaTypes[f.Kind] != "" && len(f.Path) > 1 && f.Path[0] == '/' && len(f.Path) <= maxPath &&
		len(f.Key) == 32 && len(f.SHA256) == 32 && len(f.EncSHA256) == 32
}

// Source is what ParseFile reads.
func (f *File) Source() json.RawMessage {
	raw, err := json.Marshal(sealedFile{File: *f, Key: []byte(f.Key)})
	if err != nil {
		return nil // strings, numbers and bytes always encode
	}
	return raw
}

// GetDirectPath returns where the file is, on any host for media.
func (f *File) GetDirectPath() string { return f.Path }

// GetMediaKey returns the key to it.
func (f *File) GetMediaKey() []byte { return []byte(f.Key) }

// GetFileSHA256 returns the plain file's hash.
func (f *File) GetFileSHA256() []byte { return f.SHA256 }

// GetFileEncSHA256 returns the encrypted file's hash.
func (f *File) GetFileEncSHA256() []byte { return f.EncSHA256 }

// GetMediaType returns the library's name for the kind.
func (f *File) GetMediaType() whatsmeow.MediaType { return mediaTypes[f.Kind] }

// Info names the message as the library wants it to ask the phone for a file
// again.
func (f *File) Info() *types.MessageInfo {
	chat, _ := types.ParseJID(f.Chat)
	sender, _ := types.ParseJID(f.Sender)
	return &types.MessageInfo{ID: f.ID, MessageSource: types.MessageSource{
		Chat: chat, Sender: sender, IsFromMe: f.FromMe, IsGroup: chat.Server == types.GroupServer,
	}}
}
