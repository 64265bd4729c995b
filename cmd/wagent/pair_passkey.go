package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// snippet asks a browser for what a passkey says to the options, and prints it
// as JSON in short lines: a terminal takes no line of more than 4095 bytes.
// Browsers ask for a click first, and for a page that has the focus.
const snippet = `(async () => {
  const bytes = s => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), c => c.charCodeAt(0));
  const text = b => b && btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
  const publicKey = %s;
  publicKey.challenge = bytes(publicKey.challenge);
  for (const c of publicKey.allowCredentials || []) c.id = bytes(c.id);
  console.log('Now click anywhere on the page.');
  await new Promise(go => addEventListener('click', go, {once: true, capture: true}));
  const {id, rawId, type, response: r} = await navigator.credentials.get({publicKey});
  console.log(JSON.stringify({id, rawId: text(rawId), type, response: {
    clientDataJSON: text(r.clientDataJSON), authenticatorData: text(r.authenticatorData),
    signature: text(r.signature), userHandle: text(r.userHandle) || null}}, null, 1));
})();
`

// passkeySnippet returns the lines to paste into a browser for the options of
// navigator.credentials.get, whose bytes are base64url. Members that are null
// or empty are left out: browsers refuse some of them.
func passkeySnippet(options []byte) (string, error) {
	var o map[string]any
	if err := json.Unmarshal(options, &o); err != nil {
		return "", err
	}
	if c, ok := o["challenge"].(string); !ok || c == "" {
		return "", errors.New("it has no challenge")
	}
	b, err := json.Marshal(withoutEmpty(o))
	return fmt.Sprintf(snippet, b), err
}

func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e == nil || e == "" || k == "timeout" && e == 0.0 {
				delete(v, k)
				continue
			}
			v[k] = withoutEmpty(e)
		}
	case []any:
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
	}
	return v
}

// passkeyAnswer returns what a passkey said, as a browser printed it: a
// PublicKeyCredential as JSON (WebAuthn, section 5.1) whose bytes are base64url.
func passkeyAnswer(text string) ([]byte, error) {
	var a struct {
		ID       string `json:"id"`
		RawID    string `json:"rawId"`
		Response struct {
			ClientData string `json:"clientDataJSON"`
			AuthData   string `json:"authenticatorData"`
			Signature  string `json:"signature"`
		} `json:"response"`
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, errors.New("it is not JSON")
	}
	r := a.Response
	for _, member := range []struct{ name, value string }{
		{"rawId", a.RawID}, {"clientDataJSON", r.ClientData}, {"authenticatorData", r.AuthData}, {"signature", r.Signature},
	} {
		if b, err := base64.RawURLEncoding.DecodeString(member.value); err != nil || len(b) == 0 {
			return nil, fmt.Errorf("its %s is missing or broken", member.name)
		}
	}
	if a.ID == "" {
		return nil, errors.New("its id is missing")
	}
	var out bytes.Buffer
	err := json.Compact(&out, []byte(text))
	return out.Bytes(), err
}
