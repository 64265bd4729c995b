package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// A Check asks a dependency whether it can be worked with. It must heed its
// context.
type Check func(ctx context.Context) error

// checkTimeout is shorter than what load balancers wait for.
const checkTimeout = 2 * time.Second

// healthz says that the process is alive, whatever it depends on: restarting
// it would not mend a database.
func healthz(c echo.Context) error { return c.String(http.StatusOK, "ok") }

type notReadyBody struct {
	Error   string              `json:"error"`
	Details map[string][]string `json:"details"`
}

// readyz says whether every dependency answers, or which do not.
func readyz(checks map[string]Check, log *slog.Logger) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
		defer cancel()
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			away = map[string][]string{}
		)
		for name, check := range checks {
			wg.Go(func() {
				if err := check(ctx); err != nil {
					log.WarnContext(ctx, "dependency is away", "dependency", name, "err", err)
					mu.Lock()
					defer mu.Unlock()
					away[name] = []string{"does not answer"}
				}
			})
		}
		wg.Wait()
		if len(away) > 0 {
			return c.JSON(http.StatusServiceUnavailable, notReadyBody{Error: "Not ready", Details: away})
		}
		return c.String(http.StatusOK, "ok")
	}
}
