package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// noon is the hour that most of the tests are about.
var noon = exportops.Time{Time: time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)}

func after(t exportops.Time, d time.Duration) exportops.Time { return exportops.At(t.Add(d)) }

func span(from exportops.Time, d time.Duration) exportops.Span {
	return exportops.Span{From: from, To: after(from, d)}
}

func ptr[T any](v T) *T { return &v }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantKind fails unless err is of kind k and, where field is given, names it.
func wantKind(t testing.TB, err error, k exportops.Kind, field string) {
	t.Helper()
	var e *exportops.Error
	if !exportops.IsKind(err, k) || !errors.As(err, &e) || (field != "" && e.Field != field) {
		t.Fatalf("error is %v, want %s about %q", err, k, field)
	}
}

// metric returns a completed export of noon's hour.
func metric(change ...func(*exportops.Metric)) exportops.Metric {
	m := exportops.Metric{
		ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.CSV, Status: exportops.Completed,
		ConversationCount: 150, DurationMS: ptr(int64(2500)), FileSizeBytes: ptr(int64(524288)), Attempt: 1,
		Timestamp: after(noon, 10*time.Minute),
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func record(t testing.TB, f Fixture, batch ...exportops.Metric) []exportops.Receipt {
	t.Helper()
	r, err := f.Store.RecordMetrics(t.Context(), batch)
	must(t, err)
	if len(r) != len(batch) {
		t.Fatalf("%d receipts for %d metrics", len(r), len(batch))
	}
	return r
}

// outcomes reads everything there is.
func outcomes(t testing.TB, f Fixture) []exportops.Outcome {
	t.Helper()
	var all []exportops.Outcome
	for o, err := range f.Store.Outcomes(t.Context(), span(after(noon, -48*time.Hour), 96*time.Hour)) {
		must(t, err)
		all = append(all, o)
	}
	return all
}

func counted(t testing.TB, f Fixture, hour exportops.Time) []exportops.Outcome {
	t.Helper()
	var all []exportops.Outcome
	for o, err := range f.Store.Counted(t.Context(), span(hour, time.Hour)) {
		must(t, err)
		all = append(all, o)
	}
	return all
}

func stateOf(t testing.TB, f Fixture, hour exportops.Time) exportops.HourState {
	t.Helper()
	states, err := f.Store.HourStates(t.Context(), span(hour, time.Hour))
	must(t, err)
	if len(states) != 1 {
		t.Fatalf("%d states of the hour %s, want 1", len(states), hour)
	}
	return states[0]
}
