package main

import (
	"context"
	"runtime"
	"sync"
	"time"
)

var rows = []row{
	{"yield", "2 fibers", "ns", yield},
	{"spawn", "group enter, spawn, wait", "ns", func() float64 { return spawn(1, 50000) }},
	{"spawn", "per fiber, 64 in one group", "ns", func() float64 { return spawn(64, 1500) }},
	{"chan", "unbuffered round trip", "ns", func() float64 { return roundTrip(100000, anyThread) }},
	{"chan", "buffered send and recv", "ns", fillAndDrain},
	{"chan", "buffered, two fibers", "ns", func() float64 { return pipeline(64, 500000, anyThread) }},
	{"mutex", "lock and unlock", "ns", uncontended},
	{"mutex", "contended, 2 fibers", "ns", contended},
	{"select", "4 channels", "ns", selectOfFour},
	{"gen", "next", "ns", generator},
	{"timeout", "scope with a deadline", "ns", deadline},
}

// Nothing says where a goroutine runs: with two cores to take, what can go on both may still stay on one, as
// pairs on a channel mostly do. The rows "from thread to thread" lock each goroutine to a thread of its own,
// so that what is handed over goes where torc's rows take it, from one core to another.
var crossRows = []row{
	{"cross", "buffered channel, M items/s", "M/s", func() float64 { return 1e3 / pipeline(1024, 500000, anyThread) }},
	{"cross", "buffered channel, M items/s, from thread to thread", "M/s",
		func() float64 { return 1e3 / pipeline(1024, 200000, ownThread) }},
	{"cross", "unbuffered round trip", "ns", func() float64 { return roundTrip(100000, anyThread) }},
	{"cross", "unbuffered round trip, from thread to thread", "ns",
		func() float64 { return roundTrip(2000, ownThread) }},
	{"cross", "spawn and wait, bursts of 1000", "ns", func() float64 { return spawn(1000, 100) }},
}

// anyThread leaves a goroutine to the scheduler; ownThread ties the calling one to its thread until it ends.
func anyThread() {}

func ownThread() { runtime.LockOSThread() }

// inTwo runs two functions in a goroutine each and waits for both.
func inTwo(a, b func()) {
	var wg sync.WaitGroup

	wg.Add(2)
	go func() { defer wg.Done(); a() }()
	go func() { defer wg.Done(); b() }()
	wg.Wait()
}

func yield() float64 {
	const n = 400000
	each := func() {
		for i := 0; i < n; i++ {
			runtime.Gosched()
		}
	}
	return perPiece(2*n, func() { inTwo(each, each) })
}

func spawn(count, rounds int) float64 {
	return perPiece(count*rounds, func() {
		for i := 0; i < rounds; i++ {
			var wg sync.WaitGroup

			wg.Add(count)
			for n := 0; n < count; n++ {
				go wg.Done()
			}
			wg.Wait()
		}
	})
}

func roundTrip(n int, thread func()) float64 {
	ping, pong := make(chan int), make(chan int)
	var ns float64

	inTwo(func() {
		thread()
		for v := range ping {
			pong <- v
		}
	}, func() {
		thread()
		ns = perPiece(n, func() {
			for i := 0; i < n; i++ {
				ping <- i
				<-pong
			}
		})
		close(ping)
	})
	return ns
}

func fillAndDrain() float64 {
	const capacity, rounds = 64, 20000
	c := make(chan int, capacity)

	return perPiece(capacity*rounds, func() {
		for i := 0; i < rounds; i++ {
			for n := 0; n < capacity; n++ {
				c <- n
			}
			for n := 0; n < capacity; n++ {
				<-c
			}
		}
	})
}

func pipeline(capacity, n int, thread func()) float64 {
	c := make(chan int, capacity)

	return perPiece(n, func() {
		inTwo(func() {
			thread()
			for i := 0; i < n; i++ {
				c <- i
			}
			close(c)
		}, func() {
			thread()
			for range c {
			}
		})
	})
}

func uncontended() float64 {
	const n = 2000000
	var mu sync.Mutex

	return perPiece(n, func() {
		for i := 0; i < n; i++ {
			mu.Lock()
			mu.Unlock()
		}
	})
}

func contended() float64 {
	const n = 100000
	var mu sync.Mutex
	each := func() {
		for i := 0; i < n; i++ {
			mu.Lock()
			runtime.Gosched()
			mu.Unlock()
		}
	}
	return perPiece(2*n, func() { inTwo(each, each) })
}

// The channels are unbuffered: each item is one that the select waited for, or that waited for it.
func selectOfFour() float64 {
	const n = 200000
	var c [4]chan int

	for i := range c {
		c[i] = make(chan int)
	}
	return perPiece(n, func() {
		inTwo(func() {
			for i := 0; i < n; i++ {
				c[i%4] <- i
			}
		}, func() {
			for i := 0; i < n; i++ {
				select {
				case <-c[0]:
				case <-c[1]:
				case <-c[2]:
				case <-c[3]:
				}
			}
		})
	})
}

// Go 1.19 has no generators: this is what stands for one, a goroutine behind an unbuffered channel.
func generator() float64 {
	const n = 200000
	next := make(chan int)

	go func() {
		for i := 0; i < n; i++ {
			next <- i
		}
		close(next)
	}()
	return perPiece(n, func() {
		for range next {
		}
	})
}

func deadline() float64 {
	const n = 50000

	return perPiece(n, func() {
		for i := 0; i < n; i++ {
			_, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			cancel()
		}
	})
}
