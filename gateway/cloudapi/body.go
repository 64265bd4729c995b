package cloudapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// What strangers may make us keep before their signature was looked at. Meta's
// bodies are a few KB, those of histories excepted. A small one costs little;
// of larger ones few are read at once, and their senders may not dawdle.
const (
	smallBody   = 64 << 10
	largeBodies = 16
	largeRead   = 10 * time.Second
	largeWait   = 5 * time.Second
)

var errCrowded = errors.New("too many large bodies at once")

// A lobby is where bodies are read that nobody has verified yet.
type lobby chan struct{}

func newLobby() lobby { return make(lobby, largeBodies) }

// read returns the request's body. leave must be called once the signature was
// looked at; it may be called again.
func (l lobby) read(w http.ResponseWriter, r *http.Request) (body []byte, leave func(), err error) {
	leave = func() {}
	if r.ContentLength > maxBody {
		return nil, leave, &http.MaxBytesError{Limit: maxBody}
	}
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	var b bytes.Buffer
	if _, err := io.CopyN(&b, limited, smallBody); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return b.Bytes(), leave, err
	}
	full := time.NewTimer(largeWait)
	defer full.Stop()
	select {
	case l <- struct{}{}:
	case <-full.C:
		return nil, leave, errCrowded
	case <-r.Context().Done():
		return nil, leave, errCrowded
	}
	here := true
	leave = func() {
		if here {
			here = false
			<-l
		}
	}
	// Where the connection knows no deadlines, whoever made it bounds the read.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(largeRead))
	_, err = io.Copy(&b, limited)
	_ = conn.SetReadDeadline(time.Time{}) // it would end the request's context
	return b.Bytes(), leave, err
}
