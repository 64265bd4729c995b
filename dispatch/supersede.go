package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wagent/debounce"
	"wagent/gateway"
)

// errSuperseded has debounce hand the batch over again, together with what
// superseded its run.
var errSuperseded = fmt.Errorf("the run was superseded: %w", debounce.ErrRecalled)

// supersedePatience is how long it may take to let go of a superseded run. One
// that could not be returned to pending is superseded by its next claim.
const supersedePatience = 5 * time.Second

// recalled returns what became of work on a run that a newer message may have
// interrupted.
func (d *Dispatcher) recalled(ctx context.Context, r *gateway.Run, err error) error {
	if err == nil || errors.Is(err, errSuperseded) || !errors.Is(context.Cause(ctx), debounce.ErrRecalled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), supersedePatience)
	defer cancel()
	did, failed := d.Runs.SupersedeRun(ctx, r)
	switch {
	case gateway.KindOf(failed) == gateway.Conflict:
		// It may be finished, if the answer to that was cut off.
		wake(d.Sent)
		return nil
	case failed != nil:
		d.log.WarnContext(ctx, "superseded run left to its next claim", "run", r.ID, "err", failed)
		return err
	case !did: // it was, often enough: another claim answers it
		return err
	}
	return d.superseded(ctx, r)
}

// superseded is the end of work on a run that waits to be claimed again.
func (d *Dispatcher) superseded(ctx context.Context, r *gateway.Run) error {
	d.metrics.superseded.Inc()
	d.log.InfoContext(ctx, "run superseded", "run", r.ID, "agent", r.Agent, "account", r.Account, "conversation", r.Conversation,
		"times", r.Supersedes+1, "input_tokens", r.InputTokens, "output_tokens", r.OutputTokens, "duration_ms", time.Since(r.StartedAt).Milliseconds())
	if d.Rearm == nil {
		return errSuperseded
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), supersedePatience)
	defer cancel()
	if _, err := d.Rearm(ctx, r.Conversation); err != nil {
		d.log.WarnContext(ctx, "what superseded a run is left to the sweeper", "run", r.ID, "err", err)
	}
	return errSuperseded
}
