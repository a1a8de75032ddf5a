package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

// openAt opens a program whose clock begins at a time.
func openAt(t *testing.T, c config.Config, at time.Time) *server {
	t.Helper()
	s := &server{t: t, log: &logBuffer{}, http: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	began := time.Now()
	var err error
	s.App, err = app.New(t.Context(), c, app.Options{
		Events: io.Discard, Log: slog.New(slog.NewTextHandler(s.log, nil)), Migrate: true, Create: true,
		Now: func() time.Time { return at.Add(time.Since(began)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wrote puts the row of a finished export into the application's table.
func (s *server) wrote(at time.Time) {
	s.t.Helper()
	when := exportops.At(at)
	_, err := writer(s.Store).ExecContext(s.t.Context(), `INSERT INTO export_logs
		(export_id, user_id, timestamp, format, config, conversation_count, file_size, status, created_at, updated_at)
		VALUES (?, ?, ?, 'csv', '{}', 1, 1, 'completed', ?, ?)`,
		exportops.NewID(), exportops.NewID(), when.String(), when.String(), exportops.At(at.Add(time.Second)).String())
	if err != nil {
		s.t.Fatal(err)
	}
}

// A server that was down for three slots shows them, catches up once, raises one
// alert, and has summed up every hour that is over, those that it was down in, too.
func TestThreeSlotsThatPassedWhileNothingRan(t *testing.T) {
	c := settings(t, nil)
	// Less than a day ago: the job engine goes by SQLite's clock here and there.
	first := time.Now().UTC().Truncate(time.Hour).Add(-8 * time.Hour)
	clock := func(hour, minute int) time.Time {
		return first.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	hour := func(at exportops.Time) int { return int(at.Sub(first) / time.Hour) }
	before := openAt(t, c, clock(0, 30))
	before.serve()
	before.wrote(clock(0, 10))
	before.stops(stopSoon)
	before.close()

	s := openAt(t, c, clock(3, 40))
	defer s.close()
	for _, at := range []time.Time{clock(0, 40), clock(1, 20), clock(1, 21), clock(3, 5)} { // as the application did meanwhile
		s.wrote(at)
	}
	slots := func() (all []string) {
		runs, _, err := s.Store.Runs(t.Context(), exportops.RunFilter{Job: exportops.MetricsAggregate, Limit: exportops.MaxPage})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if r.Slot != nil {
				all = append([]string{fmt.Sprintf("%dh %s %s", hour(*r.Slot), r.State, r.Trigger)}, all...)
			}
		}
		return all
	}
	want := []string{"1h missed schedule", "2h missed schedule", "3h done catch_up"}
	s.serve()
	wait(t, "the slots that were missed to be dealt with", func() bool { return cmp.Equal(want, slots()) })
	alerts := func() (all []string) {
		incidents, _, err := s.Store.Incidents(t.Context(), exportops.IncidentFilter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range incidents {
			all = append(all, fmt.Sprintf("%s %s %s %v", i.Rule, i.Subject, i.State, i.Value))
		}
		return all
	}
	for range 2 {
		if d := cmp.Diff([]string{"missed-runs metrics-aggregate firing 2"}, alerts()); d != "" {
			t.Errorf("alerts (-want +got):\n%s", d)
		}
		if err := s.Alerts.Evaluate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	hours, err := s.Store.HourStates(t.Context(), exportops.Span{From: exportops.At(clock(0, 0)), To: exportops.At(clock(3, 0))})
	if err != nil {
		t.Fatal(err)
	}
	closed := map[int]bool{}
	for _, h := range hours {
		closed[hour(h.Start)] = h.Clean
	}
	if d := cmp.Diff(map[int]bool{0: true, 1: true, 2: true}, closed); d != "" {
		t.Errorf("hours that are summed up (-want +got):\n%s", d)
	}
	counted := map[int]int64{}
	for cell, err := range s.Store.Cells(t.Context(), exportops.Hourly, exportops.Span{From: exportops.At(clock(0, 0)), To: exportops.At(clock(4, 0))}) {
		if err != nil {
			t.Fatal(err)
		}
		counted[hour(cell.Start)] += cell.Completed
	}
	if d := cmp.Diff(map[int]int64{0: 2, 1: 2}, counted); d != "" {
		t.Errorf("exports in them (-want +got):\n%s", d)
	}
	s.stops(stopSoon)
	if d := cmp.Diff(want, slots()); d != "" {
		t.Errorf("slots at the end (-want +got):\n%s", d)
	}

	// Two hours after it was found, it is over.
	after := openAt(t, c, clock(5, 50))
	defer after.close()
	if err := after.Alerts.Evaluate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"missed-runs metrics-aggregate resolved 0"}, alerts()); d != "" {
		t.Errorf("alerts (-want +got):\n%s", d)
	}
}
