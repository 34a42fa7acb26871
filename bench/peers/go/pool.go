package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

// The rows of torc's executor, with --pool. Go has no pool: its scheduler is one, with a work-stealing queue
// for each of GOMAXPROCS threads, and a goroutine is the task. Some programs feed a few goroutines through a
// channel all the same. What has several ways is measured in each, and the better one is the row.
//
// What differs from torc besides what main.go says, and cannot be made equal:
//
//   - Who submits is a goroutine and shares the two threads with the workers: what it hands over mostly stays
//     on its own. "from a locked thread" is tied to a thread that nothing else runs on.
//   - A task is a goroutine or an item of a channel; an answer is a channel or a place that a WaitGroup guards.
//   - A blocking system call holds a thread of the kernel, and the scheduler starts another for the goroutines
//     that are ready, once it has noticed.

const (
	workers    = 2
	trips      = 20000
	batch      = 1000
	batches    = 200
	items      = 1000000
	passes     = 20
	children   = 10
	leaves     = 1000000
	leavesSum  = 499999500000
	fibOf      = 32
	fibIs      = 2178309
	sleeps     = 10000
	sleepers   = 512
	repeatsFor = time.Second // a slow row is repeated less: no repeat begins after so much time
)

func check(right bool, what string) {
	if !right {
		fmt.Fprintln(os.Stderr, "wrong result:", what)
		os.Exit(1)
	}
}

// repeated measures once to warm up, then repeats times.
func repeated(measure func()) {
	start := time.Now()

	measure()
	measure()
	for i := 1; i < repeats && time.Since(start) < repeatsFor; i++ {
		measure()
	}
}

// middle leaves out the first value, that of the warm-up.
func middle(values []float64) float64 {
	values = values[1:]
	n := len(values)
	sort.Float64s(values)
	return (values[n/2] + values[(n-1)/2]) / 2
}

func medianOf(measure func() float64) float64 {
	var values []float64

	repeated(func() { values = append(values, measure()) })
	return middle(values)
}

func medianMs(work func()) float64 {
	return medianOf(func() float64 { return perPiece(1e6, work) })
}

// ---- submit ----

// A task is what a pool is asked for: a function and where its result goes.
type task struct {
	run    func(int) int
	arg    int
	answer chan int
	result *int
	done   *sync.WaitGroup
}

func number(i int) int { return i }

func worker(tasks <-chan task) {
	for t := range tasks {
		if t.answer != nil {
			t.answer <- t.run(t.arg)
			continue
		}
		*t.result = t.run(t.arg)
		t.done.Done()
	}
}

func startPool() chan task {
	tasks := make(chan task, batch)

	for i := 0; i < workers; i++ {
		go worker(tasks)
	}
	return tasks
}

func reportTrips(way string, trip func() int) {
	var p50, p99 []float64
	ns := make([]float64, trips)

	repeated(func() {
		for i := range ns {
			ns[i] = perPiece(1, func() { check(trip() == 1, "round trip") })
		}
		sort.Float64s(ns)
		p50 = append(p50, ns[trips/2])
		p99 = append(p99, ns[trips*99/100])
	})
	printRow("submit", "round trip"+way+", p50", "ns", middle(p50))
	printRow("submit", "round trip"+way+", p99", "ns", middle(p99))
}

// A channel can be read once by whoever has it: each task has one of its own.
func tripThroughPool(tasks chan<- task) int {
	answer := make(chan int, 1)

	tasks <- task{run: number, arg: 1, answer: answer}
	return <-answer
}

func tripOfGoroutine() int {
	answer := make(chan int, 1)

	go func() { answer <- number(1) }()
	return <-answer
}

// batchesRate returns millions of tasks a second; each submits one task, which stores its number.
func batchesRate(submit func(i int, result *int, done *sync.WaitGroup)) float64 {
	var results [batch]int

	return medianOf(func() float64 {
		return 1e3 / perPiece(batch*batches, func() {
			for n := 0; n < batches; n++ {
				var done sync.WaitGroup

				done.Add(batch)
				for i := range results {
					results[i] = -1
					submit(i, &results[i], &done)
				}
				done.Wait()
				for i, v := range results {
					check(v == i, "batches of 1000")
				}
			}
		})
	})
}

func submitRows(tasks chan<- task) {
	reportTrips("", func() int { return tripThroughPool(tasks) })
	reportTrips(", a goroutine each", tripOfGoroutine)
	inTwo(func() {
		ownThread()
		reportTrips(", from a locked thread", func() int { return tripThroughPool(tasks) })
	}, anyThread)

	each := batchesRate(func(i int, result *int, done *sync.WaitGroup) {
		go func() {
			*result = number(i)
			done.Done()
		}()
	})
	through := batchesRate(func(i int, result *int, done *sync.WaitGroup) {
		tasks <- task{run: number, arg: i, result: result, done: done}
	})
	best := each
	if through > best {
		best = through
	}
	printRow("submit", "batches of 1000", "M/s", best)
	printRow("submit", "batches of 1000, a goroutine each", "M/s", each)
	printRow("submit", "batches of 1000, through a channel", "M/s", through)
}

// ---- fork ----

// A channel for each fork: a WaitGroup and a place for the result took as long or longer.
func fib(n int) int {
	if n < 2 {
		return n
	}
	a := make(chan int, 1)
	go func() { a <- fib(n - 1) }()
	b := fib(n - 2)
	return <-a + b
}

func skynet(first, size int) int {
	if size == 1 {
		return first
	}
	sums := make(chan int, children)
	for i := 0; i < children; i++ {
		go func(first int) { sums <- skynet(first, size/children) }(first + i*(size/children))
	}
	sum := 0
	for i := 0; i < children; i++ {
		sum += <-sums
	}
	return sum
}

func forkRows() {
	printRow("fork", "fib(32)", "ms", medianMs(func() { check(fib(fibOf) == fibIs, "fib(32)") }))
	printRow("fork", "skynet, 10^6 leaves", "ms",
		medianMs(func() { check(skynet(0, leaves) == leavesSum, "skynet") }))
}

// ---- map ----

// An item is a call, as in the other languages.
//
//go:noinline
func square(x uint32) uint32 { return x * x }

func mapRow() {
	in, out := make([]uint32, items), make([]uint32, items)

	for i := range in {
		in[i] = uint32(i)
	}
	half := func(from, to int) func() {
		return func() {
			for i, x := range in[from:to] {
				out[from+i] = square(x)
			}
		}
	}
	printRow("map", "10^6 small items", "ns", medianOf(func() float64 {
		return perPiece(items*passes, func() {
			for i := 0; i < passes; i++ {
				inTwo(half(0, items/2), half(items/2, items))
			}
		})
	}))
	for i, x := range out {
		check(x == uint32(i)*uint32(i), "10^6 small items")
	}
}

// ---- offload ----

// The system call itself: time.Sleep would only park the goroutine.
func sleepBlocking() {
	ms := syscall.Timespec{Nsec: 1000000}

	check(syscall.Nanosleep(&ms, nil) == nil, "nanosleep")
}

func offloadRow() {
	printRow("offload", "10000 sleeps of 1 ms", "ms", medianMs(func() {
		var done sync.WaitGroup
		free := make(chan struct{}, sleepers)

		done.Add(sleeps)
		for i := 0; i < sleeps; i++ {
			free <- struct{}{}
			go func() {
				sleepBlocking()
				<-free
				done.Done()
			}()
		}
		done.Wait()
	}))
}

func poolRows() {
	runtime.GOMAXPROCS(workers)
	submitRows(startPool())
	forkRows()
	mapRow()
	offloadRow()
}
