package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"wagent/context/transcript"
	"wagent/dispatch/agent/check"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// converse asks, and once more if the answer is not what it should be.
func (t *talk) converse(ctx context.Context, r llm.Request) (check.Verdict, error) {
	text, first, err := t.ask(ctx, &r)
	if err != nil {
		return check.Verdict{}, err
	}
	if len(first.Faults) == 0 {
		t.drops(&first)
		return first, nil
	}
	r.Turns = append(slices.Clip(r.Turns),
		transcript.Turn{Role: transcript.Assistant, Text: bounded(text)},
		transcript.Turn{Role: transcript.User, Text: repairWords(first.Faults, r.Schema)},
	)
	r.Repair = true
	_, second, err := t.ask(ctx, &r)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return check.Verdict{}, err
	}
	switch {
	case err == nil && len(second.Fatal) == 0:
		t.drops(&second)
		second.Notes = append([]string{"the first answer was sent back: " + check.Summary(first.Faults)}, second.Notes...)
		return second, nil
	case len(first.Fatal) == 0:
		// What came first is worse than it might be, and better than nothing.
		why := "it was worse after the repair"
		if err != nil {
			why = "the repair failed"
		}
		t.drops(&first)
		first.Notes = append([]string{"the first answer was used, since " + why}, first.Notes...)
		return first, nil
	case err != nil:
		return check.Verdict{}, err
	default:
		return check.Verdict{}, &Failure{
			Stop: gateway.StopInvalidResponse, reason: outcomeInvalidAnswer,
			Msg: "the model's answer was not valid, nor was its repair: " + check.Summary(second.Fatal),
		}
	}
}

// drops counts what an answer that is used has lost.
func (t *talk) drops(v *check.Verdict) {
	t.metrics.dropped.WithLabelValues(t.provider, t.name).Add(float64(len(v.Notes)))
}

// repairWords is the turn that sends an answer back.
func repairWords(faults []string, schema json.RawMessage) string {
	var b strings.Builder
	b.WriteString("Your last answer can not be used:\n")
	for i, f := range faults {
		if i == 20 {
			fmt.Fprintf(&b, "- and %d more\n", len(faults)-i)
			break
		}
		fmt.Fprintf(&b, "- %s\n", f)
	}
	b.WriteString("\nAnswer the same turn again: one JSON object and nothing else, that satisfies this JSON Schema:\n")
	b.Write(schema)
	return b.String()
}

// bounded returns as much of a bad answer as the model needs to see. It is
// never empty, because servers refuse an empty turn.
func bounded(text string) string {
	const limit = 4000
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.TrimSpace(text) == "" {
		return "(nothing)"
	}
	if r := []rune(text); len(r) > limit {
		return string(r[:limit]) + " …"
	}
	return text
}
