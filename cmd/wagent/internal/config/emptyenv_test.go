package config

import (
	"strings"
	"testing"
)

func TestAServerThatIsEmptyInTheEnvironmentIsNotTheBuiltInOne(t *testing.T) {
	empty := func(string) (string, bool) { return "", true }
	for name, src := range map[string]string{
		"database.url: URL is empty": `database: {url: "${URL}"}`,
		"redis.url: URL is empty":    `redis: {url: "${URL}"}`,
		"redis.url[0]: URL is empty": `redis: {url: ["${URL}"]}`,
	} {
		if _, err := Parse([]byte(src), empty); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Parse(%s) = %v", src, err)
		}
	}
	if _, err := Parse([]byte(`{database: {url: ""}, redis: {url: ""}}`), none); err != nil {
		t.Errorf("Parse of empty values = %v", err)
	}
}
