// bench-go-client - GET one URL over and over: so many goroutines at once, through one client of net/http.
//
//	bench-go-client URL CONCURRENT SECONDS
//
// One line, as bench-http-client prints it.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func cpuSeconds() float64 {
	var u syscall.Rusage

	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func ask(client *http.Client, url string) bool {
	res, err := client.Get(url)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return err == nil && res.StatusCode == 200
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: bench-go-client URL CONCURRENT SECONDS")
		os.Exit(2)
	}
	url := os.Args[1]
	concurrent, _ := strconv.Atoi(os.Args[2])
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConns:        concurrent,
		MaxIdleConnsPerHost: concurrent,
		MaxConnsPerHost:     concurrent,
	}}
	var all sync.WaitGroup
	requests := make([]uint64, concurrent)
	failures := make([]uint64, concurrent)
	cpu := cpuSeconds()
	end := time.Now().Add(time.Duration(seconds * 1e9))

	for i := 0; i < concurrent; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for time.Now().Before(end) {
				if !ask(client, url) {
					failures[i]++
				}
				requests[i]++
			}
		}(i)
	}
	all.Wait()
	cpu = cpuSeconds() - cpu
	var n, failed uint64
	for i := range requests {
		n += requests[i]
		failed += failures[i]
	}
	fmt.Printf("%d requests, %.0f per second, %.2f us of CPU each, %d failures\n", n, float64(n)/seconds, cpu*1e6/float64(n), failed)
}
