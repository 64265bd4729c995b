package library

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"

	waBinary "go.mau.fi/whatsmeow/binary"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// quietLog writes what the library says of passing trouble as our debug
// lines, without the numbers in it. Of its stream of received frames it only
// notes that one came.
type quietLog struct {
	log     *slog.Logger
	module  string
	onFrame func(tag string) // nil but in the module of received frames
	frame   func(tag string)
}

// Log returns a logger for a client, which tells onFrame the tag of each stanza
// that comes.
func Log(log *slog.Logger, onFrame func(tag string)) waLog.Logger {
	return quietLog{log: log, frame: onFrame}
}

// Sub satisfies waLog.Logger.
func (l quietLog) Sub(module string) waLog.Logger {
	sub := l
	sub.module, sub.onFrame = module, nil
	if module == "Recv" { // whatsmeow.NewClient
		sub.onFrame = l.frame
	}
	return sub
}

// Debugf satisfies waLog.Logger.
func (l quietLog) Debugf(_ string, args ...any) {
	if l.onFrame == nil || len(args) == 0 {
		return
	}
	if n, ok := args[0].(*waBinary.Node); ok { // whatsmeow.(*Client).handleFrame
		l.onFrame(n.Tag)
	}
}

// Infof satisfies waLog.Logger.
func (l quietLog) Infof(msg string, args ...any) { l.write("info", msg, args) }

// Warnf satisfies waLog.Logger.
func (l quietLog) Warnf(msg string, args ...any) { l.write("warn", msg, args) }

// Errorf satisfies waLog.Logger.
func (l quietLog) Errorf(msg string, args ...any) { l.write("error", msg, args) }

func (l quietLog) write(level, msg string, args []any) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	said := longNumber.ReplaceAllString(fmt.Sprintf(msg, args...), "…")
	l.log.DebugContext(ctx, "whatsmeow", "module", l.module, "level", level, "said", said[:min(len(said), 500)])
}

// longNumber is what may be somebody's.
var longNumber = regexp.MustCompile(`[0-9]{6,}`)

// signalLog says nothing: what goes wrong in Signal comes as an error, too.
type signalLog struct{}

// Debug satisfies the logger of libsignal, as do the rest.
func (signalLog) Debug(string, string) {}

// Info says nothing.
func (signalLog) Info(string, string) {}

// Warning says nothing.
func (signalLog) Warning(string, string) {}

// Error says nothing.
func (signalLog) Error(string, string) {}

// Configure changes nothing.
func (signalLog) Configure(string) {}
