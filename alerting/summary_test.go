package alerting_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

func TestSummary(t *testing.T) {
	firing := exportops.Incident{Severity: exportops.SeverityHigh, State: exportops.IncidentFiring, Message: "Export failure rate (20.00%) exceeds threshold (10%)"}
	var many []exportops.Incident
	errors := map[string]int64{"TimeoutError": 20, "a\nb " + strings.Repeat("x", 200): 5}
	for n := range 12 {
		many = append(many, firing)
		errors[fmt.Sprintf("Error%02d", n)] = int64(n)
	}
	day := exportops.Span{From: exportops.At(noon.Add(-36 * time.Hour)), To: exportops.At(noon.Add(-12 * time.Hour))}
	var out strings.Builder
	for _, d := range []alerting.Digest{
		{Every: exportops.SummaryDaily, Span: day},
		{
			Every: exportops.SummaryDaily, Span: day, Exports: exportops.Figures{Completed: 1170, Failed: 30, InProgress: 2, Bytes: 3_210_000_000},
			Errors: map[string]int64{"TimeoutError": 20, "StorageError": 10}, Cleanups: 2, FailedCleanups: 1, FilesDeleted: 264,
			BytesFreed: 1_090_000, FailedFiles: 3, RowsDeleted: 5000, Firing: []exportops.Incident{firing},
		},
		{
			Every: exportops.SummaryWeekly, Span: exportops.Span{From: exportops.At(day.From.AddDate(0, 0, -7)), To: day.From},
			Exports: exportops.Figures{Failed: 99, Bytes: 999}, Errors: errors, Firing: many,
		},
	} {
		m := alerting.Summary(d, noon)
		out.WriteString(string(m.Kind) + " " + m.At.String() + "\n" + m.Title + "\n\n" + m.Text + "----\n")
	}
	golden(t, "summaries", out.String())
}

// Each channel gets a summary of a period once, from whichever process is first after
// its end.
func TestSummaries(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	size := int64(1_500_000)
	took := int64(10)
	_, err := w.Metrics().Record(t.Context(), []exportops.Metric{{
		ExportID: exportops.NewID(), UserID: testworld.User, Format: exportops.CSV, Status: exportops.Completed, ConversationCount: 5,
		DurationMS: &took, FileSizeBytes: &size, Timestamp: w.Clock.At(),
	}})
	w.Must(err)
	exports(t, w, 0, 1, 9)
	w.Insert(testworld.Row{ExportID: testworld.ID(1), URL: "a.json", Size: 7}) // of four days ago
	w.Write("a.json", "content")
	_, err = w.Runner().Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron})
	w.Must(err)
	audiences := []exportops.Audience{
		{Channel: "daily", NoAlerts: true, Summary: exportops.SummaryDaily},
		{Channel: "weekly", NoAlerts: true, Summary: exportops.SummaryWeekly},
		{Channel: "none", NoAlerts: true},
	}
	replica := func() *alerting.Service {
		s := watcher(w, "volume")
		s.Audiences = audiences
		return s
	}
	summaries := func() []exportops.Notification {
		t.Helper()
		all, _, err := w.Store.Notifications(t.Context(), exportops.NotificationFilter{})
		w.Must(err)
		return all
	}
	for range 2 {
		w.Must(replica().Evaluate(t.Context()))
	}
	// Noon is on a Friday: those of Thursday, and of the week before.
	wantOutbox(t, w, "daily summary", "weekly summary")
	w.Clock.Advance(12*time.Hour - time.Millisecond)
	w.Must(replica().Evaluate(t.Context()))
	wantOutbox(t, w, "daily summary", "weekly summary")
	w.Clock.Advance(time.Millisecond)
	for range 3 {
		w.Must(replica().Evaluate(t.Context()))
	}
	wantOutbox(t, w, "daily summary", "weekly summary", "daily summary")
	text := summaries()[0].Message.Text
	for _, want := range []string{
		"Exports: 1 completed, 1 failed, 0 in progress (50.00% succeeded)\n", "  failed with TimeoutError: 1\n", "Written: 1.5 MB\n",
		"File cleanups: 1, of which 0 failed\n", "Files deleted: 1 (7 B); deletions that failed: 0\n",
		"--start 2025-10-31T00:00:00.000Z --end 2025-11-01T00:00:00.000Z\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	w.Clock.Advance(48 * time.Hour) // Monday: one day is left out, nobody was up
	w.Must(replica().Evaluate(t.Context()))
	wantOutbox(t, w, "daily summary", "weekly summary", "daily summary", "daily summary", "weekly summary")
	if title := summaries()[0].Message.Title; !strings.HasPrefix(title, "Exports of the week from 27 October 2025: ") {
		t.Errorf("it is %q", title)
	}
}
