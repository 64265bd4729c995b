package webhook

import (
	"context"
	"slices"

	"wagent/gateway"
)

// answersAtOnce is how many answers are kept together: what comes after them is not
// lost with them.
const answersAtOnce = 16

// keepAnswers keeps what endpoints answered, but for what was kept at an earlier try.
func (d *Deliverer) keepAnswers(ctx context.Context, fs []*flight) error {
	said := slices.DeleteFunc(slices.Clone(fs), func(f *flight) bool { return f.kept || f.said.Result == nil && f.said.Reply == "" })
	for some := range slices.Chunk(said, answersAtOnce) {
		answers := make([]gateway.ActionAnswer, len(some))
		for i, f := range some {
			answers[i] = f.said
		}
		replies, err := d.store.AnswerActions(ctx, answers)
		if replies && d.cfg.Replied != nil {
			d.cfg.Replied()
		}
		if err != nil {
			return err
		}
		for _, f := range some {
			f.kept = true
		}
	}
	return nil
}

// countAnswer counts what an attempt that is on record brought.
func (d *Deliverer) countAnswer(a *gateway.ActionAnswer) {
	if a.Result != nil {
		d.metrics.answers.WithLabelValues(answerResult).Inc()
	}
	if a.Reply != "" {
		d.metrics.answers.WithLabelValues(answerReply).Inc()
	}
}
