//go:build watest

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Usage is what a process uses. Memory is in bytes, after a garbage
// collection unless it says otherwise.
type Usage struct {
	Resident   int64   `json:"resident"`
	Anonymous  int64   `json:"anonymous"` // resident, and no file's
	Before     int64   `json:"before"`    // resident, before the collection
	Heap       int64   `json:"heap"`
	Stacks     int64   `json:"stacks"`
	Goroutines int     `json:"goroutines"`
	Files      int     `json:"files"`   // open, connections among them
	CPU        float64 `json:"cpu"`     // 1 is a whole core
	Written    float64 `json:"written"` // bytes a second to the disk
	Writes     float64 `json:"writes"`  // calls a second that write, to connections, too
}

// rest lets the process be for a while and returns what it used.
func rest(ctx context.Context, while time.Duration) (u Usage, err error) {
	began := time.Now()
	worked, err := cpuTime()
	if err != nil {
		return u, err
	}
	before, err := fields("/proc/self/io")
	if err != nil {
		return u, err
	}
	select {
	case <-time.NewTimer(while).C:
	case <-ctx.Done():
		return u, errStopped
	}
	until, err := cpuTime()
	if err != nil {
		return u, err
	}
	after, err := fields("/proc/self/io")
	if err != nil {
		return u, err
	}
	seconds := max(time.Since(began), time.Millisecond).Seconds()
	u.CPU = (until - worked).Seconds() / seconds
	u.Written = float64(after["write_bytes"]-before["write_bytes"]) / seconds
	u.Writes = float64(after["syscw"]-before["syscw"]) / seconds
	return u, u.weigh()
}

// weigh fills in how much memory, goroutines and files there are.
func (u *Usage) weigh() error {
	m, err := fields("/proc/self/smaps_rollup")
	if err != nil {
		return err
	}
	u.Before = m["Rss"]
	runtime.GC() // what finalizers and pools held is free after the second
	debug.FreeOSMemory()
	if m, err = fields("/proc/self/smaps_rollup"); err != nil {
		return err
	}
	u.Resident, u.Anonymous = m["Rss"], m["Anonymous"]
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	u.Heap, u.Stacks = int64(s.HeapAlloc), int64(s.StackInuse)
	u.Goroutines = runtime.NumGoroutine()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("count open files: %w", err)
	}
	u.Files = len(open)
	return nil
}

func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// fields reads lines such as "name: 12" and "name: 12 kB" of a file of /proc.
// Others it skips.
func fields(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("this bench reads what Linux tells of a process: %w", err)
	}
	out := map[string]int64{}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(string(line), ":")
		number, kilo := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			continue
		}
		if kilo {
			n <<= 10
		}
		out[name] = n
	}
	return out, nil
}
