// A server with the shutdown that Go's documentation shows: it stops listening at SIGTERM, and waits for what
// is in flight.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	server := &http.Server{Addr: ":8000"}
	go server.ListenAndServe()
	<-ctx.Done()
	wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server.Shutdown(wait)
}
