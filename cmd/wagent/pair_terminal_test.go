package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// A cell is a character on a terminal: text is light on dark, unless it says
// otherwise.
type cell struct {
	char       rune
	ink, paper bool // light
}

var csi = regexp.MustCompile(`^\x1b\[([?0-9;]*)([A-Za-z])`)

// terminalRows returns what a high and wide terminal shows after those bytes.
func terminalRows(t testing.TB, screen []byte) (rows [][]cell, cursor bool) {
	t.Helper()
	blank := cell{' ', true, false}
	x, y, now := 0, 0, blank
	rows, cursor = [][]cell{nil}, true
	for len(screen) > 0 {
		if m := csi.FindSubmatch(screen); m != nil {
			screen = screen[len(m[0]):]
			switch args := string(m[1]); string(m[2]) {
			case "m":
				now = ink(t, now, args)
			case "A":
				n, err := strconv.Atoi(args)
				if err != nil || n > y {
					t.Fatalf("the cursor goes %s lines up from line %d", args, y)
				}
				y -= n
			case "J":
				rows = append(rows[:y:y], rows[y][:min(x, len(rows[y]))])
			case "h", "l":
				if args != "?25" {
					t.Fatalf("mode %s", args)
				}
				cursor = string(m[2]) == "h"
			default:
				t.Fatalf("the terminal does not know %q", m[0])
			}
			continue
		}
		r, n := utf8.DecodeRune(screen)
		screen = screen[n:]
		switch {
		case r == '\n':
			x, y = 0, y+1
			if y == len(rows) {
				rows = append(rows, nil)
			}
		case r == '\r':
			x = 0
		case r < ' ':
			t.Fatalf("the terminal does not know %q", r)
		default:
			for len(rows[y]) <= x {
				rows[y] = append(rows[y], blank)
			}
			now.char = r
			rows[y][x] = now
			x++
		}
	}
	return rows, cursor
}

// ink follows a change of colours, of which it knows black and white.
func ink(t testing.TB, c cell, args string) cell {
	t.Helper()
	light := map[string]bool{"16": false, "231": true}
	for list := strings.Split(args, ";"); len(list) > 0; {
		switch {
		case list[0] == "0":
			c.ink, c.paper, list = true, false, list[1:]
		case len(list) >= 3 && list[1] == "5":
			l, ok := light[list[2]]
			if !ok {
				t.Fatalf("colour %s is neither black nor white", list[2])
			}
			if list[0] == "38" {
				c.ink = l
			} else {
				c.paper = l
			}
			list = list[3:]
		default:
			t.Fatalf("the terminal does not know the colours %q", args)
		}
	}
	return c
}

// screenText is the text on a terminal.
func screenText(t testing.TB, screen []byte) string {
	t.Helper()
	rows, _ := terminalRows(t, screen)
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for _, c := range row {
			line.WriteRune(c.char)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// screenQR returns what a phone reads off a terminal: the text of the last QR
// code on it, or nothing if none can be read. screen is all that was written
// to the terminal.
func screenQR(t testing.TB, screen []byte) string {
	t.Helper()
	rows, _ := terminalRows(t, screen)
	drawn := func(row []cell) bool {
		n := 0
		for _, c := range row {
			if strings.ContainsRune("▀▄█", c.char) {
				n++
			}
		}
		return n > 10
	}
	end := len(rows)
	for end > 0 && !drawn(rows[end-1]) {
		end--
	}
	start := end
	for start > 0 && drawn(rows[start-1]) {
		start--
	}
	if start == end {
		return ""
	}
	rows = rows[start:end]
	read, err := scan(t, photo(rows, image.Black), nil)
	if err != nil { // it does not find one code in a hundred on dark ground, of which it is told where they are
		read, err = scan(t, photo(rows, image.White), map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	}
	if err != nil {
		return ""
	}
	return read.GetText()
}

func scan(t testing.TB, img image.Image, hints map[gozxing.DecodeHintType]any) (*gozxing.Result, error) {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	return qrcode.NewQRCodeReader().Decode(bitmap, hints)
}

// photo is a picture of rows on a ground, whose characters are twice as high as
// wide.
func photo(rows [][]cell, ground image.Image) image.Image {
	const scale, edge = 4, 8
	width := 0
	for _, row := range rows {
		width = max(width, len(row))
	}
	img := image.NewGray(image.Rect(0, 0, (width+2*edge)*scale, (2*len(rows)+2*edge)*scale))
	draw.Draw(img, img.Bounds(), ground, image.Point{}, draw.Src)
	for y, row := range rows {
		for x, c := range row {
			for half, inked := range []bool{c.char == '▀' || c.char == '█', c.char == '▄' || c.char == '█'} {
				module := image.Black
				if inked && c.ink || !inked && c.paper {
					module = image.White
				}
				at := image.Pt((x+edge)*scale, (2*y+half+edge)*scale)
				draw.Draw(img, image.Rectangle{at, at.Add(image.Pt(scale, scale))}, module, image.Point{}, draw.Src)
			}
		}
	}
	return img
}

// A console is a terminal with somebody before it.
type console struct {
	testing.TB
	person *os.File // what they type
	tty    *os.File // for the program

	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{}
}

func newConsole(t testing.TB) *console {
	t.Helper()
	person, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := &console{TB: t, person: person, tty: tty, more: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 64<<10)
		for {
			n, err := person.Read(b)
			c.mu.Lock()
			c.shown.Write(b[:n])
			c.mu.Unlock()
			select {
			case c.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-read
		_ = person.Close()
	})
	return c
}

// process is one whose terminal this is.
func (c *console) process() process {
	return process{env: func(string) (string, bool) { return "", false }, stdin: c.tty, stdout: c.tty, stderr: c.tty}
}

// screen is all that was written so far.
func (c *console) screen() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was cut off is on its way.
	b := bytes.Clone(c.shown.Bytes())
	if i := bytes.LastIndexByte(b, '\x1b'); i >= 0 && csi.Find(b[i:]) == nil {
		b = b[:i]
	}
	return b
}

func (c *console) text() string { return screenText(c, c.screen()) }

// until waits for the screen to be as wanted.
func (c *console) until(what string, ok func() bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-c.more:
		case <-ctx.Done():
			c.Fatalf("no %s:\n%s", what, c.text())
		}
	}
}

func (c *console) shows(text string) {
	c.Helper()
	c.until(fmt.Sprintf("%q", text), func() bool { return strings.Contains(c.text(), text) })
}

func (c *console) types(text string) {
	c.Helper()
	if _, err := c.person.WriteString(text); err != nil {
		c.Fatal(err)
	}
}
