package main

import (
	"context"
	"net/netip"
	"time"

	"wagent/dispatch/route"
	"wagent/gateway"
	"wagent/gateway/api/webhooks"
	"wagent/gateway/store"
)

// newHooksAPI is the webhooks' part of the API.
func newHooksAPI(db *store.Store, allowed []netip.Prefix) *webhooks.API {
	return &webhooks.API{Webhooks: db, Editor: db, Deliveries: trying{db}, Network: newInside(allowed)}
}

// trying also has webhooks tested.
type trying struct{ *store.Store }

// TestWebhook satisfies webhooks.Deliveries.
func (t trying) TestWebhook(ctx context.Context, id int64) (gateway.DeliveryID, error) {
	d := route.Test(id, time.Now())
	err := t.AddDelivery(ctx, &d)
	return d.ID, err
}
