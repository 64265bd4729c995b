package main

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestADemoThatIsCutShortLeavesNothing(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, cut := range map[string]func(*exec.Cmd, *os.File) error{
		"by a closed terminal":      func(c *exec.Cmd, _ *os.File) error { return c.Process.Signal(syscall.SIGHUP) },
		"by a reader who goes away": func(_ *exec.Cmd, out *os.File) error { return out.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = out.Close() }()
			cmd := exec.CommandContext(t.Context(), path, "demo")
			cmd.Env, cmd.Stdout = append(os.Environ(), "TMPDIR="+dir), w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if err := cut(cmd, out); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the demo was cut short and says that all is well")
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("the demo left %v behind, %v", left, err)
			}
		})
	}
}
