package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver starts a server that writes what it is sent to a file, a request a line,
// and puts its address into the environment: receiver NAME file [status].
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: receiver NAME file [status]")
	}
	status := http.StatusOK
	if len(args) == 3 {
		var err error
		status, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	out, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s %s %q\n", r.Method, r.RequestURI, body)
		}
		if err != nil {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
	}))
	ts.Defer(func() {
		s.Close()
		ts.Check(out.Close())
	})
	ts.Setenv(args[0], s.URL)
}
