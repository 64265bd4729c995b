package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Prometheus scrapes /metrics without a key. Whoever puts wagent on the Internet
// reads what that tells, and what a proxy has to pass on.
func TestOperatorsReadWhatAProxyClosesOff(t *testing.T) {
	proxied := []string{"/webhooks/whatsapp, /api/ and /connect/", "/metrics names accounts"}
	for path, wanted := range map[string][]string{
		"../../configs/wagent.yaml":                           {"close /metrics there", "without a key", "names accounts"},
		filepath.Join(deployed, ".env.example"):               proxied,
		filepath.Join(deployed, "kubernetes/deployment.yaml"): proxied,
		filepath.Join(deployed, "systemd/wagent.service"):     proxied,
	} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(b), "\n#", " ")), " ")
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", path, want)
			}
		}
	}
}
