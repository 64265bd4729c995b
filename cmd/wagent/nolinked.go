//go:build nolinked

package main

import (
	"context"
	"errors"
	"log/slog"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

// linked is nothing in this build: it has no linked devices, and none of the
// libraries that they need.
type linked struct{ sent func() }

func newLinked(_ context.Context, _ *config.Config, _ *app, _ host, _ *gateway.Inbox, _ *bell, sends func(), _ *slog.Logger) (*linked, error) {
	return &linked{sent: sends}, nil
}

// Holder is empty: this process holds no account.
func (*linked) Holder() string { return "" }

func (*linked) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (*linked) changed() {}

func (*linked) hear(context.Context, string, string) {}

func (*linked) working(context.Context, *gateway.Claim) (stop func()) { return func() {} }

// Transmit refuses: there should be no such account.
func (*linked) Transmit(context.Context, *gateway.Account, *gateway.Send) (string, error) {
	return "", &gateway.Error{Kind: gateway.Unavailable, Msg: "this build has no linked devices", Err: errors.ErrUnsupported}
}

func rehearsal(process) string { return "" }
