// bench-go - the rows of torc-bench, in Go. bench/peers/run joins them by bench and metric.
//
// Each row is what a Go programmer would write for it, with nothing but the standard library. What
// differs from torc, and cannot be made equal:
//
//   - A goroutine may be moved to another core between any two instructions; torc's fibers stay on their
//     loop. With GOMAXPROCS=2 each row is left to the scheduler: it runs a pair on one core or on two,
//     but for the rows "from thread to thread".
//   - Stacks grow, so goroutines are started with 2 KiB; memory is collected, and that is part of the
//     figures, as it is of a program's.
//   - sync.WaitGroup carries no error and cancels nobody; torc's groups do.
//   - There is no yield to a certain goroutine: Gosched goes through the global queue.
//
// With --cores 1 GOMAXPROCS is 1, else 2. Rows of the bench "cross" are measured on two only. With --pool the
// rows are those of torc's executor instead, see pool.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"time"
)

const repeats = 7

// A row measures once and returns what one piece of its work took, or how many millions it did a second.
type row struct {
	bench, metric, unit string
	measure             func() float64
}

// perPiece times work, which does n pieces, in nanoseconds each.
func perPiece(n int, work func()) float64 {
	start := time.Now()
	work()
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// median measures once to warm up, then repeats times, as torc-bench does.
func median(measure func() float64) float64 {
	values := make([]float64, repeats)

	measure()
	for i := range values {
		values[i] = measure()
	}
	sort.Float64s(values)
	return values[repeats/2]
}

func printRow(bench, metric, unit string, value float64) {
	fmt.Printf("{\"bench\":\"%s\",\"metric\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", bench, metric, value, unit)
}

func report(r row) {
	printRow(r.bench, r.metric, r.unit, median(r.measure))
}

func usage() {
	fmt.Println("Usage: bench-go [--cores 1|2 | --pool]\n" +
		"Measure Go beside torc-bench: one JSON object per line.")
}

func main() {
	flags := flag.NewFlagSet("bench-go", flag.ContinueOnError)
	flags.Usage = func() {}
	flags.SetOutput(os.Stderr)
	cores := flags.Int("cores", 1, "")
	pool := flags.Bool("pool", false, "")

	err := flags.Parse(os.Args[1:])
	if err == flag.ErrHelp {
		usage()
		return
	}
	if err != nil || flags.NArg() > 0 || *cores < 1 || *cores > 2 {
		fmt.Fprintln(os.Stderr, "bench-go: wrong arguments; try --help")
		os.Exit(2)
	}

	if *pool {
		poolRows()
		return
	}
	runtime.GOMAXPROCS(*cores)
	for _, r := range rows {
		report(r)
	}
	if *cores == 2 {
		for _, r := range crossRows {
			report(r)
		}
	}
}
