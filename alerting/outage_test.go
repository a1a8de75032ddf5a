package alerting_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/internal/testworld"
)

// away is a store that cannot be reached when it is told so.
type away struct {
	alerting.Store
	gone *bool
}

func (a away) OpenIncidents(ctx context.Context) ([]exportops.Incident, error) {
	if *a.gone {
		return nil, errors.New("connection refused")
	}
	return a.Store.OpenIncidents(ctx)
}

// steps says what a world's log has of incidents, and its database: "firing", ...
func steps(t *testing.T, w *testworld.World) (logged, kept []string) {
	t.Helper()
	for _, e := range w.Events.Of(exportops.EventAlert) {
		b, err := json.Marshal(e)
		w.Must(err)
		var said struct {
			Step string `json:"step"`
		}
		w.Must(json.Unmarshal(b, &said))
		logged = append(logged, said.Step)
	}
	all, _, err := w.Store.Incidents(t.Context(), exportops.IncidentFilter{})
	w.Must(err)
	for _, i := range all {
		history, err := w.Store.IncidentHistory(t.Context(), i.ID)
		w.Must(err)
		for _, e := range history {
			kept = append(kept, e.At.Format("15:04:05")+" "+string(e.Step))
		}
	}
	return logged, kept
}

func TestADatabaseThatCannotBeReached(t *testing.T) {
	const rule = "database-unreachable"
	// replicas that lose their database at noon, and find it again when told.
	lose := func(t *testing.T, w *testworld.World, replicas int) (all []*alerting.Service, gone *bool) {
		gone = new(bool)
		for range replicas {
			s := watcher(w, rule)
			s.Store = away{w.Store, gone}
			all = append(all, s)
		}
		*gone = true
		return all, gone
	}
	look := func(t *testing.T, all []*alerting.Service, fails bool) {
		t.Helper()
		for _, s := range all {
			if err := s.Evaluate(t.Context()); (err != nil) != fails {
				t.Fatalf("evaluated: %v", err)
			}
		}
	}
	t.Run("is_logged_once_and_kept_as_it_began", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 1)
		for range 4 {
			look(t, all, true)
			w.Clock.Advance(time.Minute)
		}
		logged, kept := steps(t, w)
		if d := cmp.Diff([]string{"firing"}, logged); d != "" || kept != nil {
			t.Fatalf("kept %q, logged (-want +got):\n%s", kept, d)
		}
		*gone = false
		look(t, all, false)
		wantTold(t, w, rule+"  firing")
		w.Clock.Advance(time.Minute)
		look(t, all, false)
		logged, kept = steps(t, w)
		if d := cmp.Diff([]string{"firing", "resolved"}, logged); d != "" {
			t.Errorf("logged (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]string{"12:00:00 pending", "12:01:00 firing", "12:05:00 resolved"}, kept); d != "" {
			t.Errorf("kept (-want +got):\n%s", d)
		}
	})
	t.Run("is_told_to_channels_when_it_is_over", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 2)
		for _, s := range all {
			s.Audiences = []exportops.Audience{{Channel: "ops"}}
		}
		for range 3 {
			look(t, all, true)
			w.Clock.Advance(time.Minute)
		}
		*gone = false
		for range 2 {
			look(t, all, false)
			w.Clock.Advance(time.Minute)
		}
		page, _, err := w.Store.Notifications(t.Context(), exportops.NotificationFilter{})
		w.Must(err)
		var told []exportops.MessageKind
		for _, n := range page {
			told = append(told, n.Message.Kind)
		}
		if d := cmp.Diff([]exportops.MessageKind{exportops.MessageResolved, exportops.MessageFiring}, told); d != "" {
			t.Errorf("told, the latest first (-want +got):\n%s", d)
		}
	})
	t.Run("of_many_replicas_is_one_incident", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 3)
		for range 3 {
			look(t, all, true)
			w.Clock.Advance(time.Minute)
		}
		*gone = false
		for range 2 { // the third comes back when the incident is over already
			look(t, all[:2], false)
			w.Clock.Advance(time.Minute)
		}
		look(t, all, false)
		w.Clock.Advance(time.Minute)
		look(t, all, false)
		wantTold(t, w, rule+"  resolved")
	})
	t.Run("for_a_moment_is_none", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 1)
		look(t, all, true)
		*gone = false
		w.Clock.Advance(time.Minute)
		look(t, all, false)
		*gone = true
		w.Clock.Advance(time.Minute)
		look(t, all, true) // another moment
		*gone = false
		w.Clock.Advance(time.Minute)
		look(t, all, false)
		wantTold(t, w)
		if n := w.Events.Len(); n != 0 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("twice_is_two_incidents", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 1)
		for range 2 {
			*gone = true
			for range 2 {
				look(t, all, true)
				w.Clock.Advance(time.Minute)
			}
			*gone = false
			for range 2 {
				look(t, all, false)
				w.Clock.Advance(time.Minute)
			}
		}
		wantTold(t, w, rule+"  resolved", rule+"  resolved")
	})
	t.Run("because_whoever_asked_went_away_is_none", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		all, gone := lose(t, w, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			if err := all[0].Evaluate(ctx); err == nil {
				t.Fatal("nothing is wrong")
			}
			w.Clock.Advance(time.Minute)
		}
		*gone = false
		look(t, all, false)
		wantTold(t, w)
	})
}

func TestWhatCannotBeUsed(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	s := watcher(w, "database-unreachable", "storage-unreachable")
	var broken error
	s.Storage = func(context.Context) error { return broken }
	s.Database = func(context.Context) error { return nil }
	w.Must(s.Evaluate(t.Context()))
	wantTold(t, w)
	broken = &exportops.Error{Kind: exportops.KindUnavailable, Message: "the bucket is gone", Err: errors.New("key=hunter2")}
	for range 3 {
		w.Must(s.Evaluate(t.Context()))
		w.Clock.Advance(time.Minute)
	}
	wantTold(t, w, "storage-unreachable  firing")
	open, err := w.Store.OpenIncidents(t.Context())
	w.Must(err)
	if want := "The storage of export files cannot be used: the bucket is gone"; open[0].Message != want {
		t.Errorf("says %q, want %q", open[0].Message, want)
	}
	s.Database = func(context.Context) error { return errors.New("a role lacks SELECT") }
	for range 2 {
		w.Must(s.Evaluate(t.Context()))
		w.Clock.Advance(time.Minute)
	}
	wantTold(t, w, "database-unreachable  firing", "storage-unreachable  firing")
	broken, s.Database = nil, nil
	w.Must(s.Evaluate(t.Context()))
	wantTold(t, w, "database-unreachable  resolved", "storage-unreachable  resolved")
	// A storage that hangs keeps nobody waiting for long.
	s.Storage = func(ctx context.Context) error {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 10*time.Second {
			t.Errorf("may take until %s", end)
		}
		return context.DeadlineExceeded
	}
	w.Must(s.Evaluate(t.Context()))
	wantTold(t, w, "database-unreachable  resolved", "storage-unreachable  resolved", "storage-unreachable  pending")
}

// slow is a store whose backlog takes its time.
type slow struct {
	alerting.Store
	clock *testworld.Clock
	takes time.Duration
	reads int
	err   error
}

func (s *slow) Backlog(context.Context, exportops.BacklogSpan) (exportops.Backlog, error) {
	s.reads++
	s.clock.Advance(s.takes)
	return exportops.Backlog{Missing: int64(s.reads)}, s.err
}

func TestABacklogIsReadForAHundredthOfTheTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		want  int // readings in an hour of looks a minute apart
	}{
		{"each_time_where_it_is_quick", 500 * time.Millisecond, 60},
		{"seldom_where_it_is_slow", 3 * time.Second, 10},
		{"every_ten_minutes_where_it_is_very_slow", time.Minute, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := testworld.New(t, t.TempDir())
			s := watcher(w, "overdue-files", "stored-files", "quarantined-files", "stuck-exports", "missing-files", "archive-faults")
			store := &slow{Store: w.Store, clock: w.Clock, takes: c.takes}
			s.Store = store
			for range 60 {
				before := w.Clock.Now()
				w.Must(s.Evaluate(t.Context()))
				w.Clock.Advance(before.Add(time.Minute).Sub(w.Clock.Now()))
			}
			if store.reads < c.want-1 || store.reads > c.want {
				t.Errorf("read %d times, want %d", store.reads, c.want)
			}
		})
	}
	t.Run("and_so_is_one_that_fails", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := watcher(w, "missing-files")
		store := &slow{Store: w.Store, clock: w.Clock, takes: 15 * time.Second, err: errors.New("it took too long")}
		s.Store = store
		for range 5 {
			if err := s.Evaluate(t.Context()); err == nil || !strings.Contains(err.Error(), "rule missing-files: it took too long") {
				t.Fatalf("said %v", err)
			}
			w.Clock.Advance(time.Minute)
		}
		if store.reads != 1 {
			t.Errorf("read %d times", store.reads)
		}
	})
}
