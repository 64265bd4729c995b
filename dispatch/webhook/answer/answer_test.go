package answer

import (
	"encoding/json"
	"strings"
	"testing"

	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

func TestWhatAnEndpointAnswersIsUnderstood(t *testing.T) {
	long := strings.Repeat("é", maxReply)
	tests := map[string]struct{ body, result, reply, ignored string }{
		"nothing":                          {"", "", "", ""},
		"no JSON":                          {"ok", "", "", ""},
		"a list":                           {`[{"result":1}]`, "", "", ""},
		"JSON and more":                    {`{"result":1} `, "1", "", ""},
		"JSON that breaks off":             {`{"result":1`, "", "", ""},
		"two objects":                      {`{"result":1}{"result":2}`, "", "", ""},
		"an object that says nothing":      {`{"ok":true}`, "", "", ""},
		"a result of any type":             {"{\"result\": [1,\n {\"a\": null}]}", `[1,{"a":null}]`, "", ""},
		"a result that is null":            {`{"result":null}`, "", "", ""},
		"a result that is false":           {`{"result":false}`, "false", "", ""},
		"other letters":                    {`{"Result":1,"REPLY":"x"}`, "", "", ""},
		"the longest result":               {`{"result":"` + strings.Repeat("x", gateway.MaxActionResult-2) + `"}`, `"` + strings.Repeat("x", gateway.MaxActionResult-2) + `"`, "", ""},
		"a longer one":                     {`{"result":"` + strings.Repeat("x", gateway.MaxActionResult-1) + `","reply":"hi"}`, "", "hi", "result has 4097 bytes, and may have 4096"},
		"a reply":                          {`{"reply":"  Your towels come. \n"}`, "", "Your towels come.", ""},
		"a reply of blanks":                {`{"reply":" "}`, "", "", ""},
		"a reply that is null":             {`{"reply":null,"result":{}}`, "{}", "", ""},
		"a reply that is no text":          {`{"reply":{"text":"hi"},"result":1}`, "1", "", "reply is not a text"},
		"the longest reply":                {`{"reply":"` + long + `"}`, "", long, ""},
		"a longer reply":                   {`{"reply":"` + long + `é"}`, "", "", "reply has more than 4096 characters"},
		"a zero character":                 {`{"reply":"a\u0000b","result":"\u0000"}`, `"\u0000"`, "ab", ""},
		"bytes that are not UTF-8":         {"{\"result\":\"\xff\",\"reply\":\"\xff\"}", "\"\uFFFD\"", "\uFFFD", ""},
		"two parts that are ignored":       {`{"reply":1,"result":"` + strings.Repeat("x", gateway.MaxActionResult) + `"}`, "", "", "result has 4098 bytes, and may have 4096; reply is not a text"},
		"what we sent along":               {`{"result":["Bearer 12345678","12345678","the secret\/of it"],"reply":"Grandhotel 12345678"}`, `["***","***","***"]`, "Grandhotel ***", ""},
		"a secret as a number":             {`{"result":12345678,"reply":"hi"}`, "", "hi", "result repeats a header of the webhook's as a number"},
		"a result that stands there twice": {`{"result":1,"result":2}`, "2", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			hook := gateway.Webhook{Secret: "the secret/of it", Headers: map[string]gateway.Secret{"Authorization": "Bearer 12345678", "X-Property": "Grandhotel"}}
			a, ignored := Read(&gateway.Delivery{Run: "run_1", Action: 2, Webhook: 7}, []byte(tt.body), post.Hiding(&hook, post.Secretive))
			if string(a.Result) != tt.result || a.Reply != tt.reply || strings.Join(ignored, "; ") != tt.ignored {
				t.Errorf("understood result %.50s, reply %.50q, ignored %q", a.Result, a.Reply, ignored)
			}
			if a.Run != "run_1" || a.Index != 2 || a.Webhook != 7 {
				t.Errorf("it is of %+v", a)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"result":1}`, `{"reply":"x"}`, `{"result":{"a":[1e999]},"reply":"\ud800"}`, "{\"result\":\"\xff\"}", `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, _ := Read(&gateway.Delivery{}, body, func(s string) string { return s })
		if a.Result != nil && (!json.Valid(a.Result) || len(a.Result) > 3*gateway.MaxActionResult) {
			t.Errorf("the result of %q is %q", body, a.Result)
		}
		if strings.TrimSpace(a.Reply) != a.Reply || strings.ContainsRune(a.Reply, 0) || len([]rune(a.Reply)) > maxReply {
			t.Errorf("the reply of %q is %q", body, a.Reply)
		}
	})
}
