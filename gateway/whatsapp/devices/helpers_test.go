package devices_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"wagent/gateway/store/storetest"
	"wagent/gateway/whatsapp/devices"
)

// TestMain looks for leaks. Two are whatsmeow's: its reader stays behind with a
// frame that came when nobody took frames any more, and its loop for history
// lives for a minute.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"),
	)
}

// postgres is a database with a table of leases, in which accounts acc_1 and
// acc_2 have fence 1.
func postgres(t *testing.T) devices.Config {
	t.Helper()
	url := storetest.Postgres(t)
	run(t, url, `CREATE TABLE links (account TEXT PRIMARY KEY, fence BIGINT NOT NULL)`)
	run(t, url, `INSERT INTO links VALUES ('acc_1', 1), ('acc_2', 1)`)
	return devices.Config{URL: url, Guard: `SELECT 1 FROM public.links WHERE account = $1 AND fence = $2 FOR SHARE`}
}

// run runs a statement beside the store.
func run(t *testing.T, url, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(ctx, statement)
	if e := db.Close(ctx); err == nil {
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
}
