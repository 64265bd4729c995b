package devices

import (
	"context"
	"database/sql/driver"
)

// OpenThrough is Open, with something in front of the database's driver.
func OpenThrough(ctx context.Context, cfg Config, wrap func(driver.Connector) driver.Connector) (*Store, error) {
	connector, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, wrap(connector))
}
