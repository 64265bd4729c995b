package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5"

	"wagent/gateway/store"
)

// A pgCluster is a running PostgreSQL.
type pgCluster struct {
	dir  string   // also of its socket
	life *os.File // the server ends when this closes
	made atomic.Int64
}

var cluster = sync.OnceValues(startCluster)

// keeper starts the server in $2 with the binaries in $1 and stops it when its
// input ends, which is when the test process has ended, however it did.
const keeper = `
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/initdb.log" 2>&1 || { cat "$2/initdb.log"; rm -rf "$2"; exit 1; }
"$1/pg_ctl" -D "$2/data" -l "$2/server.log" -w -t 60 -o "-k '$2' -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB" start >/dev/null 2>&1 || { cat "$2/server.log"; rm -rf "$2"; exit 1; }
echo ready
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
rm -rf "$2"
`

func startCluster() (*pgCluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(tempRoot(), "wagent-pg-")
	if err != nil {
		return nil, err
	}
	// The script outlives any test, so that no test's context ends it.
	cmd := exec.CommandContext(context.Background(), "sh", "-c", keeper, "sh", bin, dir)
	cmd.Dir = dir
	if os.Getuid() == 0 { // initdb refuses root
		if cmd.SysProcAttr, err = asPostgres(dir); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	in, life, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	said, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	err = cmd.Start()
	if err := errors.Join(err, in.Close(), out.Close()); err != nil {
		return nil, err
	}
	c := &pgCluster{dir: dir, life: life}
	lines := bufio.NewScanner(said)
	var log []string
	for lines.Scan() {
		if lines.Text() == "ready" {
			return c, c.prepare(context.Background())
		}
		log = append(log, lines.Text())
	}
	return nil, fmt.Errorf("start server: %s", strings.Join(log, " | "))
}

// binaries returns the folder of the newest PostgreSQL that is installed.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(p string) int {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(p)))) // 0 sorts first
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	p, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("there is no initdb, neither in /usr/lib/postgresql nor in PATH")
	}
	return filepath.Dir(p), nil
}

// tempRoot is where databases are made fast, in memory, or else where the
// socket's path stays short enough for the system.
func tempRoot() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return memory
	}
	if dir := os.TempDir(); len(dir) < 60 {
		return dir
	}
	return "/tmp"
}

// asPostgres hands dir to the user postgres and says how to become them.
func asPostgres(dir string) (*syscall.SysProcAttr, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, int(uid), int(gid))
}

func strict() bool {
	return os.Getenv("WAGENT_TEST_STRICT") != "" //nolint:forbidigo // tests have no main that could read it
}

func (c *pgCluster) url(database string) string {
	return "postgres://postgres@/" + database + "?" + url.Values{"host": {c.dir}, "sslmode": {"disable"}}.Encode()
}

// template is a database with its tables, made once for all tests.
const template = "wagent_template"

// prepare makes the template. What Open writes into a new database goes again: tests
// have keys of their own.
func (c *pgCluster) prepare(ctx context.Context) error {
	if err := c.exec(ctx, "postgres", "CREATE DATABASE "+template); err != nil {
		return err
	}
	if err := migrated(store.Config{URL: c.url(template), Key: Key}); err != nil { //nolint:contextcheck // no test's ends it
		return err
	}
	return c.exec(ctx, template, "DELETE FROM seal_check")
}

func (c *pgCluster) create(ctx context.Context, of string) (string, error) {
	name := "test_" + strconv.FormatInt(c.made.Add(1), 10)
	return name, c.exec(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+of+" STRATEGY FILE_COPY")
}

func (c *pgCluster) drop(ctx context.Context, name string) error {
	return c.exec(ctx, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
}

func (c *pgCluster) exec(ctx context.Context, database, statement string) error {
	conn, err := pgx.Connect(ctx, c.url(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
