package storetest

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testAlerts(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("an_incident_and_what_happened_to_it", func(t *testing.T) { incidentLife(t, open(t)) })
	t.Run("of_many_replicas_one_opens_it", func(t *testing.T) { incidentRace(t, open(t)) })
	t.Run("lists", func(t *testing.T) { incidentLists(t, open(t)) })
	t.Run("silences", func(t *testing.T) { silences(t, open(t)) })
	t.Run("are_forgotten_when_they_are_over", func(t *testing.T) { forgetAlerts(t, open(t)) })
	t.Run("backlog", func(t *testing.T) { backlog(t, open(t)) })
	t.Run("expiring", func(t *testing.T) { expiring(t, open(t)) })
	t.Run("faulty_archives", func(t *testing.T) { faultyArchives(t, open(t)) })
}

func incident(rule, subject string) exportops.Incident {
	return exportops.Incident{
		ID: exportops.NewID(), Rule: rule, Kind: exportops.AlertFailureRate, Subject: subject, Severity: exportops.SeverityHigh,
		State: exportops.IncidentPending, Value: 0.25, Worst: 0.5, Threshold: 0.1, Sample: 20, Message: "zu viele \"Fehler\"", StartedAt: noon, SeenAt: noon,
	}
}

func step(i exportops.Incident, s exportops.IncidentStep, at exportops.Time) exportops.IncidentEvent {
	return exportops.IncidentEvent{IncidentID: i.ID, At: at, Step: s, Value: i.Value, By: "me", Note: "n"}
}

func save(t *testing.T, f Fixture, i exportops.Incident, want bool, events ...exportops.IncidentEvent) {
	t.Helper()
	saved, err := f.Store.SaveIncident(t.Context(), i, events, nil)
	must(t, err)
	if saved != want {
		t.Fatalf("saved is %v, want %v", saved, want)
	}
}

func incidentLife(t *testing.T, f Fixture) {
	i := incident("failure-rate", "")
	first := step(i, exportops.StepPending, noon)
	save(t, f, i, true, first)
	i.Version = 1
	if got, err := f.Store.Incident(t.Context(), i.ID); err != nil || !cmp.Equal(i, got) {
		t.Fatalf("is %+v, %v", got, err)
	}
	later := after(noon, time.Minute)
	i.State, i.FiredAt, i.AcknowledgedAt, i.AcknowledgedBy = exportops.IncidentFiring, &later, &later, "me"
	second := step(i, exportops.StepFiring, later)
	save(t, f, i, true, second)
	save(t, f, i, false, step(i, exportops.StepReminder, later)) // of the version before
	i.Version = 2
	open, err := f.Store.OpenIncidents(t.Context())
	must(t, err)
	if d := cmp.Diff([]exportops.Incident{i}, open); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	save(t, f, incident("failure-rate", ""), false) // it is open already
	i.State, i.ResolvedAt = exportops.IncidentResolved, &later
	third := step(i, exportops.StepResolved, later)
	save(t, f, i, true, third)
	if open, err = f.Store.OpenIncidents(t.Context()); err != nil || len(open) != 0 {
		t.Fatalf("open are %+v, %v", open, err)
	}
	save(t, f, incident("failure-rate", ""), true)
	history, err := f.Store.IncidentHistory(t.Context(), i.ID)
	must(t, err)
	if d := cmp.Diff([]exportops.IncidentEvent{first, second, third}, history); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	for _, id := range []string{exportops.NewID(), "no id"} {
		_, err = f.Store.Incident(t.Context(), id)
		wantKind(t, err, exportops.KindNotFound, "id")
	}
}

func incidentRace(t *testing.T, f Fixture) {
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		all.Go(func() {
			i := incident("volume", "x")
			saved, err := f.Store.SaveIncident(t.Context(), i, []exportops.IncidentEvent{step(i, exportops.StepPending, noon)}, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if saved {
				won++
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Fatalf("%d opened it", won)
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_incident_events`); n != 1 {
		t.Fatalf("%d events of one", n)
	}
}

func incidentLists(t *testing.T, f Fixture) {
	var all []exportops.Incident
	for n, rule := range []string{"a", "b", "c", "a"} {
		i := incident(rule, string(rune('p'+n)))
		if n > 1 {
			at := noon
			i.State, i.FiredAt = exportops.IncidentFiring, &at
		}
		if n == 2 {
			at := noon
			i.State, i.ResolvedAt = exportops.IncidentResolved, &at
		}
		save(t, f, i, true)
		i.Version = 1
		all = append([]exportops.Incident{i}, all...)
	}
	for name, c := range map[string]struct {
		filter exportops.IncidentFilter
		want   []exportops.Incident
	}{
		"all":   {exportops.IncidentFilter{}, all},
		"rule":  {exportops.IncidentFilter{Rule: "a"}, []exportops.Incident{all[0], all[3]}},
		"open":  {exportops.IncidentFilter{Open: true}, []exportops.Incident{all[0], all[2], all[3]}},
		"fired": {exportops.IncidentFilter{Fired: true}, []exportops.Incident{all[0], all[1]}},
	} {
		got, next, err := f.Store.Incidents(t.Context(), c.filter)
		if d := cmp.Diff(c.want, got); d != "" || err != nil || next != "" {
			t.Errorf("%s: %v, %q (-want +got):\n%s", name, err, next, d)
		}
	}
	var got []exportops.Incident
	filter := exportops.IncidentFilter{Limit: 3}
	for {
		page, next, err := f.Store.Incidents(t.Context(), filter)
		must(t, err)
		if got = append(got, page...); next == "" {
			break
		}
		filter.Before = next
	}
	if d := cmp.Diff(all, got); d != "" {
		t.Errorf("in pages (-want +got):\n%s", d)
	}
	_, _, err := f.Store.Incidents(t.Context(), exportops.IncidentFilter{Before: "x"})
	wantKind(t, err, exportops.KindInvalid, "cursor")
}

func silences(t *testing.T, f Fixture) {
	hour := after(noon, time.Hour)
	s := exportops.Silence{Rule: "volume", Until: hour, Reason: "a load test", PlacedBy: "me", PlacedAt: noon}
	s, err := f.Store.PlaceSilence(t.Context(), s)
	must(t, err)
	list := func(at exportops.Time, want ...exportops.Silence) {
		t.Helper()
		got, err := f.Store.Silences(t.Context(), at)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
	list(noon, s)
	list(hour)
	soon := after(noon, time.Minute)
	for range 2 { // the second changes nothing
		ended, err := f.Store.EndSilence(t.Context(), s.ID, "you", soon)
		must(t, err)
		if ended.EndedAt == nil || *ended.EndedAt != soon || ended.EndedBy != "you" {
			t.Fatalf("ended is %+v", ended)
		}
		if ended.Covers(exportops.Incident{Rule: "volume"}, noon) {
			t.Fatal("what has ended silences")
		}
	}
	list(soon)
	_, err = f.Store.EndSilence(t.Context(), s.ID+7, "you", soon)
	wantKind(t, err, exportops.KindNotFound, "id")
}

func forgetAlerts(t *testing.T, f Fixture) {
	for n := range 3 {
		i, at := incident("a", string(rune('p'+n))), after(noon, time.Duration(n)*time.Hour)
		if n < 2 {
			i.State, i.ResolvedAt = exportops.IncidentResolved, &at
		}
		save(t, f, i, true, step(i, exportops.StepPending, noon), step(i, exportops.StepResolved, at))
	}
	_, err := f.Store.PlaceSilence(t.Context(), exportops.Silence{Until: noon, Reason: "r", PlacedBy: "p", PlacedAt: noon})
	must(t, err)
	cp := heldRun(t, f, noon)
	for _, c := range []struct {
		before exportops.Time
		want   int64
	}{{noon, 0}, {after(noon, time.Second), 4}, {after(noon, time.Second), 0}} {
		if n, err := f.Store.ForgetAlerts(t.Context(), cp, c.before, 9); err != nil || n != c.want {
			t.Fatalf("%d were forgotten (%v), want %d", n, err, c.want)
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_incidents`); n != 2 {
		t.Fatalf("%d incidents are left", n)
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_incident_events`); n != 4 {
		t.Fatalf("%d events are left", n)
	}
	_, err = f.Store.ForgetAlerts(t.Context(), exportops.Checkpoint{Now: noon}, noon, 1)
	wantFenced(t, "a stranger", err)
}

func backlog(t *testing.T, f Fixture) {
	span := exportops.BacklogSpan{Now: noon, Stuck: after(noon, -time.Hour)}
	read := func(want exportops.Backlog) {
		t.Helper()
		got, err := f.Store.Backlog(t.Context(), span)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
	read(exportops.Backlog{})
	early, held := after(noon, -30*time.Hour), exportops.NewID()
	f.Insert(t,
		due(early), due(after(noon, -29*time.Hour)),
		due(after(noon, -40*time.Hour), func(r *Row) { r.UserID = held }),
		due(after(noon, time.Hour)),
		due(after(noon, -50*time.Hour), func(r *Row) { r.Status = string(exportops.Expired) }),
		due(noon, func(r *Row) {
			long := after(noon, -2*time.Hour).String()
			r.Status, r.Timestamp, r.UpdatedAt = string(exportops.Processing), long, long
		}),
		due(noon, func(r *Row) {
			r.Status, r.Timestamp, r.UpdatedAt = string(exportops.Queued), after(noon, -2*time.Hour).String(), after(noon, -time.Minute).String()
		}),
	)
	if !f.Typed { // an expiry that cannot be read means never, and hides none that is over
		for _, text := range []string{"0000-01-01T00:00:00.000Z", "2025-02-31T00:00:00.000Z", "2025-01-01 then Z"} {
			f.Insert(t, due(noon, func(r *Row) { r.ExpiresAt, r.CreatedAt = &text, "0000-01-01T00:00:00.000Z" }))
		}
	}
	place(t, f, exportops.HoldUser, held)
	size := f.Count(t, `SELECT coalesce(sum(file_size), 0) FROM {logs} WHERE status = 'completed'`)
	read(exportops.Backlog{OldestOverdue: &early, Stuck: 1, StoredBytes: size})
	place(t, f, exportops.HoldAll, "")
	read(exportops.Backlog{Stuck: 1, StoredBytes: size})
	// What rows say of their sizes is as users wrote it.
	huge := func(r *Row) { r.FileSize = ptr(int64(math.MaxInt64)) }
	f.Insert(t, due(after(noon, time.Hour), huge), due(after(noon, time.Hour), huge))
	read(exportops.Backlog{Stuck: 1, StoredBytes: math.MaxInt64})
}

func expiring(t *testing.T, f Fixture) {
	f.Insert(t,
		due(after(noon, -time.Millisecond)), due(noon), due(after(noon, time.Minute)), due(after(noon, time.Hour)),
		due(after(noon, time.Minute), func(r *Row) { r.Status = string(exportops.Failed) }),
		due(after(noon, time.Minute), func(r *Row) { r.FileURL = ptr("") }),
	)
	n, err := f.Store.Expiring(t.Context(), exportops.Span{From: noon, To: after(noon, time.Hour)})
	if must(t, err); n != 2 {
		t.Fatalf("%d expire within the hour, want 2", n)
	}
}

// faultyArchives counts archives by what verifications and log cleanups found.
func faultyArchives(t *testing.T, f Fixture) {
	old := make([]Row, 3)
	for n := range old {
		old[n] = Row{Status: "failed"}.Complete(after(noon, -time.Hour))
	}
	f.Insert(t, old...)
	fence := heldRun(t, f, noon).Fence
	count := func(what string, want int64) {
		t.Helper()
		got, err := f.Store.Backlog(t.Context(), exportops.BacklogSpan{Now: noon, Stuck: noon})
		must(t, err)
		if got.FaultyArchives != want {
			t.Fatalf("%s: %d are faulty, want %d", what, got.FaultyArchives, want)
		}
	}
	mark := func(id int64, fault string) {
		t.Helper()
		must(t, f.Store.MarkArchive(t.Context(), id, fault))
	}
	moveFor := func(id int64, to exportops.ArchiveState, why string) {
		t.Helper()
		_, err := f.Store.MoveArchive(t.Context(), check(fence, noon), id, to, why)
		must(t, err)
	}
	begun := func(row Row, to ...exportops.ArchiveState) exportops.Archive {
		t.Helper()
		a := intend(t, f, fence, 1)
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, membersOf(t, f, row.ID)))
		move(t, f, fence, a.ID, to...)
		return a
	}
	count("without any", 0)
	first := begun(old[0], exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting)
	count("a good one", 0)
	mark(first.ID, "its SHA-256 is not what it was")
	if got := archiveOf(t, f, first.ID).Error; got != "its SHA-256 is not what it was" {
		t.Fatalf("kept is %q", got)
	}
	count("one that a verification found fault with", 1)
	mark(first.ID, "")
	count("one that is good again", 0)
	moveFor(first.ID, exportops.ArchiveDeleting, "it was cut off")
	count("one that a log cleanup found fault with while its rows go", 1)
	moveFor(first.ID, exportops.ArchiveDeleting, "")
	count("one that it found good again", 0)

	gone := begun(old[1]) // its process died before storage had it
	mark(gone.ID, "nothing relies on it")
	moveFor(gone.ID, exportops.ArchiveAbandoned, "there is no such object")
	count("one that never came to be", 0)
	mark(gone.ID, "")
	if got := archiveOf(t, f, gone.ID).Error; got != "there is no such object" {
		t.Fatalf("of one that is given up %q is kept", got)
	}
	bad := begun(old[1], exportops.ArchiveWritten)
	count("one that nobody has read back yet", 0)
	moveFor(bad.ID, exportops.ArchiveAbandoned, "its row 0 is not what was archived")
	count("one that was given up when it was read back", 1)
	next := begun(old[1], exportops.ArchiveWritten)
	count("while its rows are archived again", 1)
	move(t, f, fence, next.ID, exportops.ArchiveVerified)
	count("when they are", 0)
}
