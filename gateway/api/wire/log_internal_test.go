package wire

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// TestTheLogHasNoWholeNumbers of a path that names people by them, or does by
// mistake: an error says what it was about.
func TestTheLogHasNoWholeNumbers(t *testing.T) {
	tests := map[string]struct{ path, says, want string }{
		"a number":                  {"/contacts/+4915112345678", "read contact +4915112345678: timeout", "read contact +*********5678: timeout"},
		"a number without its plus": {"/contacts/4915112345678", "read contact 4915112345678: timeout", "read contact *********5678: timeout"},
		"that is escaped":           {"/contacts/%2B4915112345678", "read contact +4915112345678", "read contact +*********5678"},
		"in the form that we keep":  {"/windows/4915112345678", "write window of +4915112345678", "write window of +*********5678"},
		"a short one":               {"/windows/12345", "write window of 12345", "write window of *2345"},
		"a key for an id":           {"/contacts/wrb_live_abcdef", "read contact wrb_live_abcdef", "read contact wrb_live_(…)"},
		"an id of ours":             {"/contacts/ctc_2345672345672345672345abcd", "read contact ctc_2345672345672345672345abcd", "read contact ctc_2345672345672345672345abcd"},
		"an address and a time":     {"/contacts/a", "2026-11-26 dial 192.168.10.200:5432", "2026-11-26 dial 192.168.10.200:5432"},
	}
	for name, tt := range tests {
		for status, err := range map[int]error{
			http.StatusInternalServerError: errors.New(tt.says),
			http.StatusServiceUnavailable:  &gateway.Error{Kind: gateway.Unavailable, Msg: "away", Err: errors.New(tt.says)},
		} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				var log bytes.Buffer
				e := echo.New()
				e.HTTPErrorHandler = ErrorHandler(slog.New(slog.NewTextHandler(&log, nil)))
				answer := func(echo.Context) error { return err }
				e.GET("/contacts/:contact", answer)
				e.GET("/windows/:phone", answer)
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
				if w.Code != status || !strings.Contains(log.String(), tt.want) {
					t.Errorf("answered %d; the log has %s, want %s", w.Code, log.String(), tt.want)
				}
			})
		}
	}
}
