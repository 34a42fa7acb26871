// The server that bench/peers/http measures beside torc's: Go's net/http with its own router.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
)

func main() {
	listen := flag.String("listen", "", "HOST:PORT")
	root := flag.String("root", "", "a directory, served below /files/")
	cert := flag.String("cert", "", "PEM")
	key := flag.String("key", "", "PEM")
	flag.Parse()
	runtime.GOMAXPROCS(1)

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "Hello, World!")
	})
	mux.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"message":"Hello, World!"}`)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(body)
	})
	for i := 0; i < 500; i++ {
		mux.HandleFunc(fmt.Sprintf("/api/v1/resource%d/", i), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "Hello, World!")
		})
	}
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(*root))))
	if *cert != "" {
		log.Fatal(http.ListenAndServeTLS(*listen, *cert, *key, mux))
	}
	log.Fatal(http.ListenAndServe(*listen, mux))
}
