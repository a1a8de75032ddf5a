package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
)

const metricsPath = "/api/v1/metrics"

func postMetric(body string) request {
	return request{method: http.MethodPost, path: metricsPath, token: ingestToken, body: body}
}

func postLines(body string) request {
	return request{method: http.MethodPost, path: metricsPath, token: ingestToken, body: body, header: []string{"Content-Type", "application/x-ndjson"}}
}

func metricOf(exportID, more string) string {
	return `{"export_id":"` + exportID + `","user_id":"` + userID + `","format":"csv","status":"failed","conversation_count":1,"duration_ms":5` + more + `}`
}

func TestOneMetric(t *testing.T) {
	h := serve(t, options())
	golden(t, "metrics/new", postMetric(oneMetric).send(h))
	golden(t, "metrics/repeated", postMetric(oneMetric).send(h))
	golden(t, "metrics/new", postMetric(`{"type":"export_metric","count_range":"small","attempt":2,"timestamp":"2025-10-31T12:00:00.000Z",`+
		metricOf(exportID, `,"file_size_bytes":null,"error_type":"TimeoutError","error_message":"late"`)[1:]).send(h))
	wantProblem(t, postMetric(strings.Replace(oneMetric, "2500", "2501", 1)).send(h), 422, "body.attempt")
	for body, says := range map[string]string{
		metricOf("x", ""):                                                         "body.export_id",
		metricOf(exportID, `,"eror_type":"x"`):                                    "body.eror_type",
		metricOf(exportID, `,"attempt":-1`):                                       "body.attempt",
		metricOf(exportID, `,"type":"aggregate"`):                                 "body.type",
		metricOf(exportID, `,"error_type":"\u0000"`):                              "body.error_type",
		strings.Replace(oneMetric, `"completed"`, `"expired"`, 1):                 "body.status",
		strings.Replace(oneMetric, `"duration_ms":2500,`, "", 1):                  "body.duration_ms: missing",
		strings.Replace(oneMetric, `"duration_ms":2500`, `"duration_ms":null`, 1): "body.duration_ms: null",
		strings.Replace(oneMetric, `"conversation_count":150,`, "", 1):            "body.conversation_count: missing",
	} {
		wantProblem(t, postMetric(body).send(h), 422, says)
	}
	wantProblem(t, postMetric(brokenMetric).send(h), 400, "not JSON")
	wantProblem(t, postMetric(oneMetric+oneMetric).send(h), 400, "not JSON")
	wantProblem(t, postMetric(oneMetric+strings.Repeat(" ", httpapi.MaxObjectBytes)).send(h), 413, "longer than")
	text := postMetric(oneMetric)
	text.header = []string{"Content-Type", "text/plain"}
	wantProblem(t, text.send(h), 415, "application/x-ndjson")
}

func TestABatchIsAnsweredLineByLine(t *testing.T) {
	h := serve(t, options())
	golden(t, "metrics/batch_empty", postLines("\n").send(h))
	golden(t, "metrics/batch", postLines(strings.Join([]string{
		oneMetric,
		"",
		oneMetric + "\r",
		"  \t",
		strings.Replace(oneMetric, "2500", "2501", 1),
		metricOf("x", `,"format":"pdf"`),
		metricOf("x", ""),
		metricOf(otherExport, `,"duration_ms":1`),
		metricOf(otherExport, `,"error_mesage":"x","attempt":"first"`),
		`[1]`,
		"\xff",
		metricOf(otherExport, `,"error_message":"`+strings.Repeat("x", httpapi.MaxLineBytes)+`"`),
		brokenMetric,
		metricOf(otherExport, ""),
	}, "\n")).send(h))
	golden(t, "metrics/batch_all_refused", postLines("x\ny").send(h))
}

func TestALongLastLineIsCountedWhereverItEnds(t *testing.T) {
	h := serve(t, options())
	for _, n := range []int{-1, 0, 1} {
		for _, end := range []string{"", "\n", "\n" + oneMetric} {
			body := strings.Repeat("x", 2*httpapi.MaxLineBytes+n) + end
			if got := tallyOf(t, postLines(body), h); got.Refused != 1 || got.Errors[0].Line != 1 {
				t.Errorf("%d more bytes, then %q: %+v", n, end, got)
			}
		}
	}
}

// tally is the answer to a batch.
type tally struct {
	Accepted, New, Repeated, Refused int64
	Errors                           []struct {
		Line         int
		Field, Error string
	}
}

func tallyOf(t *testing.T, r request, h http.Handler) tally {
	t.Helper()
	w := r.send(h)
	var got tally
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return got
}

func lines(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(metricOf(exportops.NewID(), "") + "\n")
	}
	return b.String()
}

// recorded reads what a failed batch says of what is recorded.
func recorded(t *testing.T, body []byte) tally {
	t.Helper()
	var p struct{ Recorded *tally }
	if err := json.Unmarshal(body, &p); err != nil || p.Recorded == nil {
		t.Fatalf("%v: %s", err, body)
	}
	return *p.Recorded
}

func TestABatchThatCannotGoOnSaysWhatIsRecorded(t *testing.T) {
	store := &memory{}
	o := options()
	o.Metrics = store
	h := serve(t, o)
	const most = httpapi.MaxBatchBytes
	t.Run("too_many_bytes_announced", func(t *testing.T) {
		w := postLines(lines(1) + strings.Repeat(" ", most)).send(h)
		wantProblem(t, w, http.StatusRequestEntityTooLarge, "longer than")
		if len(store.known) != 0 {
			t.Error("something was recorded")
		}
	})
	t.Run("too_many_bytes_streamed", func(t *testing.T) {
		w := postLines("x").stream(h, io.MultiReader(strings.NewReader(lines(700)+"x\n"), strings.NewReader(strings.Repeat(" ", most))))
		wantProblem(t, w, http.StatusRequestEntityTooLarge, "longer than")
		if got := recorded(t, w.Body.Bytes()); got.New != 700 || got.Refused != 1 || len(store.known) != 700 {
			t.Errorf("%+v, and the store has %d", got, len(store.known))
		}
	})
	t.Run("too_many_lines", func(t *testing.T) {
		w := postLines(strings.Repeat("\n", httpapi.MaxBatchLines-1) + lines(2)).send(h)
		wantProblem(t, w, http.StatusRequestEntityTooLarge, "more than 50000 lines")
		if got := recorded(t, w.Body.Bytes()); got.New != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("cut_off", func(t *testing.T) {
		w := postLines("x").stream(h, io.MultiReader(strings.NewReader(lines(3)+`{"half`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		wantProblem(t, w, http.StatusBadRequest, "ended early")
		if got := recorded(t, w.Body.Bytes()); got.New != 3 || got.Refused != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("store_fails", func(t *testing.T) {
		calls := 0
		store.fail = func([]exportops.Metric) error {
			if calls++; calls == 2 {
				return &exportops.Error{Kind: exportops.KindUnavailable, Message: "the database is locked", Err: errors.New("inner-secret")}
			}
			return nil
		}
		defer func() { store.fail = nil }()
		w := postLines(lines(1200)).send(h)
		wantProblem(t, w, http.StatusServiceUnavailable, "locked")
		if got := recorded(t, w.Body.Bytes()); got.New != 500 || got.Accepted != 500 {
			t.Errorf("%+v", got)
		}
	})
}

func TestSendingABatchAgainRecordsNothingTwice(t *testing.T) {
	h := serve(t, options())
	body := lines(1100)
	first, second := tallyOf(t, postLines(body), h), tallyOf(t, postLines(body), h)
	if diff := cmp.Diff([]tally{{Accepted: 1100, New: 1100}, {Accepted: 1100, Repeated: 1100}}, []tally{first, second}, cmp.Comparer(func(a, b tally) bool {
		return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
	})); diff != "" {
		t.Error(diff)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(oneMetric+"\n"+oneMetric+"\n\nx\n"+metricOf("x", "")), uint64(1))
	f.Add([]byte("\n\r\n \x00\n{}\n{\"a\":1}\n[[[\n\"\\ud800\""), uint64(2))
	f.Add([]byte(`{"export_id":{},"a":"\"}","b":[{"c":1},{}],"d":-1.5e3 }`), uint64(3))
	store := &memory{}
	o := options()
	o.Metrics = store
	h := serve(f, o)
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		store.known = nil
		want := int64(0)
		for line := range strings.SplitSeq(string(body), "\n") {
			if strings.Trim(line, " \t\r") != "" {
				want++
			}
		}
		// The body arrives in pieces, as from a network.
		pieces := rand.New(rand.NewPCG(seed, seed))
		w := postLines("x").stream(h, &inPieces{rest: body, next: func() int { return 1 + pieces.IntN(64) }})
		var got tally
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got.New+got.Repeated+got.Refused != want || got.Accepted != got.New+got.Repeated ||
			int64(len(got.Errors)) != got.Refused || int64(len(store.known)) != got.New {
			t.Errorf("%d lines, %d stored: %+v", want, len(store.known), got)
		}
		for i := 1; i < len(got.Errors); i++ {
			if got.Errors[i-1].Line >= got.Errors[i].Line {
				t.Errorf("refusals are out of order: %+v", got.Errors)
			}
		}
	})
}

// FuzzOneMetric holds the strict decoder against the lenient one: what is
// accepted means the same to both.
func FuzzOneMetric(f *testing.F) {
	f.Add([]byte(oneMetric))
	f.Add([]byte(" {\t\"\\u0066ormat\" : \"csv\" ,\n" + metricOf(exportID, `,"error_type":"\ud83d\ude42\\\"}","attempt":2e0,"timestamp":null`)[1:] + "\r\n"))
	f.Add([]byte(metricOf(exportID, `,"Attempt":3,"file_size_bytes":-0,"error_message":"\udc00"`)))
	f.Add([]byte(metricOf(exportID, `,"timestamp":"2025-10-31T12:00:00+14:00","count_range":"x","type":"export_metric"`)))
	store := &memory{}
	o := options()
	o.Metrics = store
	h := serve(f, o)
	f.Fuzz(func(t *testing.T, body []byte) {
		store.known = nil
		w := postMetric("x").stream(h, bytes.NewReader(body))
		if w.Code != http.StatusAccepted {
			if w.Code < 400 || w.Code > 422 || len(store.known) != 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			return
		}
		var want exportops.Metric
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted what is no metric: %v", err)
		}
		want.Normalize(noon)
		for _, got := range store.known {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	})
}

type inPieces struct {
	rest []byte
	next func() int
}

func (p *inPieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.next())], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// accepting is a Metrics that costs nothing.
type accepting struct{ memory }

func (*accepting) Record(_ context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	return make([]exportops.Receipt, len(batch)), nil
}

func BenchmarkBatch500(b *testing.B) {
	o := options()
	o.Metrics = &accepting{}
	h := serve(b, o)
	body := lines(500)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if w := postLines(body).send(h); w.Code != http.StatusAccepted {
			b.Fatal(w.Body)
		}
	}
}
