package config

import (
	"strings"
	"testing"
)

func TestABaseURLThatNoRequestCouldUseIsRefused(t *testing.T) {
	for name, u := range map[string]string{
		"query":    "https://x.openai.azure.com/openai?api-version=1",
		"user":     "https://u:leaked-secret@host/v1",
		"fragment": "https://host/v1#x",
	} {
		_, err := Parse([]byte("providers: {p: {kind: openai, base_url: '"+u+"'}}"), none)
		if err == nil || !strings.Contains(err.Error(), "providers.p.base_url: must have no user") || strings.Contains(err.Error(), "leaked") {
			t.Errorf("%s: Parse = %v", name, err)
		}
	}
}
