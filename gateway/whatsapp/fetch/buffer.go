package fetch

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// errTooLarge ends a download that goes on and on.
var errTooLarge = errors.New("the file is larger than it may be")

// sealing is by how many bytes an encrypted file may be longer: a block of
// padding and a MAC.
const sealing = 16 + 10

// A buffer is a file in memory, for the library to download to and decrypt in. It
// takes no more than limit bytes and the sealing. It is not safe for concurrent
// use.
type buffer struct {
	data  []byte
	at    int64
	limit int64
	whole bool // it was truncated: what came had the right hash, and its MAC is taken off
}

// Write writes at the position, as on a file.
func (b *buffer) Write(p []byte) (int, error) {
	n, err := b.WriteAt(p, b.at)
	b.at += int64(n)
	return n, err
}

// WriteAt writes all of p, or nothing.
func (b *buffer) WriteAt(p []byte, at int64) (int, error) {
	end := at + int64(len(p))
	switch {
	case at < 0:
		return 0, fs.ErrInvalid
	case end > b.limit+sealing:
		return 0, errTooLarge
	case end > int64(len(b.data)):
		b.data = append(b.data, make([]byte, end-int64(len(b.data)))...)
	}
	return copy(b.data[at:], p), nil
}

// Read reads from the position, as from a file.
func (b *buffer) Read(p []byte) (int, error) {
	n, err := b.ReadAt(p, b.at)
	b.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// ReadAt returns io.EOF with less than all of p.
func (b *buffer) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fs.ErrInvalid
	}
	n := copy(p, b.data[min(at, int64(len(b.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Seek sets the position, as in a file.
func (b *buffer) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += int64(len(b.data))
	}
	if offset < 0 {
		return b.at, fs.ErrInvalid
	}
	b.at = offset
	return offset, nil
}

// Truncate cuts the end off.
func (b *buffer) Truncate(size int64) error {
	if size < 0 || size > int64(len(b.data)) {
		return fs.ErrInvalid
	}
	b.data, b.whole = b.data[:size], true
	return nil
}

// Stat tells the size, and nothing else.
func (b *buffer) Stat() (fs.FileInfo, error) { return info(len(b.data)), nil }

// info is the size of a file in memory.
type info int64

func (i info) Size() int64      { return int64(i) }
func (info) Name() string       { return "" }
func (info) Mode() fs.FileMode  { return 0o600 }
func (info) ModTime() time.Time { return time.Time{} }
func (info) IsDir() bool        { return false }
func (info) Sys() any           { return nil }
