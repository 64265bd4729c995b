package windows

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A benchmark is redis-benchmark with the command of an Add.
type benchmark struct {
	path      string
	opts      *redis.Options
	command   []any
	key, item string // as they stand in the command
	keys      int
}

// anyNumber is what redis-benchmark replaces by twelve random digits.
const anyNumber = "__rand_int__"

// run returns how many commands a second it counted. A command's key is another
// one each time that it occurs, so what it leaves are no windows.
func (b *benchmark) run(ctx context.Context, connections, together, n int) (float64, error) {
	args := []string{
		"--csv", "-c", strconv.Itoa(connections), "-P", strconv.Itoa(together),
		"-n", strconv.Itoa(n), "-r", strconv.Itoa(b.keys), "--dbnum", strconv.Itoa(b.opts.DB),
	}
	if host, port, err := net.SplitHostPort(b.opts.Addr); err == nil && b.opts.Network != "unix" {
		args = append(args, "-h", host, "-p", port)
	} else {
		args = append(args, "-s", b.opts.Addr)
	}
	anyKey, anyItem := key(0)[:1]+anyNumber, item(0)[len(anyNumber):]+anyNumber
	for _, arg := range b.command {
		text := fmt.Sprint(arg)
		if text == b.item {
			text = anyItem
		}
		args = append(args, strings.ReplaceAll(text, b.key, anyKey))
	}
	cmd := exec.CommandContext(ctx, b.path, args...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return 0, fmt.Errorf("run redis-benchmark: %w", err)
	}
	rate, err := figure(string(out))
	if err != nil {
		return 0, fmt.Errorf("read redis-benchmark: %w", err)
	}
	return rate, nil
}

var errNoFigure = errors.New("it printed no figure")

// figure reads what it prints: a line of names, and one of values, of which the
// second is the rate.
func figure(out string) (float64, error) {
	lines := csv.NewReader(strings.NewReader(out))
	lines.LazyQuotes, lines.FieldsPerRecord = true, -1
	rows, err := lines.ReadAll()
	if err != nil {
		return 0, err
	}
	if len(rows) < 1 || len(rows[len(rows)-1]) < 2 {
		return 0, fmt.Errorf("%w: %q", errNoFigure, out)
	}
	rate, err := strconv.ParseFloat(rows[len(rows)-1][1], 64)
	if err != nil || rate <= 0 {
		return 0, fmt.Errorf("%w: %q", errNoFigure, out)
	}
	return rate, nil
}
