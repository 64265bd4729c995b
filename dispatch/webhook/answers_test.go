package webhook

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
)

// action is a delivery of an action.
func action(id gateway.DeliveryID) gateway.Delivery {
	d := testDelivery()
	d.ID, d.Event, d.Action = id, gateway.EventAction, 0
	return d
}

func TestWhatAnEndpointAnswersIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		event := testDelivery()
		event.ID = "del_event" // an answer to it means nothing
		m := newMemory(testHook(), action("del_1"), event)
		m.answerErrs, m.settleErrs = 2, 2 // what was kept is not kept again
		var hits, woken atomic.Int32
		r := serve(t, m, func(cfg *Config) { cfg.Replied = func() { woken.Add(1) } }, func(w http.ResponseWriter, _ *http.Request) {
			hits.Add(1)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"result":{"ticket":7},"reply":"It comes."}`)
		})
		time.Sleep(time.Minute)
		if hits.Load() != 2 {
			t.Errorf("the endpoint was asked %d times: what it took is not sent again while the database is away", hits.Load())
		}
		kept := m.answered()
		if len(kept) != 1 || string(kept[0].Result) != `{"ticket":7}` || kept[0].Reply != "It comes." || kept[0].Webhook != 1 || woken.Load() != 1 {
			t.Errorf("kept are %+v, the outbox was woken %d times", kept, woken.Load())
		}
		for part, want := range map[string]float64{answerResult: 1, answerReply: 1, answerIgnored: 0} {
			if got := testutil.ToFloat64(r.metrics.answers.WithLabelValues(part)); got != want {
				t.Errorf("%s counts %v, want %v", part, got, want)
			}
		}
	})
}

func TestARefusalSaysNothing(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusFound} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(testHook(), action("del_1"))
			serve(t, m, calmly, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{"result":1,"reply":"no"}`)
			})
			time.Sleep(time.Second / 2)
			if kept := m.answered(); len(kept) != 0 || len(m.all()) == 0 {
				t.Errorf("%d: kept are %+v after %d attempts", status, kept, len(m.all()))
			}
		})
	}
}

func TestALongAnswerIsNoAnswer(t *testing.T) {
	for size, want := range map[int]int{60 << 10: 1, 64<<10 + 1: 0, 1 << 20: 0} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(testHook(), action("del_1"))
			serve(t, m, calmly, func(w http.ResponseWriter, _ *http.Request) {
				start := `{"result":1,"more":"`
				_, _ = fmt.Fprint(w, start, strings.Repeat("x", size-len(start)-2), `"}`)
			})
			time.Sleep(time.Second / 2)
			if d, kept := m.delivery("del_1"), m.answered(); len(kept) != want || d.State != gateway.DeliverySucceeded {
				t.Errorf("%d bytes: kept are %+v, the delivery %s", size, kept, d.State)
			}
		})
	}
}

func TestATestIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDelivery()
		d.Event, d.Run = gateway.EventTest, ""
		m := newMemory(testHook(), d)
		serve(t, m, calmly, answers(http.StatusInternalServerError))
		time.Sleep(time.Hour)
		if got := m.delivery(d.ID); got.State != gateway.DeliveryDead || len(m.all()) != 1 {
			t.Errorf("it is %s after %d attempts", got.State, len(m.all()))
		}
	})
}
