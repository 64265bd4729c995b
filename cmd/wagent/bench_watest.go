//go:build watest

package main

import (
	"context"
	"fmt"
	"os"

	"wagent/cmd/wagent/internal/bench"
)

// Run implements wagent bench accounts.
func (c benchAccountsCommand) Run(ctx context.Context, p process) error {
	if c.Hold {
		return bench.Hold(ctx, p.stdin, p.stdout, p.stderr)
	}
	if c.Accounts < 1 {
		return useError{"wagent: --accounts must be at least 1"}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	r, err := bench.Accounts{
		N: c.Accounts, Idle: c.Idle, Heap: c.Heap,
		Program: []string{self, "bench", "accounts", "--hold"}, Log: p.stderr,
	}.Run(ctx)
	if err != nil {
		return err
	}
	if err := printReport(p.stdout, c.JSON, &r); err != nil {
		return err
	}
	return r.Err()
}
