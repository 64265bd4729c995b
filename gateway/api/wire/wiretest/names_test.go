package wiretest

import "testing"

// TestWhatVariesIsReplacedInItsFormOnly: what has another form than it should is
// seen in a story.
func TestWhatVariesIsReplacedInItsFormOnly(t *testing.T) {
	for in, want := range map[string]string{
		`"latency_ms": 12,`:   `"latency_ms": (milliseconds),`,
		`"latency_ms": "12"`:  `"latency_ms": "12"`,
		`"latency_ms": null`:  `"latency_ms": null`,
		`"duration_ms": -1`:   `"duration_ms": -1`,
		`"input_tokens": 759`: `"input_tokens": (a prompt's)`,
		`"input_tokens": 0`:   `"input_tokens": 0`,
		`"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"`: `"secret": "whsec_(secret)"`,
		`"secret": "whsec_short"`:                            `"secret": "whsec_short"`,
		`"url": "http://127.0.0.1:4242/connect/x"`:           `"url": "http://127.0.0.1:(port)/connect/x"`,
		`"period": "2026-11-26"`:                             `"period": "(day)"`,
		`"period": "2026-11"`:                                `"period": "(month)"`,
		`"created_at": "2026-11-26T22:07:32Z"`:               `"created_at": "(time)"`,
		`"created_at": "2026-11-26T22:07:32.5Z"`:             `"created_at": "2026-11-26T22:07:32.5Z"`,
		`"wamid": "wamid.ABCDEFGHIJKLMNOPQRSTUVWXYZ"`:        `"wamid": "wamid.(id)"`,
		`"request_id": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"`:         `"request_id": "(request)"`,
		`"request_id": ""`:                                   `"request_id": ""`,
		`"id": "run_abcdefghijklmnopqrstuvwxyz"`:             `"id": "run_1"`,
		`"id": "run_abc"`:                                    `"id": "run_abc"`,
	} {
		n := &names{real: true}
		if got := n.stable(in); got != want {
			t.Errorf("stable(%s) = %s, want %s", in, got, want)
		}
	}
	if got := (&names{}).stable(`"latency_ms": 812`); got != `"latency_ms": 812` {
		t.Errorf("a double's latency is shown as %s", got)
	}
}
