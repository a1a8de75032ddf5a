package app_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A cron call, the run that it began and the run's batches are one trace.
func TestACronCallIsTraced(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, body...)
	}))
	defer receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_SERVICE_NAME", "named-by-the-environment")
	c := settings(t, nil)
	s := open(t, c)
	s.expired(c.Storage.Root, 3)
	s.serve()
	if code, body, err := s.call(http.MethodPost, "/api/cron/export-file-cleanup", secret, ""); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	s.stops(stopSoon)
	s.close() // which sends what is left
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{
		"named-by-the-environment", "POST /api/cron/export-file-cleanup", "run file-cleanup", "claim files", "delete files", "settle claims",
	} {
		if !bytes.Contains(got, []byte(part)) {
			t.Errorf("the trace does not tell of: %s", part)
		}
	}
}
