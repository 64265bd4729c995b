package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

type dataBody struct {
	Data any `json:"data"`
}

type listBody struct {
	Data any      `json:"data"`
	Meta listMeta `json:"meta"`
}

type listMeta struct {
	Total int `json:"total"`
}

// Data answers with what a call is about, in the envelope of the contract.
func Data(c echo.Context, status int, data any) error {
	return JSON(c, status, dataBody{Data: data})
}

// List answers with all that there is, or with the last of it, and with how
// many there are in all. Data of type []json.RawMessage is written as it is.
func List(c echo.Context, data any, total int) error {
	if encoded, ok := data.([]json.RawMessage); ok {
		b := lists.Get().(*[]byte)
		defer lists.Put(b)
		*b = appendList((*b)[:0], encoded, total)
		return write(c, http.StatusOK, *b)
	}
	return JSON(c, http.StatusOK, listBody{Data: data, Meta: listMeta{Total: total}})
}

// lists are buffers of lists that were written: such a list may be a megabyte.
var lists = sync.Pool{New: func() any { return new([]byte) }}

// appendList adds a listBody of what is JSON already, which encoding/json would
// read through once more.
func appendList(b []byte, data []json.RawMessage, total int) []byte {
	b = append(b, `{"data":[`...)
	for i, d := range data {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, d...)
	}
	b = append(b, `],"meta":{"total":`...)
	b = strconv.AppendInt(b, int64(total), 10)
	return append(b, "}}"...)
}

// JSON answers without an envelope. It encodes before it writes, so that what
// can't be encoded becomes an error and not half an answer.
func JSON(c echo.Context, status int, body any) error {
	b, err := encode(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return write(c, status, b)
}

// write says how long the answer is, so that a long one goes out and is read as it
// is, and not in chunks.
func write(c echo.Context, status int, b []byte) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(b)))
	return c.Blob(status, echo.MIMEApplicationJSON, b)
}

// encode makes JSON. It leaves <, > and & as they are: JSON here is not put
// into pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Stamp is ISO 8601 in UTC and whole seconds, or null for the zero time. The
// Ruby SDK takes nothing else.
func Stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format("2006-01-02T15:04:05Z")
	return &s
}

// OrNull is null for the empty string.
func OrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// PathID returns a segment of the path, or false if it can't be an id: no
// store is asked for what it could not have stored.
func PathID(c echo.Context, name string) (string, bool) {
	s := c.Param(name)
	if c.Request().URL.RawPath != "" { // then echo matched it, and left it escaped
		var err error
		if s, err = url.PathUnescape(s); err != nil {
			return "", false
		}
	}
	if s == "" || len(s) > 128 || !utf8.ValidString(s) {
		return "", false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == '/' {
			return "", false
		}
	}
	return s, true
}

// PhoneNumber returns a number in E.164 form with its plus sign, which may be
// missing, or have become a space in a query. It reports false for what is no
// number.
func PhoneNumber(s string) (string, bool) {
	digits := strings.TrimPrefix(strings.TrimSpace(s), "+")
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return "+" + digits, true
}
