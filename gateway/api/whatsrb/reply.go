package whatsrb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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

func replyData(c echo.Context, status int, data any) error {
	return reply(c, status, dataBody{Data: data})
}

func replyList(c echo.Context, data any, total int) error {
	return reply(c, http.StatusOK, listBody{Data: data, Meta: listMeta{Total: total}})
}

// reply encodes before it writes, so that what can't be encoded becomes an
// error and not half an answer.
func reply(c echo.Context, status int, body any) error {
	b, err := encode(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return c.Blob(status, echo.MIMEApplicationJSON, b)
}

// encode leaves <, > and & as they are: JSON here is not put into pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// stamp is ISO 8601 in UTC and whole seconds, or null for the zero time. The
// Ruby SDK takes nothing else.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format("2006-01-02T15:04:05Z")
	return &s
}

// orNull is null for the empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// pathID returns a segment of the path, or false if it can't be an id: no
// store is asked for what it could not have stored.
func pathID(c echo.Context, name string) (string, bool) {
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

// limitParam reads the optional limit of a list, from 1 to most.
func limitParam(c echo.Context, most int) (int, error) {
	s := c.QueryParam("limit")
	if s == "" {
		return most, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, badRequest(fmt.Sprintf("limit must be between 1 and %d", most))
	}
	return n, nil
}
