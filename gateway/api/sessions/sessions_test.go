package sessions

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.api().Mount, m.do
	})
}

func TestStatus(t *testing.T) {
	now := time.Now()
	pairing := func(step gateway.PairingStep, expires time.Duration) *gateway.Pairing {
		return &gateway.Pairing{Step: step, QR: "2@x", ExpiresAt: now.Add(expires)}
	}
	tests := map[string]struct {
		state   gateway.LinkState
		pairing *gateway.Pairing
		want    string
	}{
		"never paired":                             {gateway.LinkUnpaired, nil, "disconnected"},
		"a pairing that nobody works on yet":       {gateway.LinkUnpaired, pairing(gateway.StepWanted, 0), "connecting"},
		"a picture to scan":                        {gateway.LinkUnpaired, pairing(gateway.StepQR, time.Minute), "qr_pending"},
		"a picture to scan after a logout":         {gateway.LinkLoggedOut, pairing(gateway.StepQR, time.Minute), "qr_pending"},
		"a picture that nobody renewed":            {gateway.LinkUnpaired, pairing(gateway.StepQR, 0), "connecting"},
		"a code to type":                           {gateway.LinkUnpaired, pairing(gateway.StepCode, time.Minute), "connecting"},
		"a passkey to answer":                      {gateway.LinkUnpaired, pairing(gateway.StepPasskey, time.Minute), "connecting"},
		"codes to compare":                         {gateway.LinkUnpaired, pairing(gateway.StepConfirm, time.Minute), "connecting"},
		"a pairing that failed":                    {gateway.LinkUnpaired, pairing(gateway.StepFailed, time.Minute), "disconnected"},
		"a pairing that nobody scanned":            {gateway.LinkUnpaired, pairing(gateway.StepExpired, time.Minute), "disconnected"},
		"paired, and connecting":                   {gateway.LinkConnecting, pairing(gateway.StepDone, 0), "connecting"},
		"connected":                                {gateway.LinkConnected, pairing(gateway.StepDone, 0), "connected"},
		"connected, whatever a pairing says":       {gateway.LinkConnected, pairing(gateway.StepQR, time.Minute), "connected"},
		"lost":                                     {gateway.LinkDisconnected, pairing(gateway.StepDone, 0), "disconnected"},
		"unlinked on the phone":                    {gateway.LinkLoggedOut, pairing(gateway.StepDone, 0), "disconnected"},
		"banned":                                   {gateway.LinkBanned, pairing(gateway.StepDone, 0), "disconnected"},
		"connected elsewhere with the same device": {gateway.LinkReplaced, pairing(gateway.StepDone, 0), "disconnected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := session{link: gateway.Link{State: tt.state}, pairing: tt.pairing}
			b, err := s.body(now)
			if err != nil {
				t.Fatal(err)
			}
			if b.Status != tt.want || b.Connected != (tt.want == "connected") {
				t.Errorf("status is %s, connected %v; want %s", b.Status, b.Connected, tt.want)
			}
			if tt.want != "connected" && (b.QRCode != nil) != (tt.want == "qr_pending") {
				t.Errorf("qr_code is there: %v", b.QRCode != nil)
			}
		})
	}
}

// TestPicture reads pictures as a phone does, with another library than the
// one that draws them.
func TestPicture(t *testing.T) {
	for name, text := range map[string]string{
		"the shortest": "x",
		// What WhatsApp gives: a reference and three keys.
		"as long as WhatsApp's": "https://wa.me/settings/linked_devices#2@" + strings.Repeat("aB3/", 25) + "," + strings.Repeat("cD4+", 10) + "=," +
			strings.Repeat("eF5/", 10) + "=," + strings.Repeat("gH6+", 10) + "=,1",
	} {
		t.Run(name, func(t *testing.T) {
			url, err := picture(text)
			if err != nil {
				t.Fatal(err)
			}
			encoded, ok := strings.CutPrefix(url, "data:image/png;base64,")
			if !ok {
				t.Fatalf("the URL begins %.30q", url)
			}
			b, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if size := img.Bounds().Size(); size.X < minPicture || size.X != size.Y {
				t.Errorf("the picture is %v", size)
			}
			if !framed(img, quiet*moduleSize) {
				t.Error("the code has no white around it")
			}
			bits, err := gozxing.NewBinaryBitmapFromImage(img)
			if err != nil {
				t.Fatal(err)
			}
			got, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
			if err != nil {
				t.Fatal(err)
			}
			if got.GetText() != text {
				t.Errorf("the picture says %q", got.GetText())
			}
		})
	}
}

// framed reports whether the outer pixels are white.
func framed(img image.Image, width int) bool {
	inner := img.Bounds().Inset(width)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if g := color.GrayModel.Convert(img.At(x, y)).(color.Gray); !image.Pt(x, y).In(inner) && g.Y != 0xff {
				return false
			}
		}
	}
	return true
}

func TestAPictureThatCannotBeDrawnIsAnError(t *testing.T) {
	s := session{pairing: &gateway.Pairing{Step: gateway.StepQR, QR: strings.Repeat("x", 3000)}}
	if b, err := s.body(time.Now()); err == nil {
		t.Errorf("qr_code is there: %v", b.QRCode != nil)
	}
}

// call makes a request with the API of m.
func call(m *memory, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(method, "/api/v1/sessions"+path, strings.NewReader(body)))
	return w
}

func TestCreatedAccount(t *testing.T) {
	m := newMemory()
	if w := call(m, http.MethodPost, "", `{"session":{"name":"Shop"}}`); w.Code != http.StatusCreated {
		t.Fatal(w.Code, w.Body)
	}
	got := m.accounts[1]
	want := gateway.Account{
		ID: got.ID, Kind: gateway.LinkedDevice, Name: "Shop", CreatedAt: got.CreatedAt,
		Linked: gateway.DefaultLinked(), Takeover: gateway.DefaultTakeover,
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(string(got.ID), "acc_") {
		t.Errorf("the account %s: -want +got:\n%s", got.ID, diff)
	}
}

func TestEveryChangeWakesTheHolder(t *testing.T) {
	m := newMemory()
	for i, step := range []struct{ before, method, path, body string }{
		{"", http.MethodPost, "", `{"session":{"name":"Shop"}}`},
		{"", http.MethodPost, "/{id}/pairing", `{"pairing":{"method":"code","phone_number":"33612345678"}}`},
		{"a passkey is asked for", http.MethodPost, "/{id}/passkey", `{"passkey":{"id":"a","response":{"signature":"AA"}}}`},
		{"the codes are to be compared", http.MethodPost, "/{id}/passkey/confirm", ""},
		{"the phone is linked", http.MethodPost, "/{id}/logout", ""},
		{"", http.MethodDelete, "/{id}", ""},
	} {
		if step.before != "" && !m.do(step.before) {
			t.Fatal(step.before)
		}
		w := call(m, step.method, strings.ReplaceAll(step.path, "{id}", string(m.last())), step.body)
		if w.Code >= 300 || m.woken != i+1 {
			t.Errorf("%s %s: %d %s, woken %d times", step.method, step.path, w.Code, w.Body, m.woken)
		}
	}
	if w := call(m, http.MethodGet, "", ""); w.Code != http.StatusOK || m.woken != 6 {
		t.Errorf("a list woke the holder: %d %d", w.Code, m.woken)
	}
}

// TestThePersonsAnswerArrivesAsItWas: WhatsApp checks a signature over parts of
// it.
func TestThePersonsAnswerArrivesAsItWas(t *testing.T) {
	m := newMemory()
	call(m, http.MethodPost, "", `{"session":{"name":"Shop"}}`)
	m.do("a passkey is asked for")
	const answer = `{"id":"a", "rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","userHandle":null}, "more":[1.50]}`
	if w := call(m, http.MethodPost, "/"+string(m.last())+"/passkey", `{"passkey":`+answer+`}`); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	if got := string(m.pairings[m.last()].Answer); got != answer {
		t.Errorf("the answer is %s", got)
	}
}

func TestPairingByCodeKeepsTheNumber(t *testing.T) {
	m := newMemory()
	call(m, http.MethodPost, "", `{"session":{"name":"Shop"}}`)
	call(m, http.MethodPost, "/"+string(m.last())+"/pairing", `{"pairing":{"method":"code","phone_number":"33612345678"}}`)
	if p := m.pairings[m.last()]; p.Method != gateway.ByCode || p.Phone != "+33612345678" {
		t.Errorf("the pairing is by %s with %s", p.Method, p.Phone)
	}
}

func TestWithoutAHook(t *testing.T) {
	h := newMemory().api()
	h.Changed = nil
	w := httptest.NewRecorder()
	wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/sessions", strings.NewReader(`{"session":{"name":"Shop"}}`)))
	if w.Code != http.StatusCreated {
		t.Error(w.Code, w.Body)
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}

func TestFiles(t *testing.T) {
	const me = "acc_00000000000000000000000001"
	kept := func(f gateway.Media) gateway.Media {
		f.Account, f.State, f.ExpiresAt = me, gateway.MediaKept, time.Now().Add(time.Hour)
		return f
	}
	is := func(s gateway.MediaState) gateway.Media { return gateway.Media{Account: me, State: s} }
	const fetching, deleted = "the file is still being fetched", "The file was kept for its time, and deleted"
	tests := map[string]struct {
		file        gateway.Media
		status      int
		error       string
		contentType string
		disposition string
	}{
		"a picture": {file: kept(gateway.Media{MimeType: "image/jpeg"}), status: 200, contentType: "image/jpeg", disposition: `attachment; filename=msg_1.jpg`},
		"a voice message keeps its codec": {
			file: kept(gateway.Media{MimeType: "audio/ogg; codecs=opus"}), status: 200, contentType: "audio/ogg; codecs=opus", disposition: `attachment; filename=msg_1.ogg`,
		},
		"a document with a name": {
			file: kept(gateway.Media{MimeType: "application/pdf", Name: "Rechnung März.pdf"}), status: 200, contentType: "application/pdf",
			disposition: `attachment; filename*=utf-8''Rechnung%20M%C3%A4rz.pdf`,
		},
		"a page would run what it holds": {
			file: kept(gateway.Media{MimeType: "text/html", Name: "a.html"}), status: 200, contentType: "application/octet-stream", disposition: `attachment; filename=a.html`,
		},
		"so would a drawing":       {file: kept(gateway.Media{MimeType: "image/svg+xml"}), status: 200, contentType: "application/octet-stream", disposition: `attachment; filename=msg_1`},
		"a type that is none":      {file: kept(gateway.Media{MimeType: "image/jpeg\r\nX-Evil: 1"}), status: 200, contentType: "application/octet-stream", disposition: `attachment; filename=msg_1`},
		"a codec with a line feed": {file: kept(gateway.Media{MimeType: "audio/ogg; codecs=\"a\r\nb\""}), status: 200, contentType: "application/octet-stream", disposition: `attachment; filename=msg_1`},
		"still wanted":             {file: is(gateway.MediaWanted), status: 409, error: fetching},
		"asked for again":          {file: is(gateway.MediaAsked), status: 409, error: fetching + ": the sender's phone was asked for it again"},
		"gone":                     {file: is(gateway.MediaGone), status: 410, error: "The file can't be had any more"},
		"too large":                {file: is(gateway.MediaTooLarge), status: 410, error: "The file was too large to be kept"},
		"deleted":                  {file: is(gateway.MediaExpired), status: 410, error: deleted},
		"due to be deleted":        {file: gateway.Media{Account: me, State: gateway.MediaKept, ExpiresAt: time.Now().Add(-time.Second)}, status: 410, error: deleted},
		"another account's":        {file: gateway.Media{Account: "acc_other", State: gateway.MediaKept}, status: 404, error: "Not found"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if err := m.PutAccount(t.Context(), gateway.Account{ID: me, Kind: gateway.LinkedDevice}); err != nil {
				t.Fatal(err)
			}
			m.files["msg_1"], m.data = tt.file, []byte("\x00bytes")
			w := call(m, http.MethodGet, "/"+me+"/media/msg_1", "")
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if tt.error != "" {
				if diff := cmp.Diff(fmt.Sprintf(`{"error":%q}`, tt.error), w.Body.String()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				return
			}
			h := w.Header()
			if diff := cmp.Diff(map[string]string{
				"type": tt.contentType, "disposition": tt.disposition, "length": "6", "options": "nosniff", "body": "\x00bytes",
			}, map[string]string{
				"type": h.Get("Content-Type"), "disposition": h.Get("Content-Disposition"), "length": h.Get("Content-Length"),
				"options": h.Get("X-Content-Type-Options"), "body": w.Body.String(),
			}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	m := newMemory()
	if err := m.PutAccount(t.Context(), gateway.Account{ID: "acc_phone", Kind: gateway.LinkedDevice}); err != nil {
		t.Fatal(err)
	}
	m.files["msg_1"] = gateway.Media{Account: "acc_try", State: gateway.MediaKept}
	for _, path := range []string{"/acc_phone/media/msg_2", "/acc_try/media/msg_1", "/acc_none/media/msg_1", "/acc_phone/media/%00"} {
		if w := call(m, http.MethodGet, path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"a.pdf": "a.pdf", "": "otherwise", "..": "otherwise", "../../etc/passwd": "passwd", `C:\Windows\a.txt`: "a.txt", "a/": "otherwise",
		"a\x00b\r\nc.pdf": "ab  c.pdf", "invoice\u202efdp.exe": "invoicefdp.exe", `a"b<c>?.pdf`: "a_b_c__.pdf", " .hidden. ": "hidden",
		"Überweisung 😀.pdf": "Überweisung 😀.pdf", strings.Repeat("x", 200) + ".pdf": strings.Repeat("x", 124) + ".pdf",
		"a\xffb.pdf": "ab.pdf", "a\tb\u00a0c": "a b c", "\ufeffa\u200b.pdf": "a.pdf",
	} {
		if got := fileName(name, "otherwise"); got != want {
			t.Errorf("fileName(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzRequest holds that no request of a stranger's ends in a 5xx or a panic.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"", "/acc_1", "/acc_1/pairing", "/acc_1/passkey", "/acc_1/passkey/confirm", "/acc_1/logout", "/acc_1/media/msg_1", "/%zz", "/acc_try/logout"} {
		for _, body := range []string{
			``, `{}`, `{"session":{"name":1}}`, `{"session":{"name":"x"}}`, `{"pairing":{"method":"code","phone_number":"1"}}`, `{"pairing":[]}`,
			`{"passkey":{"id":"a","response":{"x":1e400}}}`, "\xff",
		} {
			f.Add(http.MethodPost, path, body)
			f.Add(http.MethodGet, path, body)
			f.Add(http.MethodDelete, path, body)
		}
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x/api/v1/sessions"+path, strings.NewReader(body))
		if err != nil {
			return // such a request does not reach a server
		}
		m := newMemory()
		if err := m.PutAccount(t.Context(), gateway.Account{ID: "acc_1", Kind: gateway.LinkedDevice}); err != nil {
			t.Fatal(err)
		}
		m.pairings["acc_1"] = gateway.Pairing{Step: gateway.StepPasskey}
		m.files["msg_1"] = gateway.Media{Account: "acc_1", State: gateway.MediaKept, MimeType: body, Name: body}
		w := httptest.NewRecorder()
		wiretest.Echo(m.api().Mount).ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q %q: %d %s", method, path, body, w.Code, w.Body)
		}
	})
}
