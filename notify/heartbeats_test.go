package notify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/outbound"
	"github.com/exportops/exportops/notify"
)

const runID = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"

func run(state exportops.RunState, failure string) exportops.Run {
	return exportops.Run{ID: runID, Job: exportops.FileCleanup, State: state, Error: failure}
}

// service is one that watches jobs, without a network. It keeps what it was told.
type service struct {
	mu     sync.Mutex
	told   []string
	answer func(n int, r *http.Request) error // nil takes everything
}

// RoundTrip implements http.RoundTripper.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.told = append(s.told, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
	n := len(s.told)
	s.mu.Unlock()
	if s.answer != nil {
		if err := s.answer(n, r); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// beats runs a story in a bubble, and returns what the service was told and what was
// logged.
func beats(t *testing.T, url string, s *service, story func(*notify.Heartbeats)) (told []string, logged string) {
	t.Helper()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		h := notify.NewHeartbeats(notify.HeartbeatOptions{
			Client: &http.Client{Transport: s}, URLs: map[exportops.Job]string{exportops.FileCleanup: url},
			Scrub: func(s string) string { return strings.ReplaceAll(s, "alice", "[x]") },
			Log:   slog.New(slog.NewTextHandler(&log, nil)),
		})
		story(h)
		began := time.Now()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it closed after %s", took)
		}
		h.Began(run(exportops.RunRunning, "")) // says nothing any more
	})
	return s.told, log.String()
}

func TestHeartbeats(t *testing.T) {
	const said = "run " + runID + " of file-cleanup: "
	t.Run("as_Healthchecks_takes_them", func(t *testing.T) {
		told, logged := beats(t, "https://hc.example/ping/abc?create=1", &service{}, func(h *notify.Heartbeats) {
			h.Began(run(exportops.RunRunning, ""))
			time.Sleep(time.Minute)
			h.Ended(run(exportops.RunDone, ""), "3 files found")
			synctest.Wait()
			h.Ended(run(exportops.RunPartial, ""), "")
			synctest.Wait()
			h.Ended(run(exportops.RunFailed, "file of alice: no"), "3 files found")
			synctest.Wait()
			h.Ended(run(exportops.RunRefused, "too many"), "")
		})
		want(t, "told", told, []string{
			"POST https://hc.example/ping/abc/start?create=1&rid=" + runID,
			"POST https://hc.example/ping/abc?create=1&rid=" + runID + " " + said + "done\n3 files found",
			"POST https://hc.example/ping/abc?create=1&rid=" + runID + " " + said + "partial",
			"POST https://hc.example/ping/abc/fail?create=1&rid=" + runID + " " + said + "failed\n3 files found\nfile of [x]: no",
			"POST https://hc.example/ping/abc/fail?create=1&rid=" + runID + " " + said + "refused\ntoo many",
		})
		want(t, "logged", logged, "")
	})
	t.Run("as_Cronitor_takes_them", func(t *testing.T) {
		told, _ := beats(t, "https://cronitor.link/p/key/files?env=x", &service{}, func(h *notify.Heartbeats) {
			h.Began(run(exportops.RunRunning, ""))
			synctest.Wait()
			h.Ended(run(exportops.RunDone, ""), "")
			synctest.Wait()
			h.Ended(run(exportops.RunFailed, "no"), "")
		})
		want(t, "told", told, []string{
			"GET https://cronitor.link/p/key/files?env=x&series=" + runID + "&state=run",
			"GET https://cronitor.link/p/key/files?env=x&message=run+" + runID + "+of+file-cleanup%3A+done&series=" + runID + "&state=complete",
			"GET https://cronitor.link/p/key/files?env=x&message=run+" + runID + "+of+file-cleanup%3A+failed%0Ano&series=" + runID + "&state=fail",
		})
	})
	t.Run("of_no_other_job", func(t *testing.T) {
		told, _ := beats(t, "https://hc.example/abc", &service{}, func(h *notify.Heartbeats) {
			other := run(exportops.RunDone, "")
			other.Job = exportops.EraseUser
			h.Began(other)
			h.Ended(other, "")
		})
		want(t, "told", len(told), 0)
	})
	t.Run("are_tried_again", func(t *testing.T) {
		s := &service{answer: func(n int, _ *http.Request) error {
			if n < 3 {
				return &outbound.Error{Code: http.StatusBadGateway}
			}
			return nil
		}}
		told, logged := beats(t, "https://hc.example/abc", s, func(h *notify.Heartbeats) { h.Ended(run(exportops.RunDone, ""), "") })
		want(t, "told", len(told), 3)
		want(t, "logged", logged, "")
	})
	t.Run("fail_in_a_line_of_the_log_without_their_address", func(t *testing.T) {
		for name, c := range map[string]struct {
			err   error
			tries int
		}{
			"for now":  {&outbound.Error{Code: http.StatusBadGateway}, 3},
			"for good": {&outbound.Error{Code: http.StatusNotFound}, 1},
			"odd":      {errors.New("no s3cret"), 1},
		} {
			s := &service{answer: func(int, *http.Request) error { return c.err }}
			told, logged := beats(t, "https://hc.example/s3cret", s, func(h *notify.Heartbeats) { h.Ended(run(exportops.RunDone, ""), "") })
			want(t, name+" told", len(told), c.tries)
			if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, "job=file-cleanup") || strings.Contains(logged, "s3cret") {
				t.Errorf("%s: logged %s", name, logged)
			}
		}
	})
	t.Run("wait_for_each_other_but_not_for_long", func(t *testing.T) {
		hangs := func(_ int, r *http.Request) error {
			if !strings.HasSuffix(r.URL.Path, "/start") {
				return nil
			}
			<-r.Context().Done()
			return r.Context().Err()
		}
		told, _ := beats(t, "https://hc.example/abc", &service{answer: hangs}, func(h *notify.Heartbeats) {
			began := time.Now()
			h.Began(run(exportops.RunRunning, ""))
			h.Ended(run(exportops.RunDone, ""), "")
			if time.Since(began) > 0 {
				t.Error("the job was kept waiting")
			}
		})
		want(t, "told", len(told), 2)
		want(t, "the last", strings.HasPrefix(told[1], "POST https://hc.example/abc?rid="), true)
	})
	t.Run("that_hang_are_given_up", func(t *testing.T) {
		hangs := func(_ int, r *http.Request) error { <-r.Context().Done(); return context.Cause(r.Context()) }
		_, logged := beats(t, "https://hc.example/abc", &service{answer: hangs}, func(h *notify.Heartbeats) {
			h.Began(run(exportops.RunRunning, ""))
			h.Ended(run(exportops.RunDone, ""), "")
		})
		want(t, "lines of the log", strings.Count(logged, "\n"), 2)
	})
}
