package actions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func action(i int, typ, payload string) Action {
	return Action{Type: typ, Payload: json.RawMessage(payload), Index: i}
}

func indexes(as []Action) []int {
	out := []int{}
	for _, a := range as {
		out = append(out, a.Index)
	}
	return out
}

func TestDispatchAllReportsWhatBecameOfEach(t *testing.T) {
	broken := errors.New("the printer is on fire")
	var did []string
	var r Registry
	r.Register("a.b.print", func(context.Context, Action) error { return broken })
	r.Register("a.b.note", func(_ context.Context, a Action) error {
		did = append(did, string(a.Payload))
		return nil
	})
	report, err := r.DispatchAll(t.Context(), []Action{
		action(0, "a.b.note", `{"n":0}`), action(1, "a.b.print", `{}`), action(2, "x.y.z", `{}`),
		action(3, "system.noop.skip", `{}`), action(4, "a.b.note", `{"n":4}`),
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "action 1 (a.b.print)") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(indexes(report.Done), []int{0, 4}) || !slices.Equal(indexes(report.Failed), []int{1}) || !slices.Equal(indexes(report.Unknown), []int{2}) {
		t.Errorf("report %+v", report)
	}
	if !slices.Equal(did, []string{`{"n":0}`, `{"n":4}`}) {
		t.Errorf("did %q", did)
	}
}

func TestAnUnknownTypeIsNoError(t *testing.T) {
	var r Registry
	if ok, err := r.Dispatch(t.Context(), action(0, "x.y.z", `{}`)); ok || err != nil {
		t.Errorf("Dispatch = %v, %v, want false", ok, err)
	}
	if report, err := r.DispatchAll(t.Context(), []Action{action(0, "x.y.z", `{}`)}); err != nil || len(report.Unknown) != 1 {
		t.Errorf("DispatchAll = %+v, %v", report, err)
	}
}

func TestNothingIsBegunAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := 0
	var r Registry
	r.Register("a.b.c", func(context.Context, Action) error {
		began++
		cancel()
		return nil
	})
	report, err := r.DispatchAll(ctx, []Action{action(0, "a.b.c", `{}`), action(1, "a.b.c", `{}`), action(2, "x.y.z", `{}`)})
	if began != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d handlers began, %v", began, err)
	}
	if !slices.Equal(indexes(report.Done), []int{0}) || !slices.Equal(indexes(report.Failed), []int{1}) || !slices.Equal(indexes(report.Unknown), []int{2}) {
		t.Errorf("report %+v", report)
	}
}

func TestASystemActionWithAHandlerIsDispatched(t *testing.T) {
	var r Registry
	r.Register("system.noop.skip", func(context.Context, Action) error { return nil })
	if report, err := r.DispatchAll(t.Context(), []Action{action(0, "system.noop.skip", `{}`)}); err != nil || len(report.Done) != 1 {
		t.Errorf("DispatchAll = %+v, %v", report, err)
	}
}

func TestTypedDecodesThePayload(t *testing.T) {
	type task struct {
		Room string `json:"room_number"`
	}
	var got []task
	h := Typed(func(_ context.Context, x task) error {
		got = append(got, x)
		return nil
	})
	if err := h(t.Context(), action(0, "a.b.c", `{"room_number":"204","more":1}`)); err != nil || len(got) != 1 || got[0].Room != "204" {
		t.Errorf("%v, %v", got, err)
	}
	if err := h(t.Context(), action(0, "a.b.c", `{"room_number":204}`)); err == nil || !strings.Contains(err.Error(), "decode payload") || len(got) != 1 {
		t.Errorf("a payload of another type: %v, %v", got, err)
	}
}

func TestALaterHandlerReplacesAnEarlierOne(t *testing.T) {
	var r Registry
	which := 0
	r.Register("b.b.b", func(context.Context, Action) error { which = 1; return nil })
	r.Register("b.b.b", func(context.Context, Action) error { which = 2; return nil })
	r.Register("a.a.a", func(context.Context, Action) error { return nil })
	if ok, err := r.Dispatch(t.Context(), action(0, "b.b.b", `{}`)); !ok || err != nil || which != 2 {
		t.Errorf("Dispatch = %v, %v, handler %d", ok, err, which)
	}
	if got := r.ActionTypes(); !slices.Equal(got, []string{"a.a.a", "b.b.b"}) || !r.IsRegistered("a.a.a") || r.IsRegistered("c.c.c") {
		t.Errorf("types %q", got)
	}
}

func TestANilHandlerPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a nil handler was registered")
		}
	}()
	(&Registry{}).Register("a.b.c", nil)
}
