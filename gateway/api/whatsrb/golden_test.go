package whatsrb

import (
	"testing"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEcho(m *memory) *echo.Echo { return wiretest.Echo(m.api().Mount) }

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.api().Mount, func(command string) bool {
			switch command {
			case "complete":
				m.complete(false)
			case "complete, to be confirmed":
				m.complete(true)
			case "fail":
				m.fail()
			case "nobody decides in time":
				m.expire()
			case "a customer writes":
				m.arrive()
			case "the last action was answered":
				m.answered()
			case "routed":
				m.route()
			case "declare":
				m.declare()
			case "acc_main is deleted":
				m.deleted = "acc_main"
			default:
				return false
			}
			return true
		}
	})
}
