// Package library makes the client of whatsmeow as this gateway uses it, and
// mends what two of its parts do to each other.
//
// Its clients acknowledge a message only after our handler took it, keep what
// they decrypted until then, never reconnect by themselves, use the session with
// a person for one thing at a time ([Turn]), and answer a person under the LID
// with the session that they have. State is the library's, in its database; what
// is one variable for the whole process (its version, our name on the phone's
// list) is set here and guarded.
package library

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	signallog "go.mau.fi/libsignal/logger"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"wagent/gateway/whatsapp/pace"
)

// Introduce names us in the phone's list of linked devices, and keeps the
// library of Signal from making its own logger, which two accounts may do at
// once. Both are variables of the process. It may be called again.
var Introduce = sync.OnceFunc(func() {
	var silent signallog.Loggable = signalLog{}
	signallog.Setup(&silent)
	name := "wagent"
	store.DeviceProps.Os = &name
	store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_DESKTOP.Enum()
})

// Paired prepares a device that is linked: learn is told of each pair of a
// number and a LID that the library learns, from any goroutine. Whoever sends
// takes the turn that is returned.
func Paired(device *store.Device, learn func(pairs ...store.LIDMapping)) Turn {
	turn := make(Turn, 1)
	sessions := &movedSessions{SessionStore: device.Sessions, lid: map[string]string{}}
	device.Sessions = sessions
	device.LIDs = &observedLIDs{LIDStore: device.LIDs, sessions: sessions, tx: device.EventBuffer, tell: learn}
	device.EventBuffer = &orderlyDecryption{EventBuffer: device.EventBuffer, turn: turn}
	return turn
}

// Client makes the client of a device, linked or to be linked. web is how it
// reaches WhatsApp, and may be shared.
func Client(device *store.Device, log waLog.Logger, web *http.Client) *whatsmeow.Client {
	cli := whatsmeow.NewClient(device, log)
	lean(cli)
	cli.SetWebsocketHTTPClient(web)
	cli.SetPreLoginHTTPClient(web)
	cli.SetMediaHTTPClient(web)
	// Its own way to reconnect has no jitter and no end, and does not know of
	// leases.
	cli.EnableAutoReconnect = false
	cli.DisableLoginAutoReconnect = true
	cli.SynchronousAck = true
	cli.EnableDecryptedEventBuffer = true
	cli.UseRetryMessageStore = true
	cli.AutomaticMessageRerequestFromPhone = true
	cli.SendReportingTokens = true
	cli.ManualHistorySyncDownload = true // agents need no history
	return cli
}

// versions keeps a change of the client's version, which is one variable for
// the whole process, away from those who are just announcing theirs.
var versions sync.RWMutex

// ErrSlow is why Dial ended the life of a connection.
var ErrSlow = errors.New("WhatsApp did not answer in time")

// Dial connects cli. What the library does for the connection it does under
// life, which end ends where WhatsApp does not answer in time.
func Dial(life context.Context, cli *whatsmeow.Client, limit time.Duration, end context.CancelCauseFunc) error {
	timer := time.AfterFunc(limit, func() { end(ErrSlow) })
	defer timer.Stop()
	versions.RLock()
	defer versions.RUnlock()
	// A handshake that has begun waits for its answer for 20 s, whatever becomes of its
	// context (whatsmeow's doHandshake): a life that ends meanwhile is kept from it until
	// the answer came, which it does at once or not at all.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(life))
	dialled := make(chan struct{})
	context.AfterFunc(life, func() {
		grace := time.NewTimer(handshakeGrace)
		defer grace.Stop()
		select {
		case <-dialled:
		case <-grace.C:
		}
		cancel(context.Cause(life))
	})
	err := cli.ConnectContext(ctx)
	close(dialled)
	if err != nil {
		cancel(err)
	}
	return err
}

// handshakeGrace is how long a connection that is being made goes on after the end of
// its life.
const handshakeGrace = time.Second

// How long a connection may take to end by itself, and the library to notice.
const (
	endLook  = 20 * time.Millisecond
	endLooks = 50
)

// AwaitEnd waits for a connection that is ending by itself, because of its
// context or of WhatsApp: to end one that ends is a race within the library. It
// waits for a second at most, whatever becomes of ctx.
func AwaitEnd(ctx context.Context, cli *whatsmeow.Client) {
	ctx = context.WithoutCancel(ctx)
	for i := 0; i < endLooks && cli.IsConnected(); i++ {
		_ = pace.Sleep(ctx, endLook)
	}
	_ = pace.Sleep(ctx, 3*endLook)
}

// Unlink connects cli once more, has WhatsApp unlink the device and deletes its
// keys. Where it fails they are kept.
func Unlink(ctx context.Context, cli *whatsmeow.Client, limit time.Duration) error {
	in := make(chan struct{}, 1)
	id := cli.AddEventHandler(func(evt any) {
		if _, ok := evt.(*events.Connected); ok {
			select {
			case in <- struct{}{}:
			default:
			}
		}
	})
	defer cli.RemoveEventHandler(id)
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer func() { AwaitEnd(ctx, cli); cli.Disconnect() }()
	if err := Dial(life, cli, limit, end); err != nil {
		return err
	}
	select {
	case <-in:
		return cli.Logout(life)
	case <-life.Done():
		return context.Cause(life)
	}
}

// ErrNewest is why Update changed nothing: WhatsApp knows of no newer version.
var ErrNewest = errors.New("this is WhatsApp's newest version")

// Update asks for the newest version of WhatsApp's client and takes it over, for
// all clients of the process.
func Update(ctx context.Context, newest func(context.Context) (*store.WAVersionContainer, error)) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	theirs, err := newest(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for WhatsApp's newest version: %w", err)
	}
	versions.Lock()
	defer versions.Unlock()
	if ours := store.GetWAVersion(); !ours.LessThan(*theirs) {
		return "", fmt.Errorf("version %s: %w", ours, ErrNewest)
	}
	store.SetWAVersion(*theirs)
	return theirs.String(), nil
}

// WhyLoggedOut says in words for people why WhatsApp unlinked the device.
func WhyLoggedOut(evt *events.LoggedOut) string {
	switch evt.Reason {
	case events.ConnectFailureMainDeviceGone: // 403
		return "WhatsApp locked the phone's account; link the phone again once it works"
	case events.ConnectFailureUnknownLogout: // 406
		return "WhatsApp banned the phone's account"
	default:
		return "the device was unlinked on the phone; link it again"
	}
}
