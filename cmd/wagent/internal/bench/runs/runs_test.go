package runs

import (
	"errors"
	"testing"
	"time"

	"wagent/gateway"
)

func TestNumber(t *testing.T) {
	tests := map[string]struct {
		text string
		want int
		ok   bool
	}{
		"what a customer writes":             {words(42), 42, true},
		"the newest of those before it":      {words(7) + "\n" + words(120) + "\n" + words(9), 120, true},
		"as JSON writes it":                  {`{"content":"` + words(5) + `"}`, 5, true},
		"no number":                          {"bench message no. what?", 0, false},
		"a number that is nobody's":          {"bench message no. 99999999999999999999", 999999999, true},
		"something else":                     {"hello", 0, false},
		"a number at the end of what is cut": {marker + "3", 3, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := number(tt.text); ok != tt.ok || ok && got != tt.want {
				t.Errorf("number = %d, %v, want %d, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// TestPhasesAddUp: no time between a message and its reply belongs to none, but
// the quiet and the model's.
func TestPhasesAddUp(t *testing.T) {
	at := time.Now()
	after := func(d time.Duration) time.Time { at = at.Add(d); return at }
	began := at
	l := life{
		wrote: began, acked: after(2 * time.Millisecond), claiming: after(quiet + 3*time.Millisecond), claimed: after(5 * time.Millisecond),
		asked: after(7 * time.Millisecond), answered: after(5*time.Second + 11*time.Millisecond), finishing: after(13 * time.Millisecond),
		finished: after(17 * time.Millisecond), sent: after(19 * time.Millisecond),
	}
	var sum time.Duration
	want := [...]time.Duration{2, 3, 5, 7, 11, 13, 17, 19}
	for i, d := range l.phases(5 * time.Second) {
		if d != want[i]*time.Millisecond {
			t.Errorf("%s took %v, want %d ms", phaseNames[i], d, want[i])
		}
		sum += d
	}
	if all := l.sent.Sub(began) - quiet - 5*time.Second; sum != all {
		t.Errorf("the phases are %v of %v", sum, all)
	}
}

// TestTapeTellsOfWhatFailed: a run that ends in anything but one reply is no run
// to measure, and nobody waits for it.
func TestTapeTellsOfWhatFailed(t *testing.T) {
	claim := gateway.Claim{Run: gateway.Run{ID: "run_1"}, Messages: []gateway.Message{{Text: words(0)}}}
	done := gateway.Run{ID: "run_1", Status: gateway.RunCompleted}
	tests := map[string]func(*tape){
		"a run that failed": func(x *tape) {
			x.finished(&gateway.Finish{Run: gateway.Run{ID: "run_1", Status: gateway.RunFailed}}, time.Now(), nil)
		},
		"a run without a reply":  func(x *tape) { x.finished(&gateway.Finish{Run: done}, time.Now(), nil) },
		"a reply that was not":   func(x *tape) { x.sent(&gateway.Send{OriginID: "run_1", State: gateway.SendRefused}) },
		"a message without both": func(x *tape) { x.finished(&gateway.Finish{Run: done, Sends: make([]gateway.Send, 1)}, time.Now(), nil) },
	}
	for name, happens := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTape(1)
			x.claimed(&claim, time.Now())
			happens(x)
			if err := x.wait(t.Context(), time.Millisecond); err == nil {
				t.Error("the tape tells of nothing")
			}
		})
	}
	x := newTape(1)
	x.claimed(&claim, time.Now())
	x.finished(&gateway.Finish{Run: done}, time.Now(), errors.New("away"))
	x.finished(&gateway.Finish{Run: done, Sends: make([]gateway.Send, 1)}, time.Now(), nil)
	x.sent(&gateway.Send{OriginID: "run_1", State: gateway.SendAccepted})
	if err := x.wait(t.Context(), time.Minute); err != nil || x.most != 1 || x.now != 0 {
		t.Errorf("a run that was finished in the second try and sent: %v, %d in hand of %d", err, x.now, x.most)
	}
}
