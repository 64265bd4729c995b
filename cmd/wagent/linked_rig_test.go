//go:build watest

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway/whatsapp/watest"
)

// rehearsalBinary is the program with linked devices that trust the WhatsApp
// of these tests.
var rehearsalBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "wagent-rehearsal")
	out, err := exec.Command("go", "build", "-tags", "watest", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// A phoneRig is a rig whose account is a linked device.
type phoneRig struct {
	*rig
	ctx    context.Context
	wa     *watest.Server
	phone  *watest.Phone
	device *watest.Device

	dataDir string
}

// newPhoneRig returns a rig with a WhatsApp whose phone is not linked yet.
// panicEvery above zero has every so many-th message panic in its handler.
func newPhoneRig(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply, panicEvery int) *phoneRig {
	t.Helper()
	return newPhoneRigWith(t, embedded, answer, panicEvery, nil)
}

// newPhoneRigWith is newPhoneRig with a changed configuration.
func newPhoneRigWith(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply, panicEvery int, change func(map[string]any)) *phoneRig {
	t.Helper()
	wa := watest.New()
	t.Cleanup(wa.Close)
	var dataDir string
	r := newRigWith(t, embedded, answer, func(cfg map[string]any) {
		dataDir = cfg["data_dir"].(string)
		cfg["accounts"] = []any{map[string]any{"id": "acc_a", "kind": "linked_device", "send_gap": "0s"}}
		cfg["log"] = map[string]any{"level": "debug"}
		if change != nil {
			change(cfg)
		}
	})
	// From here on: a parallel test may have waited for its turn.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	t.Cleanup(cancel)
	r.build = rehearsalBinary
	r.env = []string{fmt.Sprintf("WAGENT_REHEARSAL=%s?panic=%d", wa.Addr(), panicEvery)}
	r.proc = r.start()
	return &phoneRig{rig: r, ctx: ctx, wa: wa, phone: wa.Phone("491510000001"), dataDir: dataDir}
}

func (r *phoneRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// call calls the agents API of a process.
func (r *phoneRig) call(p *replica, method, path string, in, out any) int {
	r.Helper()
	var body bytes.Buffer
	if in != nil {
		r.must(json.NewEncoder(&body).Encode(in))
	}
	req, err := http.NewRequestWithContext(r.ctx, method, p.url+"/api/v1"+path, &body)
	r.must(err)
	req.Header.Set("Authorization", "Bearer key-of-the-crash-test")
	resp, err := describedClient(r).Do(req)
	r.must(err)
	defer resp.Body.Close()
	if out != nil && resp.StatusCode < 300 {
		r.must(json.NewDecoder(resp.Body).Decode(&struct{ Data any }{out}))
	}
	return resp.StatusCode
}

// A session is the API's view of the account.
type session struct {
	Status    string `json:"status"`
	Connected bool   `json:"connected"`
	QRCode    string `json:"qr_code"`
	Link      struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"link"`
}

func (r *phoneRig) session(p *replica) session {
	r.Helper()
	var s session
	r.call(p, http.MethodGet, "/sessions/acc_a", nil, &s)
	return s
}

// link pairs the account over the API, by the picture that it shows.
func (r *phoneRig) link() {
	r.Helper()
	if code := r.call(r.proc, http.MethodPost, "/sessions/acc_a/pairing", map[string]any{"pairing": map[string]any{"method": "qr"}}, nil); code >= 300 {
		r.Fatalf("the API answered %d to a pairing", code)
	}
	var s session
	r.until("a QR code", time.Minute, func() bool { s = r.session(r.proc); return s.QRCode != "" })
	r.scan(s.QRCode)
	r.until("the account to be connected", time.Minute, func() bool { return r.session(r.proc).Connected })
}

// scan has the phone link the device whose picture that is.
func (r *phoneRig) scan(url string) {
	r.Helper()
	encoded, ok := strings.CutPrefix(url, "data:image/png;base64,")
	if !ok {
		r.Fatalf("the code is %.40q…", url)
	}
	picture, err := base64.StdEncoding.DecodeString(encoded)
	r.must(err)
	img, err := png.Decode(bytes.NewReader(picture))
	r.must(err)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	r.must(err)
	text, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	r.must(err)
	r.device, err = r.phone.Link(text.GetText())
	r.must(err)
}

// people makes n contacts, every other of whom writes under their LID.
func (r *phoneRig) people(n int) []*watest.Person {
	out := make([]*watest.Person, n)
	for i := range out {
		out[i] = r.wa.Contact(fmt.Sprintf("4915120%05d", i), watest.LID(fmt.Sprintf("7700000%07d", i)), watest.Name(fmt.Sprint("P", i)))
		if i%2 == 1 {
			out[i].Addressed("lid", i%4 == 1)
		} else {
			out[i].Addressed("pn", i%4 == 0)
		}
	}
	return out
}

// An answer is a message that somebody got, once however often it came.
type answer struct{ id, text string }

// answers reads what somebody got so far.
func (r *phoneRig) answers(who *watest.Person) []answer {
	r.Helper()
	var out []answer
	seen := map[string]bool{}
	for r.wa.Expect(who).Unread() > 0 {
		m, err := r.wa.Expect(who).Message(r.ctx)
		r.must(err)
		if seen[m.ID] {
			r.Logf("message %s came again under its id, which phones show once", m.ID)
			continue
		}
		seen[m.ID] = true
		out = append(out, answer{m.ID, m.Text()})
	}
	return out
}

// words are what an echoing agent was asked, in the order of its answers.
func words(all []answer) []string {
	var out []string
	for _, a := range all {
		out = append(out, strings.Fields(strings.TrimPrefix(a.text, "re:"))...)
	}
	return out
}

// answered checks that everybody was answered once, in their own words and
// order.
func (r *phoneRig) answered(people []*watest.Person, wrote map[*watest.Person][]string) {
	r.Helper()
	for i, who := range people {
		got := r.answers(who)
		if w := words(got); !slices.Equal(w, wrote[who]) {
			r.Errorf("person %d wrote %v and was answered %v", i, wrote[who], got)
			for _, word := range wrote[who] {
				if !slices.Contains(w, word) {
					r.tell(word)
				}
			}
		}
	}
}

// tell says what is on record of a message.
func (r *phoneRig) tell(word string) {
	r.Helper()
	db := r.db
	if db == nil {
		var err error
		db, err = sql.Open("sqlite", "file:"+filepath.Join(r.dataDir, "wagent.db")+"?mode=ro")
		r.must(err)
		defer db.Close()
	}
	rows, err := db.QueryContext(r.ctx, `SELECT m.direction || ' ' || m.state || ' ' || m.state_reason || ' ' || m.status || ' ' || m.run || ' ' || m.external_id || ' ' || COALESCE((SELECT s.state || ' ' || s.error || ' ' || s.attempt FROM sends s WHERE s.id = m.id), '')
		FROM messages m WHERE m.body LIKE '%' || $1 || '%'`, word)
	r.must(err)
	defer rows.Close()
	for rows.Next() {
		var s string
		r.must(rows.Scan(&s))
		r.Logf("LOST %s: %s", word, s)
	}
	r.must(rows.Err())
}
