package api

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A Report is what a Bench measured. Times are in milliseconds.
type Report struct {
	PostgreSQL string  `json:"postgresql"` // version
	CPUs       int     `json:"cpus"`       // of the machine of this process
	Agents     int     `json:"agents"`
	Runs       int     `json:"runs"`
	Rate       int     `json:"calls_per_second"`
	Seconds    float64 `json:"seconds"`
	ListBytes  int     `json:"list_bytes"` // of the answer that lists all agents
	Calls      []Call  `json:"calls"`
}

// A Call is what calls of one kind took.
type Call struct {
	Name string  `json:"name"`
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

func newCall(name string, took []time.Duration) Call {
	c := Call{Name: name, N: len(took)}
	if len(took) == 0 {
		return c
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	c.P50, c.P99, c.P999, c.Max = at(.5), at(.99), at(.999), at(1)
	return c
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "PostgreSQL %s; %d processors\n", r.PostgreSQL, r.CPUs)
	fmt.Fprintf(w, "%d agents, whose list has %d kB, and %d runs; %d calls/s for %.0f s\n\n", r.Agents, r.ListBytes/1000, r.Runs, r.Rate, r.Seconds)
	fmt.Fprintln(w, "call, ms\tn\tp50\tp99\tp99.9\tmax")
	for _, c := range r.Calls {
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\n", c.Name, c.N, c.P50, c.P99, c.P999, c.Max)
	}
	return w.Flush()
}
