package runs

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A Report is what a Bench measured. Times are in milliseconds.
type Report struct {
	PostgreSQL    string    `json:"postgresql"` // versions
	Redis         string    `json:"redis"`
	CPUs          int       `json:"cpus"` // of the machine of this process
	Rate          int       `json:"messages_per_second"`
	Latency       float64   `json:"model_latency_ms"`
	Concurrent    int       `json:"concurrent"`
	Conversations int       `json:"conversations"`
	Accounts      int       `json:"accounts"`
	Runs          int       `json:"runs"` // that were measured
	PerSecond     float64   `json:"runs_per_second"`
	InHand        int       `json:"runs_in_hand"` // at once, at most
	Overhead      Quantiles `json:"overhead"`
	Phases        []Phase   `json:"phases"`
	Spent         Spent     `json:"spent"`
}

// Quantiles are of times.
type Quantiles struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

// A Phase is a part of the overhead. The quantiles of phases do not add up; the
// phases of each run do.
type Phase struct {
	Name string `json:"name"`
	Quantiles
}

// Spent is what a run cost while messages came at the rate. Times are of
// processors.
type Spent struct {
	Own          float64  `json:"wagent_cpu_ms"`
	PostgreSQL   *float64 `json:"postgresql_cpu_ms"` // nil: it is not of this machine
	Redis        float64  `json:"redis_cpu_ms"`
	Provider     float64  `json:"provider_cpu_ms"` // the model's double
	Transactions float64  `json:"transactions"`
	Statements   *float64 `json:"statements"` // nil: the database does not count them, which the extension pg_stat_statements does
	Commands     float64  `json:"redis_commands"`
	Seconds      float64  `json:"seconds"`
	Others       *float64 `json:"others_cores"` // processor cores that other programs took; nil: not known
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	s := &r.Spent
	fmt.Fprintf(w, "PostgreSQL %s, Redis %s; %d processors\n", r.PostgreSQL, r.Redis, r.CPUs)
	fmt.Fprintf(w, "%d messages/s of %d conversations on %d accounts, a model that takes %.0f ms\n\n", r.Rate, r.Conversations, r.Accounts, r.Latency)
	row("runs", "%d in %.0f s, %.1f a second", r.Runs, s.Seconds, r.PerSecond)
	row("in hand", "%d at once, of %d that may be", r.InHand, r.Concurrent)
	row("others", "%s", optional(s.Others, "%.2f cores"))
	fmt.Fprintln(w, "\nOverhead of a run, ms: all but the window's quiet and the model")
	fmt.Fprintln(w, "phase\tp50\tp99\tp99.9\tmax")
	for _, p := range r.Phases {
		fmt.Fprintf(w, "%s\t%v\n", p.Name, p.Quantiles)
	}
	fmt.Fprintf(w, "all\t%v\n", r.Overhead)
	fmt.Fprintln(w, "\nWhat a run cost")
	row("CPU, ms", "%.2f of wagent, %s of PostgreSQL, %.2f of Redis, %.2f of the model's double", s.Own, optional(s.PostgreSQL, "%.2f"), s.Redis, s.Provider)
	row("SQL", "%.1f transactions, %s statements", s.Transactions, optional(s.Statements, "%.1f"))
	row("Redis", "%.1f commands", s.Commands)
	return w.Flush()
}

func optional(f *float64, format string) string {
	if f == nil {
		return "unknown"
	}
	return fmt.Sprintf(format, *f)
}

// String shows the quantiles as cells of a table.
func (q Quantiles) String() string {
	return fmt.Sprintf("%.2f\t%.2f\t%.2f\t%.2f", q.P50, q.P99, q.P999, q.Max)
}
