package config

import (
	"strings"
	"testing"
)

func TestASecretThatOnlyLooksLikeAReferenceIsRefused(t *testing.T) {
	for name, key := range map[string]string{
		"a dash in the name":      "${WAGENT-API-KEY}",
		"spaces in the braces":    "${ WAGENT_API_KEY }",
		"text before it":          "wrb_live_${WAGENT_API_KEY}",
		"no braces":               "$WAGENT_OPS_API_KEY",
		"a brace is missing":      "${WAGENT_API_KEY_1",
		"a default, as shells do": "${WAGENT_API_KEY:-none}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte("api_keys: [{name: ops, key: '"+key+"'}]"), none)
			if err == nil || !strings.Contains(err.Error(), "api_keys[0].key: only a value that is wholly") {
				t.Errorf("Parse = %v", err)
			}
		})
	}
}

func TestAValueOfTheEnvironmentIsNotReadAgain(t *testing.T) {
	env := func(string) (string, bool) { return "$ecret${x}-of-16-bytes", true }
	c, err := Parse([]byte(`api_keys: [{name: ops, key: "${KEY}"}]`), env)
	if err != nil || string(c.APIKeys[0].Key) != "$ecret${x}-of-16-bytes" {
		t.Errorf("Parse = %v, %v", c.APIKeys, err)
	}
}
