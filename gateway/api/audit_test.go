package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// TestTheAuditHasNoWholeNumbers: neither of a route that names people by their
// numbers, nor of what was put into another by mistake.
func TestTheAuditHasNoWholeNumbers(t *testing.T) {
	const windows = "/business_accounts/acc_main/conversation_windows/"
	tests := map[string]struct{ path, want string }{
		"a number":                     {windows + "+4915112345678", windows + "+*********5678"},
		"a number without its plus":    {windows + "4915112345678", windows + "*********5678"},
		"a short number":               {windows + "12345", windows + "*2345"},
		"a number that is escaped":     {windows + "%2B4915112345678", windows + "+*********5678"},
		"a number for an id":           {"/contacts/+4915112345678/context", "/contacts/+*********5678/context"},
		"as people write it":           {"/contacts/+49%20(151)%20123-456.78/context", "/contacts/+** (***) ***-*56.78/context"},
		"of WhatsApp":                  {"/contacts/4915112345678@s.whatsapp.net/context", "/contacts/*********5678@s.whatsapp.net/context"},
		"in other digits":              {"/contacts/٤٩١٥١١٢٣٤٥/context", "/contacts/******٢٣٤٥/context"},
		"behind a word":                {"/contacts/ctc_4915112345678/context", "/contacts/ctc_*********5678/context"},
		"in a message's id of Meta's":  {"/contacts/wamid.HBgLMTU1NTAwMDExMTEVAgARGBI=/context", "/contacts/wamid.(…)"},
		"the query is not there":       {"/contacts/ctc_x/context?phone_number=%2B4915112345678", "/contacts/ctc_x/context"},
		"an agent's id":                {"/agents/agt_11111111111141118111111111111111", "/agents/agt_11111111111141118111111111111111"},
		"an agent's id as a UUID":      {"/agents/11111111-1111-4111-8111-111111111111", "/agents/11111111-1111-4111-8111-111111111111"},
		"a contact's id":               {"/contacts/ctc_2345672345672345672345abcd/context", "/contacts/ctc_2345672345672345672345abcd/context"},
		"a number that is an id's":     {"/webhooks/123456", "/webhooks/123456"},
		"a digest of a key":            {"/keys/" + gateway.KeyDigest("a"), "/keys/" + gateway.KeyDigest("a")},
		"a key":                        {"/keys/wrb_live_abcdefghijklmnopqrstuvwxyz", "/keys/wrb_live_(…)"},
		"a number at the end of space": {"/contacts/" + strings.Repeat("x", 482) + "+4915112345678/context", "/contacts/" + strings.Repeat("x", 482) + "+*********567"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := &owned{}
			e := echo.New()
			answer := func(c echo.Context) error { return c.NoContent(http.StatusNoContent) }
			watch := audit(o, ofKey, slog.New(slog.DiscardHandler))
			for _, route := range []string{"/business_accounts/:account/conversation_windows/:phone", "/contacts/:contact/context", "/agents/:agent", "/webhooks/:webhook", "/keys/:key"} {
				e.DELETE("/api/v1"+route, answer, watch)
			}
			e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, "/api/v1"+tt.path, nil))
			if len(o.entries) != 1 || o.entries[0].Subject != "/api/v1"+tt.want {
				t.Errorf("the audit has %+v, want %s", o.entries, tt.want)
			}
		})
	}
}
