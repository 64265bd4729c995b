package devices

import (
	"context"
	"database/sql"
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

// View is what the library gets of an account.
func View(s *Store, f Fence) *sql.DB { return sql.OpenDB(&view{s: s, fence: f}) }
