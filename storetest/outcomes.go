package storetest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testOutcomes(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("rows_say_how_an_export_ended", func(t *testing.T) { rowOutcomes(t, open) })
	t.Run("a_metric_says_it_better", func(t *testing.T) {
		f := open(t)
		for _, status := range exportops.Statuses {
			r := Row{Status: string(status), Conversations: 5}.Complete(noon)
			f.Insert(t, r)
			m := metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = r.ExportID, after(noon, 5*time.Hour) })
			record(t, f, m)
		}
		for _, o := range outcomes(t, f) {
			want := exportops.Outcome{
				Time: noon, UserID: o.UserID, Format: exportops.CSV, CountRange: exportops.Medium, Status: exportops.Completed,
				DurationMS: ptr(int64(2500)), SizeBytes: ptr(int64(524288)),
			}
			if d := cmp.Diff(want, o); d != "" {
				t.Fatal(d)
			}
		}
	})
	t.Run("progress_gives_way_to_the_row", func(t *testing.T) {
		f := open(t)
		r := Row{Status: "failed", Error: ptr("QuotaError: full")}.Complete(noon)
		f.Insert(t, r)
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Status = r.ExportID, exportops.Processing }))
		alone := metric(func(m *exportops.Metric) { m.Status = exportops.Queued })
		record(t, f, alone)
		var under int
		for o, err := range f.Store.InProgress(t.Context(), span(noon, time.Hour)) {
			must(t, err)
			if under++; o.UserID != alone.UserID || !o.Time.Equal(alone.Timestamp.Time) {
				t.Fatalf("under way: %+v", o)
			}
		}
		if all := outcomes(t, f); under != 1 || len(all) != 2 {
			t.Fatalf("%d under way and %d in all, want 1 and 2", under, len(all))
		}
	})
	t.Run("bounds_are_half_open", func(t *testing.T) {
		f := open(t)
		for _, at := range []exportops.Time{after(noon, -1), noon, after(noon, time.Hour-time.Millisecond), after(noon, time.Hour)} {
			f.Insert(t, Row{}.Complete(at))
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = at }))
		}
		n := 0
		for _, err := range f.Store.Outcomes(t.Context(), span(noon, time.Hour)) {
			must(t, err)
			n++
		}
		if n != 4 {
			t.Fatalf("%d outcomes in the hour, want 4", n)
		}
	})
	t.Run("users_and_errors_are_ranked", func(t *testing.T) { rankUsers(t, open(t)) })
	t.Run("unreadable_times_are_left_out", func(t *testing.T) {
		f := open(t)
		texts := []string{"2025-10-31 12:00:00", "2025-10-31T12:00:00Z", "2025-10-31T12:00:00.000+0", "2025-10-31T12:61:00.000Z", "\x00"}
		if f.Typed {
			texts = slices.Collect(maps.Values(typedUnreadable))
		}
		for _, at := range texts {
			f.Insert(t, Row{Timestamp: at, CreatedAt: noon.String()}.Complete(noon))
		}
		if all := outcomes(t, f); len(all) != 0 {
			t.Fatalf("counted: %+v", all)
		}
		f.Insert(t, Row{}.Complete(noon))
		if first, ok, err := f.Store.FirstActivity(t.Context(), exportops.Time{}); err != nil || !ok || !first.Equal(noon.Time) {
			t.Fatalf("first activity %v %v %v, want noon", first, ok, err)
		}
	})
}

func rowOutcomes(t *testing.T, open func(testing.TB) Fixture) {
	at := noon.String()
	for name, c := range map[string]struct {
		row  Row
		want exportops.Outcome
	}{
		"completed": {
			Row{Status: "completed", FileSize: ptr(int64(7))},
			exportops.Outcome{Status: exportops.Completed, DurationMS: ptr(int64(2000)), SizeBytes: ptr(int64(7))},
		},
		"expired_keeps_no_duration": {Row{Status: "expired"}, exportops.Outcome{Status: exportops.Completed}},
		"failed": {
			Row{Status: "failed", Error: ptr("TimeoutError: it took too long")},
			exportops.Outcome{Status: exportops.Failed, DurationMS: ptr(int64(2000)), ErrorType: "TimeoutError"},
		},
		"failed_without_type": {
			Row{Status: "failed", Error: ptr("it broke: badly")},
			exportops.Outcome{Status: exportops.Failed, DurationMS: ptr(int64(2000)), ErrorType: exportops.UnknownError},
		},
		"failed_without_message": {
			Row{Status: "failed"},
			exportops.Outcome{Status: exportops.Failed, DurationMS: ptr(int64(2000)), ErrorType: exportops.UnknownError},
		},
		"failed_with_the_longest_type": {
			Row{Status: "failed", Error: ptr(strings.Repeat("E", 64) + ":x")},
			exportops.Outcome{Status: exportops.Failed, DurationMS: ptr(int64(2000)), ErrorType: strings.Repeat("E", 64)},
		},
		"failed_with_too_long_a_type": {
			Row{Status: "failed", Error: ptr(strings.Repeat("E", 65) + ":x")},
			exportops.Outcome{Status: exportops.Failed, DurationMS: ptr(int64(2000)), ErrorType: exportops.UnknownError},
		},
		"clock_went_backwards": {
			Row{Status: "completed", CreatedAt: after(noon, time.Second).String(), UpdatedAt: at},
			exportops.Outcome{Status: exportops.Completed},
		},
		"unreadable_duration": {Row{Status: "completed", CreatedAt: "soon", UpdatedAt: at}, exportops.Outcome{Status: exportops.Completed}},
		"queued":              {Row{Status: "queued", FileSize: ptr(int64(7))}, exportops.Outcome{Status: exportops.Queued}},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := c.row.Complete(noon)
			if f.Typed && r.CreatedAt == "soon" {
				r.CreatedAt = typedUnreadable["minus_infinity"]
			}
			r.Conversations = 999
			f.Insert(t, r)
			want := c.want
			want.Time, want.UserID, want.Format, want.CountRange = noon, r.UserID, exportops.JSONL, exportops.Large
			if d := cmp.Diff([]exportops.Outcome{want}, outcomes(t, f)); d != "" {
				t.Fatalf("from the row (-want +got):\n%s", d)
			}
			if want.Status.InProgress() {
				return
			}
			// Frozen, it says the same, whatever becomes of the row.
			observe(t, f, 1)
			f.Exec(t, `UPDATE {logs} SET status = 'expired', updated_at = ?`, after(noon, 30*time.Hour).String())
			if d := cmp.Diff([]exportops.Outcome{want}, outcomes(t, f)); d != "" {
				t.Fatalf("frozen (-want +got):\n%s", d)
			}
		})
	}
}

func rankUsers(t *testing.T, f Fixture) {
	a, b, c := "a0000000-0000-4000-8000-000000000000", "b0000000-0000-4000-8000-000000000000", "c0000000-0000-4000-8000-000000000000"
	hour := after(noon, -time.Hour)
	for _, r := range []Row{{UserID: a}, {UserID: a, Status: "failed"}, {UserID: b, Status: "queued"}} {
		f.Insert(t, r.Complete(hour))
	}
	f.Insert(t, Row{UserID: b}.Complete(noon), Row{UserID: c, Status: "failed", Error: ptr("E: x")}.Complete(noon))
	observe(t, f, 4)
	plan := exportops.ReadPlan{Rows: []exportops.Span{span(hour, 2*time.Hour)}}
	check := func(how string) {
		t.Helper()
		top, distinct, err := f.Store.TopUsers(t.Context(), plan, 2)
		must(t, err)
		if d := cmp.Diff([]exportops.UserCount{{UserID: a, Count: 2}, {UserID: b, Count: 2}}, top); d != "" || distinct != 3 {
			t.Fatalf("%s: %d users, the first (-want +got):\n%s", how, distinct, d)
		}
		errors, err := f.Store.Errors(t.Context(), plan)
		must(t, err)
		if d := cmp.Diff(map[string]int64{"Unknown": 1, "E": 1}, errors); d != "" {
			t.Fatalf("%s: errors (-want +got):\n%s", how, d)
		}
	}
	check("rows")
	r := exportops.Rollup{Start: hour, Users: []exportops.UserCount{{UserID: a, Count: 2}}, Errors: map[string]int64{"Unknown": 1}, Open: 1}
	if ok, err := f.Store.WriteHour(t.Context(), r, stateOf(t, f, hour).Version); err != nil || !ok {
		t.Fatalf("the hour was not written: %v", err)
	}
	plan = exportops.ReadPlan{Hours: []exportops.Span{span(hour, time.Hour)}, Rows: []exportops.Span{span(noon, time.Hour)}}
	check("rollups and rows")
}
