package llmtest

import (
	"bytes"
	"fmt"
	"strings"
)

// An event is one of a stream. Chat Completions' have no name.
type event struct {
	name string
	data []byte
}

// stream is the body of an answer as a stream.
func stream(req *Request, p *Reply) []byte {
	events := req.protocol.events(req, p)
	switch p.Fault {
	case Empty:
		return nil
	case NoChoices:
		_, events = req.protocol.hollow()
	case Late:
		events = append(events[:len(events)/2:len(events)/2], req.protocol.late(p))
	case Garbage:
		events = append(events[:1:1], event{events[0].name, []byte("<html>502 Bad Gateway</html>")})
	default:
	}
	var b bytes.Buffer
	for i, e := range events {
		if e.name != "" {
			fmt.Fprintf(&b, "event: %s\n", e.name)
		}
		fmt.Fprintf(&b, "data: %s\n\n", e.data)
		if i == 0 {
			b.WriteString(": a comment keeps the connection alive\n\n")
		}
		for p.Fault == Huge && i == 1 && b.Len() < 5<<20 {
			b.WriteString(": " + strings.Repeat("x", 1<<10) + "\n")
		}
	}
	return b.Bytes()
}

// pieces cuts a text as models stream it, in at most eight.
func pieces(text string) []string {
	if text == "" {
		return nil
	}
	size := max(1, (len(text)+7)/8)
	var out []string
	for r := []rune(text); len(r) > 0; {
		n := min(size, len(r))
		out = append(out, string(r[:n]))
		r = r[n:]
	}
	return out
}

// counts are the tokens of an answer: as if four bytes were one.
func counts(req *Request, p *Reply) (in, out int) { return len(req.Body) / 4, len(p.Text)/4 + 1 }
