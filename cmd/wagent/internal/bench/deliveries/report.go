package deliveries

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A Report is what a Bench measured.
type Report struct {
	Database   string       `json:"database"`
	CPUs       int          `json:"cpus"`
	Deliveries int          `json:"deliveries"` // of each throughput
	PerCommit  int          `json:"deliveries_per_commit"`
	Throughput []Throughput `json:"throughput"`
	Rate       int          `json:"rate"` // a second, of the latencies
	Latency    []Latency    `json:"latency"`
	Backlog    *Backlog     `json:"backlog"` // nil: not measured
}

// A Throughput is how many deliveries a second there are, from the first commit to the
// record of the last 2xx.
type Throughput struct {
	Endpoints int     `json:"endpoints"`
	PerSecond float64 `json:"per_second"`
	Bare      float64 `json:"bare_loop_per_second"`
	OfBare    float64 `json:"of_bare_loop"`
	Loops     float64 `json:"bare_loops_at_once_per_second"` // 64 of them
	OfLoops   float64 `json:"of_bare_loops_at_once"`
	Committed float64 `json:"committed_per_second"` // which ended before
	Own       float64 `json:"own_cpu_ms"`           // of this process, the receiver with it, for each
	All       float64 `json:"machine_cpu_ms"`       // of the whole machine
	Twice     int     `json:"arrived_twice"`
}

// Quantiles are of how long it took from a delivery's commit until the receiver had it.
type Quantiles struct {
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

// A Latency is how long deliveries took at the rate.
type Latency struct {
	Name string `json:"name"`
	Quantiles
}

// A Backlog is how long single deliveries took, before and beside a backlog.
type Backlog struct {
	Pending int       `json:"pending"`
	Before  Quantiles `json:"before"`
	Beside  Quantiles `json:"beside"`
	Plan    []string  `json:"plan"` // of what is due to an endpoint that has nothing
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s, %d processors; %d deliveries, %d a commit\n\n", r.Database, r.CPUs, r.Deliveries, r.PerCommit)
	fmt.Fprintln(w, "endpoints\tdeliveries/s\tbare loop/s\tof it\t64 loops/s\tof them\tcommitted/s\town CPU\tmachine's CPU\ttwice")
	for _, t := range r.Throughput {
		fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.0f %%\t%.0f\t%.0f %%\t%.0f\t%.3f ms\t%.3f ms\t%d\n", t.Endpoints, t.PerSecond, t.Bare, 100*t.OfBare, t.Loops, 100*t.OfLoops, t.Committed, t.Own, t.All, t.Twice)
	}
	fmt.Fprintf(w, "\ncommit to arrival\tp50\tp99\tp99.9\tmax\n")
	row := func(name string, q Quantiles) {
		fmt.Fprintf(w, "%s\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\n", name, q.P50, q.P99, q.P999, q.Max)
	}
	for _, l := range r.Latency {
		row(fmt.Sprintf("%d/s, %s", r.Rate, l.Name), l.Quantiles)
	}
	if b := r.Backlog; b != nil {
		row(fmt.Sprintf("%d/s alone", single), b.Before)
		row(fmt.Sprintf("beside %d that are pending", b.Pending), b.Beside)
		fmt.Fprintln(w, "\nplan of what is due to an endpoint")
		for _, step := range b.Plan {
			fmt.Fprintln(w, step)
		}
	}
	return w.Flush()
}
