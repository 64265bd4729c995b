// Package machine tells what processes and the whole machine have used of the
// processors, for benches.
//
// It reads Linux's /proc (proc(5)), where other systems have nothing of the
// kind. It keeps no state.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit in which /proc counts: USER_HZ, which is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU is how long all processors of the machine have worked; 0 where nothing
// tells it.
func CPU() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user nice system irq softirq steal; 4 and 5 are idle
		if i >= len(fields) {
			return 0
		}
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return time.Duration(sum) * tick
}

// Own is how long processors have worked for this process.
func Own() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// A Process is one process as /proc tells of it.
type Process struct {
	PID, Parent int
	Name        string        // at most 15 bytes
	CPU         time.Duration // what processors worked for it
	Ended       time.Duration // and for children of it that have ended
}

// Look returns a process of this machine.
func Look(pid int) (Process, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	p, err := parse(text)
	if err != nil {
		return p, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return p, nil
}

// Family is how long processors have worked for a process and its children,
// those that have ended among them.
func Family(pid int) (time.Duration, error) {
	head, err := Look(pid)
	if err != nil {
		return 0, err
	}
	sum := head.CPU + head.Ended
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range all {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := Look(id); err == nil && p.Parent == pid { // others end while we look
			sum += p.CPU + p.Ended
		}
	}
	return sum, nil
}

// parse reads /proc/<pid>/stat: the name stands in parentheses and may hold
// some, and spaces.
func parse(text []byte) (p Process, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("no name in %q", text)
	}
	p.Name = string(text[open+1 : end])
	fields := strings.Fields(string(text[end+1:]))
	const parent, user, system, endedUser, endedSystem = 1, 11, 12, 13, 14 // fields 4 and 14 to 17 of proc(5)
	if len(fields) <= endedSystem {
		return p, fmt.Errorf("%d fields in %q", len(fields), text)
	}
	number := func(s string) int64 {
		n, failed := strconv.ParseInt(s, 10, 64)
		if failed != nil {
			err = failed
		}
		return n
	}
	p.PID = int(number(strings.TrimSpace(string(text[:open]))))
	p.Parent = int(number(fields[parent]))
	p.CPU = time.Duration(number(fields[user])+number(fields[system])) * tick
	p.Ended = time.Duration(number(fields[endedUser])+number(fields[endedSystem])) * tick
	return p, err
}
