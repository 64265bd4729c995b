package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"rsc.io/qr"
)

// A screen is a terminal on which the last block is replaced by the next, and
// all else stays. What is no terminal gets one block after the other. It is
// also a writer, for logs.
type screen struct {
	out      io.Writer
	terminal bool
	logs     io.Writer

	mu     sync.Mutex
	block  string // what is drawn; of whole lines, none wider than the terminal
	hidden bool   // the cursor
}

// What terminals take (ECMA-48; DECTCEM for the cursor).
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	upAndClear = "\x1b[%dA\r\x1b[J"
	resetInk   = "\x1b[0m"
	ink256     = "\x1b[38;5;%d;48;5;%dm"
)

// draw replaces the block.
func (s *screen) draw(block string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if block == s.block {
		return
	}
	text := s.erased() + block
	if s.terminal && !s.hidden {
		text, s.hidden = hideCursor+text, true
	}
	_, _ = io.WriteString(s.out, text) // who closed the terminal does not read on
	s.block = block
}

// say writes text of whole lines where the block was, to stay.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	_, _ = io.WriteString(s.out, text)
}

// close takes the block away.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
}

// Write writes a log above the block.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.out, s.erased())
	n, err := s.logs.Write(p)
	if s.terminal {
		_, _ = io.WriteString(s.out, s.block)
	}
	return n, err
}

func (s *screen) clear() {
	text := s.erased()
	if s.hidden {
		text += showCursor
	}
	_, _ = io.WriteString(s.out, text)
	s.block, s.hidden = "", false
}

// erased is what takes the block off a terminal. Lines that have scrolled out
// of it stay there.
func (s *screen) erased() string {
	if !s.terminal || s.block == "" {
		return ""
	}
	return fmt.Sprintf(upAndClear, strings.Count(s.block, "\n"))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// quietZone is how many modules stay light on each side. The standard wants
// four (ISO/IEC 18004); scanners do with two, and terminals are small.
const quietZone = 2

// The colours of xterm's palette that no theme changes.
const (
	black = 16
	white = 231
)

// qrText draws a QR code, two modules per character: black on white where
// colours are understood, and else for light text on a dark ground.
func qrText(text string, colours bool) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		was := -1
		for x := -quietZone; x < code.Size+quietZone; x++ {
			pair := 0
			if code.Black(x, y) {
				pair += 2
			}
			if code.Black(x, y+1) {
				pair++
			}
			if !colours {
				b.WriteString([]string{"█", "▀", "▄", " "}[pair])
				continue
			}
			if pair != was {
				fmt.Fprintf(&b, ink256, []int{white, black}[pair>>1], []int{white, black}[pair&1])
				was = pair
			}
			b.WriteString("▀")
		}
		if colours {
			b.WriteString(resetInk)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
