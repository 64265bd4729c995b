package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

const (
	token   = "EAAG-the-token"
	private = "the private text"
)

// graph is a Graph API on a real socket, and a channel to it.
type graph struct {
	*graphtest.Server
	channel *Channel
	account gateway.Account
	reg     *prometheus.Registry
}

func newGraph(t *testing.T) *graph {
	t.Helper()
	g := &graph{Server: graphtest.New(), reg: prometheus.NewRegistry()}
	srv := httptest.NewServer(g.Server)
	t.Cleanup(srv.Close)
	g.AddNumber("1001", token)
	g.account = gateway.Account{ID: "acc_a", Kind: gateway.CloudAPI, Cloud: gateway.Cloud{
		PhoneNumberID: "1001", AccessToken: token, GraphURL: srv.URL + "/v23.0",
	}}
	g.channel = NewChannel(srv.Client(), slog.New(slog.DiscardHandler), g.reg)
	return g
}

func send() *gateway.Send {
	return &gateway.Send{ID: "msg_1", To: gateway.Address{Phone: "+16505551234"}, Text: private}
}

// check looks at an error's kind and that its text gives nothing away.
func check(t *testing.T, err error, want gateway.Kind) *gateway.Error {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no gateway.Error", err)
	}
	if e.Kind != want {
		t.Errorf("%v: kind %v, want %v", err, e.Kind, want)
	}
	for _, secret := range []string{token, private, "6505551234"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
	return e
}

var _ gateway.Channel = (*Channel)(nil)

func TestATextIsSentAsMetaWantsIt(t *testing.T) {
	tests := map[string]struct {
		change func(*gateway.Send)
		want   graphtest.Sent
	}{
		"to a customer": {
			func(*gateway.Send) {},
			graphtest.Sent{To: "16505551234"},
		},
		"quoting a message": {
			func(s *gateway.Send) { s.ReplyTo = "wamid.q" },
			graphtest.Sent{To: "16505551234", ReplyTo: "wamid.q"},
		},
		"to a group": {
			func(s *gateway.Send) { s.To = gateway.Address{Group: "Y2FwaV9ncm91cDox"} },
			graphtest.Sent{To: "Y2FwaV9ncm91cDox", Group: true},
		},
		"to somebody who goes by a user name": {
			func(s *gateway.Send) { s.To = gateway.Address{LID: "US.13491208655302741918"} },
			graphtest.Sent{Recipient: "US.13491208655302741918"},
		},
		"to the number where both are known": {
			func(s *gateway.Send) { s.To.LID = "US.13491208655302741918" },
			graphtest.Sent{To: "16505551234"},
		},
		"as long as may be": {
			func(s *gateway.Send) { s.Text = strings.Repeat("é", MaxText) },
			graphtest.Sent{To: "16505551234", Text: strings.Repeat("é", MaxText)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			s := send()
			tt.change(s)
			id, err := g.channel.Transmit(t.Context(), &g.account, s)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ID, tt.want.PhoneNumberID, tt.want.CallbackData = id, "1001", "msg_1"
			if tt.want.Text == "" {
				tt.want.Text = private
			}
			if diff := cmp.Diff([]graphtest.Sent{tt.want}, g.Sent(), cmpopts.IgnoreFields(graphtest.Sent{}, "At")); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if n := testutil.ToFloat64(g.channel.metrics.requests.WithLabelValues("ok")); n != 1 {
				t.Errorf("counted %v", n)
			}
			if n := testutil.CollectAndCount(g.channel.metrics.seconds); n != 1 {
				t.Errorf("%d histograms", n)
			}
		})
	}
}

func TestEveryTypeIsSentAsMetaWantsIt(t *testing.T) {
	const file = `{"url":"https://example.com/a?b=c","filename":"menu.pdf"}`
	const link = "https://example.com/a?b=c"
	tests := map[string]struct {
		send gateway.Send
		want graphtest.Sent
	}{
		"an image with a caption": {
			gateway.Send{Type: gateway.TypeImage, Text: private, Content: []byte(file)},
			graphtest.Sent{Type: "image", Link: link, Text: private},
		},
		"a video without one": {
			gateway.Send{Type: gateway.TypeVideo, Content: []byte(file)},
			graphtest.Sent{Type: "video", Link: link},
		},
		"an audio": {
			gateway.Send{Type: gateway.TypeAudio, Content: []byte(file)},
			graphtest.Sent{Type: "audio", Link: link},
		},
		"a document with its name": {
			gateway.Send{Type: gateway.TypeDocument, Text: private, Content: []byte(file)},
			graphtest.Sent{Type: "document", Link: link, Text: private, Filename: "menu.pdf"},
		},
		"a template without places, whatever stands on record": {
			gateway.Send{Type: gateway.TypeTemplate, Text: private, Content: []byte(`{"name":"welcome","language":"en_US"}`)},
			graphtest.Sent{Type: "template", Template: "welcome", Language: "en_US"},
		},
		"a template with what goes into its places": {
			gateway.Send{Type: gateway.TypeTemplate, Content: []byte(
				`{"name":"welcome","language":"de","components":[{"type":"body","parameters":[{"type":"text","text":"Ada"}]}]}`)},
			graphtest.Sent{Type: "template", Template: "welcome", Language: "de", Components: `[{"type":"body","parameters":[{"type":"text","text":"Ada"}]}]`},
		},
		"buttons, quoting a message": {
			gateway.Send{Type: gateway.TypeInteractive, Text: private, ReplyTo: "wamid.q", Content: []byte(`{"buttons":[{"id":"y","title":"Yes"},{"id":"n","title":"No"}]}`)},
			graphtest.Sent{Type: "interactive", Text: private, ReplyTo: "wamid.q", Buttons: []graphtest.Button{{ID: "y", Title: "Yes"}, {ID: "n", Title: "No"}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			tt.send.ID, tt.send.To = "msg_1", gateway.Address{Phone: "+16505551234"}
			id, err := g.channel.Transmit(t.Context(), &g.account, &tt.send)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ID, tt.want.PhoneNumberID, tt.want.CallbackData, tt.want.To = id, "1001", "msg_1", "16505551234"
			if diff := cmp.Diff([]graphtest.Sent{tt.want}, g.Sent(), cmpopts.IgnoreFields(graphtest.Sent{}, "At")); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// of makes the send one of another type.
func of(kind gateway.MessageType, text, content string) func(*gateway.Account, *gateway.Send) {
	return func(_ *gateway.Account, s *gateway.Send) { s.Type, s.Text, s.Content = kind, text, []byte(content) }
}

func TestWhatCanNotBeSentIsRefusedWithoutARequest(t *testing.T) {
	tests := map[string]struct {
		change func(*gateway.Account, *gateway.Send)
		kind   gateway.Kind
		msg    string
	}{
		"a text over the limit":     {func(_ *gateway.Account, s *gateway.Send) { s.Text = strings.Repeat("x", MaxText+1) }, gateway.Invalid, "split"},
		"an empty text":             {func(_ *gateway.Account, s *gateway.Send) { s.Text = " \n" }, gateway.Invalid, "empty"},
		"no address":                {func(_ *gateway.Account, s *gateway.Send) { s.To = gateway.Address{} }, gateway.Invalid, "address"},
		"a number without its plus": {func(_ *gateway.Account, s *gateway.Send) { s.To.Phone = "16505551234" }, gateway.Invalid, "address"},
		"a linked device's LID":     {func(_ *gateway.Account, s *gateway.Send) { s.To = gateway.Address{LID: "12345"} }, gateway.Invalid, "address"},
		"a type that nobody sends":  {of(gateway.TypeSticker, "", ""), gateway.Invalid, "type sticker"},
		"an image without content":  {of(gateway.TypeImage, "", ""), gateway.Invalid, "can't be read"},
		"an image without a URL":    {of(gateway.TypeImage, "", `{}`), gateway.Invalid, "URL"},
		"a URL of a local file":     {of(gateway.TypeImage, "", `{"url":"file:///etc/passwd"}`), gateway.Invalid, "URL"},
		"a caption over the limit":  {of(gateway.TypeVideo, strings.Repeat("x", maxCaption+1), `{"url":"https://example.com/a"}`), gateway.Invalid, "caption"},
		"an audio with a caption":   {of(gateway.TypeAudio, private, `{"url":"https://example.com/a"}`), gateway.Invalid, "no caption"},
		"a template without a name": {of(gateway.TypeTemplate, "", `{"language":"de"}`), gateway.Invalid, "no name"},
		"a template of no language": {of(gateway.TypeTemplate, "", `{"name":"a"}`), gateway.Invalid, "no language"},
		"a broken template":         {of(gateway.TypeTemplate, "", `[]`), gateway.Invalid, "can't be read"},
		"no buttons":                {of(gateway.TypeInteractive, private, `{}`), gateway.Invalid, "between 1 and 3 buttons"},
		"broken buttons":            {of(gateway.TypeInteractive, private, `{"buttons":1}`), gateway.Invalid, "can't be read"},
		"too many buttons":          {of(gateway.TypeInteractive, private, `{"buttons":[{},{},{},{}]}`), gateway.Invalid, "between 1 and 3 buttons"},
		"buttons below no text":     {of(gateway.TypeInteractive, " ", `{"buttons":[{"id":"a","title":"A"}]}`), gateway.Invalid, "above buttons"},
		"two buttons of one title":  {of(gateway.TypeInteractive, private, `{"buttons":[{"id":"a","title":"A"},{"id":"b","title":"A"}]}`), gateway.Invalid, "the same title"},
		"two buttons of one id":     {of(gateway.TypeInteractive, private, `{"buttons":[{"id":"a","title":"A"},{"id":"a","title":"B"}]}`), gateway.Invalid, "the same id"},
		"a button without a title":  {of(gateway.TypeInteractive, private, `{"buttons":[{"id":"a"}]}`), gateway.Invalid, "title"},
		"a title over the limit":    {of(gateway.TypeInteractive, private, `{"buttons":[{"id":"a","title":"`+strings.Repeat("x", 21)+`"}]}`), gateway.Invalid, "title"},
		"no token":                  {func(a *gateway.Account, _ *gateway.Send) { a.Cloud.AccessToken = "" }, gateway.Unauthorized, "token"},
		"a URL that is none":        {func(a *gateway.Account, _ *gateway.Send) { a.Cloud.GraphURL = ":" }, gateway.Invalid, "graph_url"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			s := send()
			tt.change(&g.account, s)
			_, err := g.channel.Transmit(t.Context(), &g.account, s)
			if e := check(t, err, tt.kind); !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("message %q does not say %q", e.Msg, tt.msg)
			}
			if g.Requests() != 0 {
				t.Error("a request was made")
			}
		})
	}
}

func TestEveryGraphErrorHasItsKind(t *testing.T) {
	tests := map[string]struct {
		fault graphtest.Fault
		kind  gateway.Kind
	}{
		"a template error":                   {graphtest.Fault{Code: 132001}, gateway.Invalid},
		"a permission of the 200s":           {graphtest.Fault{Code: 230, Status: 403}, gateway.Unauthorized},
		"an object that does not exist":      {graphtest.Fault{Code: 100, Subcode: 33}, gateway.Unauthorized},
		"unlisted, transient":                {graphtest.Fault{Code: 139999, Transient: true}, gateway.Unavailable},
		"unlisted with a 500":                {graphtest.Fault{Code: 139999, Status: 500}, gateway.Unavailable},
		"unlisted with a 429":                {graphtest.Fault{Code: 139999, Status: 429}, gateway.RateLimited},
		"unlisted with a 401":                {graphtest.Fault{Code: 139999, Status: 401}, gateway.Unauthorized},
		"unlisted with a 403":                {graphtest.Fault{Code: 139999, Status: 403}, gateway.Unauthorized},
		"unlisted with a 400":                {graphtest.Fault{Code: 139999}, gateway.Invalid},
		"listed whatever the status":         {graphtest.Fault{Code: 131047, Status: 500}, gateway.WindowClosed},
		"a code as a string":                 {graphtest.Fault{Status: 400, Raw: `{"error":{"code":"130429"}}`}, gateway.RateLimited},
		"a 500 with a broken error":          {graphtest.Fault{Status: 500, Raw: `{"error":{"code":`}, gateway.Ambiguous},
		"a 500 without a body":               {graphtest.Fault{}, gateway.Ambiguous},
		"a 502 of a proxy":                   {graphtest.Fault{Status: 502, Raw: "<html>Bad Gateway</html>"}, gateway.Ambiguous},
		"a 503 with JSON that is no error":   {graphtest.Fault{Status: 503, Raw: `{"error":"down"}`}, gateway.Ambiguous},
		"a 404 of something else":            {graphtest.Fault{Status: 404, Raw: "404 page not found"}, gateway.Unavailable},
		"a 401 of a proxy":                   {graphtest.Fault{Status: 401, Raw: "who are you"}, gateway.Unauthorized},
		"a 429 of a proxy":                   {graphtest.Fault{Status: 429, Raw: "slow down"}, gateway.RateLimited},
		"a 302, which is not followed":       {graphtest.Fault{Status: 302}, gateway.Unavailable},
		"a 200 without a body":               {graphtest.Fault{Status: 200, Take: true}, gateway.Ambiguous},
		"a 200 of garbage":                   {graphtest.Fault{Status: 200, Raw: "\x00\xff", Take: true}, gateway.Ambiguous},
		"a 200 without an id":                {graphtest.Fault{Status: 200, Raw: `{"messages":[{}]}`, Take: true}, gateway.Ambiguous},
		"a 200 of more than is read":         {graphtest.Fault{Status: 200, Raw: `{"x":"` + strings.Repeat("x", maxAnswer) + `","messages":[{"id":"wamid.1"}]}`, Take: true}, gateway.Ambiguous},
		"the connection cut before it took":  {graphtest.Fault{Cut: true}, gateway.Ambiguous},
		"the connection cut after it took":   {graphtest.Fault{Cut: true, Take: true}, gateway.Ambiguous},
		"Meta's words repeating the request": {graphtest.Fault{Code: 139999, Message: "no message to 16505551234: " + private + token}, gateway.Invalid},
	}
	for code, v := range verdicts {
		tests[fmt.Sprintf("code %d", code)] = struct {
			fault graphtest.Fault
			kind  gateway.Kind
		}{graphtest.Fault{Code: code, Message: private}, v.kind}
	}
	delete(tests, "code 0") // the fault's Code of 0 means none
	tests["code 0"] = struct {
		fault graphtest.Fault
		kind  gateway.Kind
	}{graphtest.Fault{Status: 401, Raw: `{"error":{"message":"x","type":"OAuthException","code":0}}`}, gateway.Unauthorized}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			g.Fail(1, tt.fault)
			id, err := g.channel.Transmit(t.Context(), &g.account, send())
			if id != "" {
				t.Errorf("id %q", id)
			}
			check(t, err, tt.kind)
			if n := testutil.ToFloat64(g.channel.metrics.requests.WithLabelValues(tt.kind.String())); n != 1 {
				t.Errorf("counted %v", n)
			}
			if g.Requests() != 1 {
				t.Errorf("%d requests, want 1: nothing is repeated here", g.Requests())
			}
		})
	}
}

// TestTheListedCodes pins what the outbox relies on, apart from the table.
func TestTheListedCodes(t *testing.T) {
	want := map[gateway.Kind][]int{
		gateway.Unauthorized: {0, 3, 10, 190, 131005, 131031, 131042, 133010},
		gateway.RateLimited:  {4, 368, 80007, 130429, 131048, 131056},
		gateway.WindowClosed: {131047},
		gateway.Invalid:      {100, 470, 131008, 131009, 131021, 131026, 131030, 131051},
		gateway.Unavailable:  {1, 2, 131000, 131016, 131057, 133004},
	}
	for kind, codes := range want {
		for _, code := range codes {
			if v, ok := verdicts[code]; !ok || v.kind != kind {
				t.Errorf("code %d is %v, want %v", code, v.kind, kind)
			}
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	tests := map[string]struct {
		fault    graphtest.Fault
		min, max time.Duration
	}{
		"seconds":                   {graphtest.Fault{Code: 130429, RetryAfter: "7"}, 7 * time.Second, 7 * time.Second},
		"a date":                    {graphtest.Fault{Code: 131016, RetryAfter: time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, 50 * time.Minute, time.Hour},
		"a date gone by":            {graphtest.Fault{Code: 130429, RetryAfter: "Mon, 02 Jan 2006 15:04:05 GMT"}, 0, 0},
		"nonsense":                  {graphtest.Fault{Code: 130429, RetryAfter: "soon"}, 0, 0},
		"less than nothing":         {graphtest.Fault{Code: 130429, RetryAfter: "-7"}, 0, 0},
		"of a proxy":                {graphtest.Fault{Status: 429, RetryAfter: "7"}, 7 * time.Second, 7 * time.Second},
		"not where nobody may wait": {graphtest.Fault{Code: 131047, RetryAfter: "7"}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t)
			g.Fail(1, tt.fault)
			_, err := g.channel.Transmit(t.Context(), &g.account, send())
			var e *gateway.Error
			if !errors.As(err, &e) || e.RetryAfter < tt.min || e.RetryAfter > tt.max {
				t.Errorf("%v: after %v, want %v to %v", err, e.RetryAfter, tt.min, tt.max)
			}
		})
	}
}

func TestADeadlineAfterTheRequestIsAmbiguous(t *testing.T) {
	g := newGraph(t)
	g.Fail(1, graphtest.Fault{Hang: true, Take: true})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = g.Wait(ctx, 1) // the server has it all
		cancel()
	}()
	_, err := g.channel.Transmit(ctx, &g.account, send())
	check(t, err, gateway.Ambiguous)
}

func TestWhatNeverLeftIsUnavailable(t *testing.T) {
	silent := mute(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	curt := mute(t, func(net.Conn) {})
	tests := map[string]struct {
		url     string
		timeout time.Duration
	}{
		"refused":                                {"http://127.0.0.1:1", 0}, // no port that somebody else may be given
		"a name that is none":                    {"http://graph.invalid", 0},
		"a server that speaks no TLS":            {"https://" + curt, 0},
		"a deadline within the TLS handshake":    {"https://" + silent, 50 * time.Millisecond},
		"a deadline that had passed":             {"http://" + silent, time.Nanosecond},
		"a certificate that nobody signed":       {tlsServer(t), 0},
		"a scheme that the client does not know": {"gopher://" + curt, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Resolver: noNames()}).DialContext}}
			defer client.CloseIdleConnections()
			ctx := t.Context()
			if tt.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.timeout)
				defer cancel()
			}
			a := gateway.Account{Cloud: gateway.Cloud{PhoneNumberID: "1001", AccessToken: token, GraphURL: tt.url}}
			_, err := NewChannel(client, slog.New(slog.DiscardHandler), nil).Transmit(ctx, &a, send())
			check(t, err, gateway.Unavailable)
		})
	}
}

func TestWhatLeftAndGotNoAnswerIsAmbiguous(t *testing.T) {
	read := func(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }
	tests := map[string]func(net.Conn){
		"the connection ended":      read,
		"half an answer":            func(c net.Conn) { read(c); _, _ = io.WriteString(c, "HTTP/1.1 200 O") },
		"an answer that is no HTTP": func(c net.Conn) { read(c); _, _ = io.WriteString(c, "220 smtp ready\r\n") },
		"a body that breaks off": func(c net.Conn) {
			read(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"messages\":[{\"id\":\"wamid.1")
		},
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			a := gateway.Account{Cloud: gateway.Cloud{PhoneNumberID: "1001", AccessToken: token, GraphURL: "http://" + mute(t, serve)}}
			_, err := NewChannel(client, slog.New(slog.DiscardHandler), nil).Transmit(t.Context(), &a, send())
			check(t, err, gateway.Ambiguous)
		})
	}
}

// mute listens, and hands each connection to serve before it closes it.
func mute(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func tlsServer(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(graphtest.New())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

// noNames resolves nothing, so that the test needs no name server.
func noNames() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
}

func TestAGateThatIsShutLetsNothingThrough(t *testing.T) {
	g := &gate{}
	body := g.open([]byte("body"))
	if !g.shut() {
		t.Fatal("nothing was read, and yet")
	}
	if n, err := body.Read(make([]byte, 8)); n != 0 || !errors.Is(err, errShut) {
		t.Errorf("read %d, %v", n, err)
	}
	g = &gate{}
	if b, err := io.ReadAll(g.open([]byte("body"))); string(b) != "body" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if g.shut() {
		t.Error("the body was read, and the gate says it was not")
	}
	g = &gate{}
	_, _ = io.ReadAll(g.open([]byte("body")))
	g.reset() // the transport is sure that the server saw nothing
	if !g.shut() {
		t.Error("the second body was not read, and the gate says it was")
	}
}
