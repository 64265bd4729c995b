package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReleaseHasNoTestWhatsApp: what trusts the test root can be spoken to by
// anybody who has read this repository.
func TestReleaseHasNoTestWhatsApp(t *testing.T) {
	traces := [][]byte{[]byte("gateway/whatsapp/watest."), []byte(testRoot(t))}

	// Flags that change nothing of this, but would have all compiled anew, are left out.
	for _, flag := range releaseFlags(t) {
		if strings.Contains(flag, "watest") {
			t.Errorf("the release is built with %s", flag)
		}
	}
	release := filepath.Join(t.TempDir(), "wagent")
	runGo(t, "build", "-ldflags=-s", "-o", release, ".")
	image, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range traces {
		if bytes.Contains(image, trace) {
			t.Errorf("the release binary contains %q", trace)
		}
	}

	// The same traces are found where they are, or the search proves nothing.
	double := filepath.Join(t.TempDir(), "watest.test")
	runGo(t, "test", "-c", "-tags", "watest", "-ldflags=-s", "-o", double, "../../gateway/whatsapp/watest")
	if image, err = os.ReadFile(double); err != nil {
		t.Fatal(err)
	}
	for _, trace := range traces {
		if !bytes.Contains(image, trace) {
			t.Errorf("a binary with the test WhatsApp does not contain %q", trace)
		}
	}
}

// testRoot reads what the test root's key is made of.
func testRoot(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("../../gateway/whatsapp/watest/noise.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`const rootSeed = "(.{20,})"`).FindSubmatch(src)
	if m == nil {
		t.Fatal("noise.go has no rootSeed")
	}
	return string(m[1])
}

// releaseFlags reads how the image builds the program.
func releaseFlags(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go build (.*) -o \S+ \./cmd/wagent`).FindSubmatch(src)
	if m == nil {
		t.Fatal("the Dockerfile does not build ./cmd/wagent")
	}
	return strings.Fields(string(m[1]))
}

func runGo(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestBuildsWithoutLinkedDevices: what such a build links decides under which
// licence it may be passed on.
func TestBuildsWithoutLinkedDevices(t *testing.T) {
	linked := func(tags string) bool {
		t.Helper()
		out, err := exec.Command("go", "list", "-deps", "-tags", tags, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(out), "go.mau.fi/")
	}
	if linked("nolinked") {
		t.Error("a build with -tags nolinked links what only linked devices need")
	}
	if !linked("") {
		t.Error("the search for the libraries of linked devices finds nothing where they are")
	}
}
