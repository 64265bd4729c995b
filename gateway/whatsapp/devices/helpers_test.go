package devices_test

import (
	"context"
	"errors"
	"path/filepath"
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
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).WaitForConnection"),
	)
}

// postgres is a database with a table of leases, in which accounts acc_1 and
// acc_2 have fence 1.
func postgres(t *testing.T) config {
	t.Helper()
	url := storetest.BarePostgres(t)
	run(t, url, `CREATE TABLE links (account TEXT PRIMARY KEY, fence BIGINT NOT NULL)`)
	run(t, url, `INSERT INTO links VALUES ('acc_1', 1), ('acc_2', 1)`)
	return config{URL: url, Guard: `SELECT 1 FROM public.links WHERE account = $1 AND fence = $2 FOR SHARE`}
}

// run runs statements beside the store.
func run(t *testing.T, url, statements string) {
	t.Helper()
	if err := try(context.WithoutCancel(t.Context()), url, statements); err != nil {
		t.Fatal(err)
	}
}

func try(ctx context.Context, url, statements string) error {
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = db.PgConn().Exec(ctx, statements).ReadAll()
	return errors.Join(err, db.Close(ctx))
}

type config = devices.Config

// eachDatabase runs a test with an empty database of each kind.
func eachDatabase(t *testing.T, test func(t *testing.T, cfg config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, config{Path: filepath.Join(t.TempDir(), "devices.db")})
	})
	t.Run("postgres", func(t *testing.T) { test(t, postgres(t)) })
}
