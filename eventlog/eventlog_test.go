package eventlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/eventlog"
)

const (
	exportID = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"
	userID   = "11111111-2222-4333-8444-555555555555"
)

var noon = time.Date(2025, 10, 31, 12, 0, 0, 5e6, time.FixedZone("CET", 3600))

func newLog(tb testing.TB, w io.Writer, o eventlog.Options) *eventlog.Log {
	tb.Helper()
	o.Clock = func() time.Time { return noon }
	l, err := eventlog.New(w, o)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func ptr[T any](v T) *T { return &v }

func metric() exportops.Metric {
	return exportops.Metric{
		ExportID: exportID, UserID: userID, Format: exportops.JSONL, Status: exportops.Completed,
		ConversationCount: 150, DurationMS: ptr(int64(2500)), FileSizeBytes: ptr(int64(524288)), Attempt: 1,
		Timestamp: exportops.At(noon),
	}
}

func TestEmitWritesTheFieldsAtTheTopLevel(t *testing.T) {
	key := []byte("a key of enough bytes")
	type items struct {
		Errors []exportops.ExportError `json:"errors"`
	}
	failed := metric()
	failed.Status, failed.FileSizeBytes = exportops.Failed, nil
	failed.ErrorType, failed.ErrorMessage = ptr("MailError"), ptr("no mailbox jane@example.com")
	for _, tc := range []struct {
		name  string
		users eventlog.UserIDs
		event exportops.EventType
		v     any
		want  string
	}{
		{
			"metric", eventlog.Plain, exportops.EventExportMetric, metric(),
			`{"type":"export_metric","export_id":"` + exportID + `","user_id":"` + userID + `","format":"jsonl","status":"completed",` +
				`"conversation_count":150,"duration_ms":2500,"file_size_bytes":524288,"attempt":1,"timestamp":"2025-10-31T11:00:00.005Z"}`,
		},
		{
			"error_texts_scrubbed", eventlog.Plain, exportops.EventExportMetric, failed,
			`{"type":"export_metric","export_id":"` + exportID + `","user_id":"` + userID + `","format":"jsonl","status":"failed",` +
				`"conversation_count":150,"duration_ms":2500,"file_size_bytes":null,"error_type":"MailError","error_message":"no mailbox [email]",` +
				`"attempt":1,"timestamp":"2025-10-31T11:00:00.005Z"}`,
		},
		{
			"timestamp_added", "", exportops.EventExportVolume,
			exportops.Volume{Period: exportops.Daily, Days: 1},
			`{"type":"export_volume","timestamp":"2025-10-31T11:00:00.005Z","period":"daily","days":1,"total_exports":0,` +
				`"avg_per_period":0,"peak_period":null,"volume_data":null}`,
		},
		{
			"nothing_but_a_type", eventlog.Plain, exportops.EventAggregatedMetrics,
			struct{}{},
			`{"type":"aggregated_metrics","timestamp":"2025-10-31T11:00:00.005Z"}`,
		},
		{
			"own_type_is_not_repeated", eventlog.Plain, exportops.EventAggregatedMetrics,
			map[string]any{"type": "x", "n": 1},
			`{"type":"aggregated_metrics","timestamp":"2025-10-31T11:00:00.005Z","n":1}`,
		},
		{
			"errors_of_items_scrubbed", eventlog.Plain, exportops.EventFileCleanupFailed,
			items{[]exportops.ExportError{{ExportID: exportID, Error: "password=x"}, {ExportID: exportID, Error: "fine"}}},
			`{"type":"export_file_cleanup_failed","timestamp":"2025-10-31T11:00:00.005Z","errors":[{"export_id":"` + exportID +
				`","error":"password=[secret]"},{"export_id":"` + exportID + `","error":"fine"}]}`,
		},
		{
			"error_distribution_scrubbed_and_added_up", eventlog.Plain, exportops.EventAggregatedMetrics,
			map[string]any{"error_distribution": map[string]int{"a@b.cd": 1, "c@d.ef": 2, "Timeout": 3}},
			`{"type":"aggregated_metrics","timestamp":"2025-10-31T11:00:00.005Z","error_distribution":{"Timeout":3,"[email]":3}}`,
		},
		{
			"users_hashed", eventlog.Hash, exportops.EventAggregatedMetrics,
			map[string]any{"user_id": userID, "exports_per_user": map[string]int{userID: 2}, "error": "delete " + userID + "/a.csv"},
			`{"type":"aggregated_metrics","timestamp":"2025-10-31T11:00:00.005Z","error":"delete [id]/a.csv",` +
				`"exports_per_user":{"u_25f72f4098fc4d0d":2},"user_id":"u_25f72f4098fc4d0d"}`,
		},
		{
			"users_omitted_at_any_depth", eventlog.Omit, exportops.EventAggregatedMetrics,
			map[string]any{"user_id": userID, "exports_per_user": map[string]int{userID: 2}, "in": map[string]any{"a": 1, "user_id": userID, "z": []any{1, "x", nil, true}}},
			`{"type":"aggregated_metrics","timestamp":"2025-10-31T11:00:00.005Z","in":{"a":1,"z":[1,"x",null,true]}}`,
		},
		{
			"control_characters", eventlog.Plain, exportops.EventExportMetric,
			map[string]any{"error": "a\nb\r\u2028\u2029\u0085\u009b31m\x7f\x00\xff", "k\u0085\"]}": "]}\"\\"},
			`{"type":"export_metric","timestamp":"2025-10-31T11:00:00.005Z","error":"a\nb\r\u2028\u2029\u0085\u009b31m\u007f\u0000` + "\uFFFD" +
				`","k\u0085\"]}":"]}\"\\"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			l := newLog(t, &out, eventlog.Options{UserIDs: tc.users, Key: key})
			l.Emit(tc.event, tc.v)
			if diff := cmp.Diff(tc.want+"\n", out.String()); diff != "" {
				t.Error(diff)
			}
			if !json.Valid(out.Bytes()) {
				t.Error("not valid JSON")
			}
			if err := l.Err(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(eventlog.Stats{Written: 1}, l.Stats()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEmitSaysWhenAnEventCannotBeEncoded(t *testing.T) {
	for _, v := range []any{map[string]any{"n": math.NaN()}, []int{1}, nil, "text"} {
		var out bytes.Buffer
		l := newLog(t, &out, eventlog.Options{})
		l.Emit(exportops.EventExportMetric, v)
		want := `{"type":"export_metric","timestamp":"2025-10-31T11:00:00.005Z","event_error":"the fields of this event could not be encoded"}` + "\n"
		if out.String() != want || l.Err() == nil || l.Stats() != (eventlog.Stats{Written: 1, Failed: 1}) {
			t.Errorf("%v: got %s, err %v, %+v", v, out.String(), l.Err(), l.Stats())
		}
	}
}

func TestNewRefusesWhatWouldNotHideUsers(t *testing.T) {
	for _, o := range []eventlog.Options{
		{UserIDs: "hashed"}, {UserIDs: eventlog.Hash}, {UserIDs: eventlog.Hash, Key: []byte("short")},
	} {
		if _, err := eventlog.New(io.Discard, o); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

// flaky fails its first writes after letting through some bytes of each.
type flaky struct {
	bytes.Buffer
	through []int
}

var errDisk = errors.New("no space left on device")

func (f *flaky) Write(p []byte) (int, error) {
	if len(f.through) == 0 {
		return f.Buffer.Write(p)
	}
	n := f.through[0]
	f.through = f.through[1:]
	f.Buffer.Write(p[:n])
	return n, errDisk
}

func TestAFailedWriteIsCountedAndSpoilsNoOtherLine(t *testing.T) {
	w := &flaky{through: []int{7, 0, 5}}
	l := newLog(t, w, eventlog.Options{})
	for range 5 {
		l.Emit(exportops.EventExportMetric, struct{}{})
	}
	if !errors.Is(l.Err(), errDisk) {
		t.Errorf("Err() = %v", l.Err())
	}
	if diff := cmp.Diff(eventlog.Stats{Written: 2, Failed: 3}, l.Stats()); diff != "" {
		t.Error(diff)
	}
	whole := `{"type":"export_metric","timestamp":"2025-10-31T11:00:00.005Z"}`
	want := "{\"type\"\n{\"ty\n" + whole + "\n" + whole + "\n"
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Error(diff)
	}
}

// oneWrite fails the test when a Write is not one whole line.
type oneWrite struct {
	t     *testing.T
	mu    sync.Mutex
	lines int
}

func (o *oneWrite) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !bytes.HasSuffix(p, []byte("\n")) || bytes.Count(p, []byte("\n")) != 1 || !json.Valid(p) {
		o.t.Errorf("not one line: %q", p)
	}
	o.lines++
	return len(p), nil
}

func TestLinesOfManyGoroutinesStayWhole(t *testing.T) {
	w := &oneWrite{t: t}
	l := newLog(t, w, eventlog.Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				l.Emit(exportops.EventExportMetric, map[string]any{"n": i, "pad": strings.Repeat(fmt.Sprint(g), i*20)})
			}
		})
	}
	wg.Wait()
	if w.lines != 800 || l.Stats().Written != 800 {
		t.Errorf("%d lines, %+v", w.lines, l.Stats())
	}
}

func FuzzEmit(f *testing.F) {
	f.Add("text", "key")
	f.Add("\u2028\u0085\x00\"\\", "}],\"")
	f.Fuzz(func(t *testing.T, text, key string) {
		var out bytes.Buffer
		l := newLog(t, &out, eventlog.Options{})
		l.Emit(exportops.EventExportMetric, map[string]any{
			"error": text, "free": text, "deep": map[string]any{key: []any{text, map[string]any{"error_message": text}}},
			"error_distribution": map[string]int{key: 1},
		})
		line := out.Bytes()
		if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 || bytes.ContainsAny(line, "\r\u2028\u2029\u0085") {
			t.Errorf("not one line of JSON: %q", line)
		}
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil || got["free"] != string([]rune(text)) {
			t.Errorf("%v: %v", err, got)
		}
		if got["error"] != eventlog.Scrub(got["free"].(string)) {
			t.Errorf("error is %q", got["error"])
		}
	})
}

func BenchmarkEmitMetric(b *testing.B) {
	for _, users := range []eventlog.UserIDs{eventlog.Plain, eventlog.Hash} {
		b.Run(string(users), func(b *testing.B) {
			l := newLog(b, io.Discard, eventlog.Options{UserIDs: users, Key: make([]byte, 32)})
			m := metric()
			b.ReportAllocs()
			for b.Loop() {
				l.Emit(exportops.EventExportMetric, &m)
			}
		})
	}
}

func BenchmarkScrub(b *testing.B) {
	for b.Loop() {
		eventlog.Scrub("TimeoutError: PUT https://storage.example.com/exports/a.jsonl?token=abc: context deadline exceeded")
	}
}
