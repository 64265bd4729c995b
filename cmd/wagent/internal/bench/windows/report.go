package windows

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A Report is what a Bench measured.
type Report struct {
	Server Server `json:"server"`
	CPUs   int    `json:"cpus"` // of the machine of this process
	Shards int    `json:"shards"`
	Adds   []Adds `json:"adds"`
	Late   []Late `json:"lateness"`
	Life   Life   `json:"life"`
	Burst  Burst  `json:"burst"`
}

// A Server is the Redis that was measured with.
type Server struct {
	Version string  `json:"version"`
	AOF     string  `json:"aof"`            // its appendfsync; on: it does not tell; off: it has no such file
	Ahead   float64 `json:"clock_ahead_ms"` // of ours, where that is more than a round trip
}

// Quiet says what disturbed a measurement.
type Quiet struct {
	Rewrites int64    `json:"rewrites"`     // of the append-only file, and snapshots
	Others   *float64 `json:"others_cores"` // processor cores that other programs of this machine took; nil: not known
}

// Adds are Adds by so many callers at once, beside the ceiling. Rates are the
// median of the rounds, a second.
type Adds struct {
	Callers   int     `json:"callers"`
	PerSecond float64 `json:"per_second"`
	Ratio     float64 `json:"of_ceiling"` // of the higher of the two below, in the middle one of the rounds
	Alone     float64 `json:"ceiling_alone_per_second"`
	Pipelined float64 `json:"ceiling_pipelined_per_second"` // 0: Adds go alone
	Trips     float64 `json:"round_trips_per_add"`
	Together  float64 `json:"adds_per_round_trip"`
	Pipelines int     `json:"pipelines"` // round trips at once, at most
	Tool      Tool    `json:"redis_benchmark"`
	Quiet
}

// A Tool is redis-benchmark with the same command in the same two shapes.
type Tool struct {
	PerSecond float64 `json:"alone_per_second"`
	Pipelined float64 `json:"pipelined_per_second"` // 0: Adds go alone
	Why       string  `json:"why_not,omitempty"`    // it did not run
}

// Quantiles are of lateness: from when Redis says that a window is due to the
// call of its handler.
type Quantiles struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

// Late is how late windows come that wait at the same time.
type Late struct {
	Pending int `json:"pending"`
	Quantiles
	Ping       Quantiles `json:"ping"` // how long this Redis took to answer this process meanwhile
	Background float64   `json:"background_adds_per_second"`
	Quiet
}

// A Life is what a window of three items costs from its first Add to its end,
// with nothing else at work. CPU is for 1,000 windows.
type Life struct {
	Windows  int     `json:"windows"`
	Scripts  float64 `json:"scripts_per_window"`  // that is what is sent: all else is in them
	Commands float64 `json:"commands_per_window"` // in those scripts
	Redis    float64 `json:"redis_cpu_ms"`
	Client   float64 `json:"client_cpu_ms"`
	Quantiles
	Quiet
}

// A Burst is windows of three items that are due in the same instant.
type Burst struct {
	Windows int     `json:"windows"`
	Memory  float64 `json:"memory_per_window"` // bytes of Redis, while they wait
	Within  float64 `json:"due_within_ms"`     // as far as that instant could be met
	Seconds float64 `json:"drained_s"`         // from the first one's time until Redis knew that all were handled
	Quantiles
	Script float64 `json:"mean_script_ms"`
	Slow   *Slow   `json:"slow"` // nil: the server does not let that be set
	Quiet
}

// Slow is what Redis's slow log says of scripts. It measures time that passed,
// also where the processor was another's.
type Slow struct {
	Over    int     `json:"over_2ms"` // at most 1,000 are counted
	Slowest float64 `json:"slowest_ms"`
}

// quantiles reads sorted durations; without any all are 0.
func quantiles(late []time.Duration) Quantiles {
	if len(late) == 0 {
		return Quantiles{}
	}
	at := func(q float64) float64 { return milliseconds(late[int(q*float64(len(late)-1))]) }
	return Quantiles{P50: at(.5), P99: at(.99), P999: at(.999), Max: at(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Redis %s, appendfsync %s; %d processors, %d shards\n", r.Server.Version, r.Server.AOF, r.CPUs, r.Shards)
	if r.Server.Ahead != 0 {
		fmt.Fprintf(w, "Redis's clock is %.3f ms ahead of ours, which is taken off\n", r.Server.Ahead)
	}
	fmt.Fprintln(w, "Others is what other programs took of the processors meanwhile")
	r.printAdds(w)
	fmt.Fprintln(w, "\nLateness of windows of three items, ms")
	fmt.Fprintln(w, "waiting\tp50\tp99\tp99.9\tmax\tPING p50\tp99\tp99.9\tAdds/s beside\tothers")
	for _, l := range r.Late {
		fmt.Fprintf(w, "%d\t%v\t%.2f\t%.2f\t%.2f\t%.0f\t%v\n", l.Pending, l.Quantiles, l.Ping.P50, l.Ping.P99, l.Ping.P999, l.Background, l.Quiet)
	}
	l, b := r.Life, r.Burst
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	fmt.Fprintf(w, "\nThe life of %d windows of three Adds, nothing beside; others: %v\n", l.Windows, l.Quiet)
	row("scripts per window", "%.2f, three of them Adds; nothing else is sent", l.Scripts)
	row("commands per window", "%.1f in those scripts", l.Commands)
	row("CPU per 1,000 windows", "%.0f ms of Redis, %.0f ms of the client", l.Redis, l.Client)
	row("lateness, ms", "p50 %.2f, p99 %.2f, p99.9 %.2f", l.P50, l.P99, l.P999)
	fmt.Fprintf(w, "\n%d windows of three items of 40 bytes, due within %.0f ms; others: %v\n", b.Windows, b.Within, b.Quiet)
	row("memory per window", "%.0f bytes of Redis", b.Memory)
	row("drained in", "%.2f s, %.0f windows/s", b.Seconds, float64(b.Windows)/b.Seconds)
	row("lateness, ms", "p50 %.0f, p99 %.0f", b.P50, b.P99)
	row("mean script", "%.2f ms", b.Script)
	if b.Slow == nil {
		row("slow scripts", "not known: this Redis does not let its slow log be set")
	} else {
		row("slow scripts", "%d over 2 ms, the slowest %.1f ms", b.Slow.Over, b.Slow.Slowest)
	}
	return w.Flush()
}

func (r *Report) printAdds(w io.Writer) {
	fmt.Fprintln(w, "\nAdds a second of items of 40 bytes, three to a window")
	fmt.Fprintln(w, "callers\tAdds\tof the ceiling\tceiling, alone\tceiling, pipelined\tAdds a trip\tredis-benchmark\tpipelined\tothers")
	for _, a := range r.Adds {
		pipelined, tool, together := "-", fmt.Sprintf("%.0f", a.Tool.PerSecond), "-"
		if a.Pipelined > 0 {
			pipelined = fmt.Sprintf("%.0f (%d x %.0f)", a.Pipelined, a.Pipelines, a.Together)
			together = fmt.Sprintf("%.0f", a.Tool.Pipelined)
		}
		if a.Tool.Why != "" {
			tool, together = a.Tool.Why, "-"
		}
		fmt.Fprintf(w, "%d\t%.0f\t%.0f %%\t%.0f\t%s\t%.1f\t%s\t%s\t%v\n",
			a.Callers, a.PerSecond, 100*a.Ratio, a.Alone, pipelined, a.Together, tool, together, a.Quiet)
	}
}

// String shows the quantiles as cells of a table.
func (q Quantiles) String() string {
	return fmt.Sprintf("%.2f\t%.2f\t%.2f\t%.2f", q.P50, q.P99, q.P999, q.Max)
}

// String says what disturbed.
func (q Quiet) String() string {
	switch {
	case q.Others == nil:
		return fmt.Sprintf("%d rewrites", q.Rewrites)
	case q.Rewrites == 0:
		return fmt.Sprintf("%.2f cores", *q.Others)
	default:
		return fmt.Sprintf("%.2f cores, %d rewrites", *q.Others, q.Rewrites)
	}
}
