package main

import (
	"context"
	"log/slog"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
)

// forgetRequests removes what was remembered of answered requests for long enough.
func forgetRequests(db *store.Store, log *slog.Logger) *gateway.Loop[struct{}] {
	return &gateway.Loop[struct{}]{
		Name: "forget requests", Idle: 10 * time.Minute, Log: log,
		Claim: func(ctx context.Context, _ int) ([]struct{}, time.Time, error) {
			return nil, time.Time{}, db.ForgetRequests(ctx)
		},
		Work: func(context.Context, struct{}) {},
	}
}
