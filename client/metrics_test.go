package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/recorder"
)

// quick retries without letting a test wait.
var quick = client.WithRecorder(recorder.Options{Delay: time.Millisecond, RetryMin: time.Millisecond})

func lines(t *testing.T, r *http.Request) []exportops.Metric {
	t.Helper()
	var got []exportops.Metric
	for sc := bufio.NewScanner(r.Body); sc.Scan(); {
		var m exportops.Metric
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Errorf("line %d: %v", len(got)+1, err)
		}
		got = append(got, m)
	}
	return got
}

func TestLogSendsOneMetricALine(t *testing.T) {
	var got []exportops.Metric
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/base/api/v1/metrics" ||
			r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("request %s %s with %v", r.Method, r.URL, r.Header)
		}
		got = lines(t, r)
		answer(w, 202, "application/json", fmt.Sprintf(`{"accepted":%d,"new":%[1]d,"repeated":0,"refused":0,"errors":[]}`, len(got)))
	}))
	defer srv.Close()
	c := open(t, srv.URL+"/base/")

	message := "line one\nline two \"quoted\""
	var want []exportops.Metric
	for i := range 3 {
		m := metric()
		m.Timestamp, m.Attempt = exportops.At(time.Date(2026, 1, 31, 12, i, 0, 0, time.UTC)), 1
		m.Status, m.FileSizeBytes, m.ErrorMessage = exportops.Failed, nil, &message
		want = append(want, m)
		if err := c.Log(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func TestRefusedLinesAreCountedWithTheirReason(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := len(lines(t, r)); n != 4 {
			t.Errorf("%d lines, want 4", n)
		}
		answer(w, 202, "application/json", `{"accepted":3,"new":2,"repeated":1,"refused":1,
			"errors":[{"line":2,"field":"timestamp","error":"older than the log retention"}]}`)
	})
	var ids []string
	for range 4 {
		m := metric()
		ids = append(ids, m.ExportID)
		if err := c.Log(m); err != nil {
			t.Fatal(err)
		}
	}
	var loss *recorder.LossError
	if err := c.Flush(t.Context()); !errors.As(err, &loss) {
		t.Fatalf("Flush: %v, want a LossError", err)
	}
	reason := &exportops.Error{Kind: exportops.KindInvalid, Field: "timestamp", Message: "older than the log retention"}
	want := &recorder.LossError{Refused: 1, Err: reason, Refusals: []recorder.Refusal{{ExportID: ids[1], Err: reason}}}
	if diff := cmp.Diff(want, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(recorder.Stats{Logged: 4, Recorded: 2, Repeated: 1, Refused: 1}, c.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestMetricsAreSentAgain(t *testing.T) {
	const good = `{"accepted":1,"new":1,"repeated":0,"refused":0,"errors":[]}`
	for name, first := range map[string]http.HandlerFunc{
		"after_500":              func(w http.ResponseWriter, _ *http.Request) { answer(w, 500, problemJSON, `{}`) },
		"after_429":              func(w http.ResponseWriter, _ *http.Request) { answer(w, 429, problemJSON, `{}`) },
		"after_a_broken_line":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"after_a_login_page":     func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "text/html", `<h1>Log in</h1>`) },
		"after_too_few":          tallied(`{"accepted":0,"new":0,"repeated":0,"refused":0,"errors":[]}`),
		"after_a_wrong_sum":      tallied(`{"accepted":1,"new":1,"repeated":1,"refused":0,"errors":[]}`),
		"after_a_negative":       tallied(`{"accepted":1,"new":2,"repeated":-1,"refused":0,"errors":[]}`),
		"after_an_unnamed_line":  tallied(`{"accepted":0,"new":0,"repeated":0,"refused":1,"errors":[]}`),
		"after_a_line_beyond":    tallied(`{"accepted":0,"new":0,"repeated":0,"refused":1,"errors":[{"line":2,"error":"x"}]}`),
		"after_nothing_to_parse": tallied(`[]`),
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex // no answer orders the request that is cut off before the next
			var bodies [][]exportops.Metric
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				bodies = append(bodies, lines(t, r))
				isFirst := len(bodies) == 1
				mu.Unlock()
				if isFirst {
					first(w, r)
					return
				}
				answer(w, 202, "application/json", good)
			}, quick)
			if err := c.Log(metric()); err != nil {
				t.Fatal(err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(bodies) != 2 {
				t.Fatalf("%d requests, want 2", len(bodies))
			}
			if diff := cmp.Diff(bodies[0], bodies[1]); diff != "" {
				t.Errorf("the second request differs:\n%s", diff)
			}
		})
	}
}

func tallied(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, 202, "application/json", body) }
}

func TestMetricsAreNotSentAgainAfterA401(t *testing.T) {
	calls := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		answer(w, 401, problemJSON, `{"detail":"the token is wrong"}`)
	}, quick)
	if err := c.Log(metric()); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); !exportops.IsKind(err, exportops.KindRefused) || calls != 1 {
		t.Errorf("Flush after %d calls: %v, want KindRefused after 1", calls, err)
	}
}

func TestCloseIsBoundedWhileTheServerIsDown(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 503, problemJSON, `{"detail":"no"}`) }, quick)
	if err := c.Log(metric()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var loss *recorder.LossError
	if err := c.Close(ctx); !errors.As(err, &loss) || loss.Dropped != 1 {
		t.Errorf("Close: %v, want one dropped", err)
	}
}
