package sessions

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// safe are the types that no browser runs anything of, with the ending of a
// file that has no name. A stranger's file of any other type is bytes.
var safe = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp",
	"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/amr": ".amr",
	"video/mp4": ".mp4", "video/3gpp": ".3gp",
	"application/pdf": ".pdf",
}

// unsafeType is what stands for types that are not safe.
const unsafeType = "application/octet-stream"

// file returns the bytes that came with a message.
func (h *API) file(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	id, ok := wire.PathID(c, "message")
	if !ok {
		return wire.NotFound("message")
	}
	m, data, err := h.Files.MediaByMessage(c.Request().Context(), gateway.MessageID(id))
	if err != nil {
		return fmt.Errorf("find file of message %s: %w", id, err)
	}
	if m.Account != a.ID {
		return wire.NotFound("file")
	}
	if err := available(&m, time.Now()); err != nil {
		return err
	}
	contentType, ending := typeOf(m.MimeType)
	header := c.Response().Header()
	header.Set(echo.HeaderXContentTypeOptions, "nosniff")
	header.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": fileName(m.Name, id+ending)}))
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(data)))
	return c.Blob(http.StatusOK, contentType, data)
}

func available(m *gateway.Media, now time.Time) error {
	gone := func(why string) error { return echo.NewHTTPError(http.StatusGone, why) }
	switch m.State {
	case gateway.MediaKept:
		if m.ExpiresAt.IsZero() || now.Before(m.ExpiresAt) {
			return nil
		}
		return gone("The file was kept for its time, and deleted")
	case gateway.MediaExpired:
		return gone("The file was kept for its time, and deleted")
	case gateway.MediaTooLarge:
		return gone("The file was too large to be kept")
	case gateway.MediaWanted:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "the file is still being fetched"}
	case gateway.MediaAsked:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "the file is still being fetched: the sender's phone was asked for it again"}
	case gateway.MediaGone:
	}
	return gone("The file can't be had any more")
}

// typeOf returns the type to serve a file as, and the ending of its name.
func typeOf(declared string) (contentType, ending string) {
	base, params, err := mime.ParseMediaType(declared)
	if err != nil {
		return unsafeType, ""
	}
	ending, ok := safe[base]
	if !ok {
		return unsafeType, ""
	}
	if codecs, ok := params["codecs"]; ok {
		if t := mime.FormatMediaType(base, map[string]string{"codecs": codecs}); t != "" {
			return t, ending
		}
	}
	return base, ending
}

// maxFileName is in characters.
const maxFileName = 128

// fileName makes a name that a file system takes of what a stranger called
// their file, or returns otherwise if nothing is left of it. Folders go, and
// what does not print: some of it turns the text around, to hide the ending.
func fileName(name, otherwise string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar, !unicode.IsPrint(r) && !unicode.IsSpace(r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		case strings.ContainsRune(`<>:"|?*%`, r):
			return '_'
		default:
			return r
		}
	}, name)
	name = strings.Trim(name, " .")
	if runes := []rune(name); len(runes) > maxFileName { // its end says what it is
		name = strings.Trim(string(runes[len(runes)-maxFileName:]), " .")
	}
	if name == "" {
		return otherwise
	}
	return name
}
