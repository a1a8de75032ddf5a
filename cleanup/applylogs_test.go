package cleanup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// ticking calls tick when rows of a plan were read.
type ticking struct {
	jobs.Store
	tick func()
}

func (s ticking) LogRowsByID(ctx context.Context, ids []string) ([]exportops.LogRow, error) {
	defer s.tick()
	return s.Store.LogRowsByID(ctx, ids)
}

// logSteps counts the calls that the apply of a plan of log rows is made of.
type logSteps struct{ steppedStore }

func (s logSteps) LogRowsByID(ctx context.Context, ids []string) (rows []exportops.LogRow, err error) {
	return rows, s.call(func() error {
		rows, err = s.archivesStore.LogRowsByID(ctx, ids)
		return err
	})
}

func (s logSteps) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (d exportops.LogDeletion, err error) {
	return d, s.call(func() error {
		d, err = s.archivesStore.DeleteLogRows(ctx, c, rows, progress)
		return err
	})
}

func (s logSteps) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (p exportops.ClaimPage, err error) {
	return p, s.call(func() error {
		p, err = s.archivesStore.ClaimFiles(ctx, c, r)
		return err
	})
}

func (s logSteps) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) (out []exportops.Settled, err error) {
	return out, s.call(func() error {
		out, err = s.archivesStore.Settle(ctx, c, batch)
		return err
	})
}

func (s logSteps) AdoptArchives(ctx context.Context, c exportops.Checkpoint) (all []exportops.Archive, err error) {
	return all, s.call(func() error {
		all, err = s.archivesStore.AdoptArchives(ctx, c)
		return err
	})
}

func (s logSteps) AddArchiveMembers(ctx context.Context, c exportops.Checkpoint, id int64, m []exportops.ArchiveMember) error {
	return s.call(func() error { return s.archivesStore.AddArchiveMembers(ctx, c, id, m) })
}

func (s logSteps) DeleteArchived(ctx context.Context, c exportops.Checkpoint, id int64, m []exportops.ArchiveMember,
	goes func(exportops.LogRow) bool, progress func(exportops.ArchivedDeletion) (json.RawMessage, error),
) (d exportops.ArchivedDeletion, err error) {
	return d, s.call(func() error {
		d, err = s.archivesStore.DeleteArchived(ctx, c, id, m, goes, progress)
		return err
	})
}

// withFiles adds old rows whose files go before them.
func (a *archives) withFiles() *archives {
	for i := 40; i < 43; i++ {
		url := fmt.Sprintf("f%d", i)
		a.Insert(row{ExportID: id(i), Status: exportops.Expired, URL: url, Size: 7, Timestamp: a.Ago(45 * day)})
		a.Write(url, "content")
	}
	return a
}

// logRunner makes a runner whose calls are steps.
func (a *archives) logRunner(archived bool, s *steps) *jobs.Runner {
	return a.Runner(func(o *jobs.Options) {
		o.Store = logSteps{steppedStore{&archivesStore{o.Store}, s}}
		if archived {
			a.Archiving(a.to)(o)
		}
	})
}

// TestAnApplyOfALogPlanIsInterrupted lets every call fail once, and the process die at
// every call, before it and after it; then the same plan is applied again.
func TestAnApplyOfALogPlanIsInterrupted(t *testing.T) {
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "it is down"}
	stride := 1
	if testing.Short() {
		stride = 5
	}
	for _, archived := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for how, in := range map[string]func() error{
				"fails": func() error { return down }, "dies": func() error { panic(errCrash) },
			} {
				for n, reached := 1, true; reached; n += stride {
					if n > 100 {
						t.Fatal("it does not end")
					}
					t.Run(fmt.Sprintf("%s_at_call_%d_after_%v_archived_%v", how, n, after, archived), func(t *testing.T) {
						a := newArchives(t).withFiles()
						calm := a.logRunner(archived, &steps{left: -1})
						plan := planLogs(t, calm)
						listed := rowsOf(t, plan)
						a.Insert(row{ExportID: id(60), Status: exportops.Failed, Expires: never, Timestamp: a.Ago(50 * day)})
						s := &steps{left: n, after: after, in: in}
						req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)}
						_, err := runOrDie(t, a.logRunner(archived, s), req)
						if err != nil && !errors.Is(err, down) && !strings.Contains(err.Error(), "it is down") {
							t.Errorf("the error is %v", err)
						}
						reached = s.left <= 0
						a.Clock.Advance(time.Minute)
						res := applyLogs(t, calm, plan)
						want(t, "complete", res.Complete, true)
						for _, id := range a.Strings(`SELECT id FROM export_logs`) {
							if listed[id] {
								t.Errorf("row %s is listed, and still there", id)
							}
						}
						want(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), 4)
						want(t, "files", a.Keys(), []string{"live"})
						if how == "dies" || !after { // what was done before an answer was lost is not counted
							want(t, "deleted", a.Count(`SELECT sum(result ->> 'deleted_count') FROM exportops_runs`), int64(len(listed)))
							want(t, "files", a.Count(`SELECT sum(result ->> 'files_deleted' + result ->> 'files_absent') FROM exportops_runs`), 3)
						}
						want(t, "open claims", a.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 0)
						want(t, "unfinished runs", a.Count(`SELECT count(*) FROM exportops_runs WHERE state = 'running'`), 0)
						want(t, "members", a.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
						want(t, "archives left open", a.Count(`SELECT count(*) FROM exportops_archives WHERE state NOT IN ('done', 'abandoned')`), 0)
						if _, times := a.Archived(a.to); archived {
							for id := range listed {
								if times[id] != 1 {
									t.Errorf("row %s is in %d archives", id, times[id])
								}
							}
						}
					})
				}
			}
		}
	}
}

// runOrDie runs a job that may die.
func runOrDie(t testing.TB, r *jobs.Runner, req jobs.Request) (a jobs.Answer, err error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil && p != errCrash { //nolint:errorlint // the very value
			panic(p)
		}
	}()
	return r.Run(t.Context(), req)
}

// happenings are what may happen to the rows of a plan before it is applied, and
// while it is.
var happenings = []string{
	`UPDATE export_logs SET status = 'processing' WHERE export_id = ?`,
	`UPDATE export_logs SET status = 'completed', file_url = 'made/again' WHERE export_id = ?`,
	`UPDATE export_logs SET file_url = 'f50' WHERE export_id = ?`,
	`UPDATE export_logs SET expires_at = '2026-01-01T00:00:00.000Z' WHERE export_id = ?`,
	`UPDATE export_logs SET timestamp = '2025-10-30T00:00:00.000Z' WHERE export_id = ?`,
	`UPDATE export_logs SET user_id = '6e2f1d2f-3c4b-4d5e-9f70-8192a3b4c5d6' WHERE export_id = ?`,
	`UPDATE export_logs SET format = 'csv', file_size = 3 WHERE export_id = ?`,
	`DELETE FROM export_logs WHERE export_id = ?`,
	`UPDATE export_logs SET id = lower(hex(randomblob(16))) WHERE export_id = ?`,
	`UPDATE export_logs SET error_message = 'Another: x' WHERE export_id = ?`,
	"hold", "metric", "row",
}

// TestAPlanDeletesNothingElse draws rows, makes a plan of them, lets things happen
// before and while it is applied, with a crash or without, and looks that every row
// that is gone was listed, and was what the plan saw.
func TestAPlanDeletesNothingElse(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		w := testworld.New(t, outer.TempDir())
		a := &archives{World: w, to: w.Objects()}
		archived := rapid.Bool().Draw(t, "archived")
		rows := rapid.IntRange(1, 12).Draw(t, "rows")
		for n := range rows {
			r := row{
				ExportID: id(n), Expires: never, Timestamp: w.Ago(time.Duration(rapid.IntRange(20, 70).Draw(t, "age")) * day),
				Status: rapid.SampledFrom([]exportops.Status{exportops.Failed, exportops.Failed, exportops.Expired, exportops.Completed, exportops.Queued}).Draw(t, "status"),
			}
			if rapid.Bool().Draw(t, "file") {
				r.URL, r.Size = fmt.Sprintf("f%d", n), 7
				w.Write(r.URL, "content")
			}
			w.Insert(r)
		}
		a.Write("f50", "content")
		plan := planLogs(outer, a.logRunner(archived, &steps{left: -1}))
		listed := rowsOf(outer, plan)
		saw, seenFiles := decisive(w), w.Keys()
		held, next := map[string]bool{}, 100
		happen := func() {
			n := rapid.IntRange(0, rows-1).Draw(t, "to")
			switch what := rapid.SampledFrom(happenings).Draw(t, "happens"); what {
			case "hold":
				// One that comes too late is refused, and so is one on what is gone.
				_, err := w.Store.PlaceHold(t.Context(), holdOn(id(n)), w.Locator)
				if err != nil && !exportops.IsKind(err, exportops.KindConflict) && !exportops.IsKind(err, exportops.KindNotFound) {
					t.Fatalf("place a hold: %v", err)
				}
				for _, row := range w.Strings(`SELECT id FROM export_logs WHERE export_id = '` + id(n) + `'`) {
					held[row] = held[row] || err == nil
				}
			case "metric":
				_, err := w.Store.RecordMetrics(t.Context(), []exportops.Metric{{
					ExportID: id(n), UserID: testworld.User, Format: exportops.CSV, Status: exportops.Failed, Attempt: 2,
					Timestamp: exportops.At(w.Clock.Now().Add(-40 * day)),
				}})
				w.Must(err)
			case "row":
				next++
				w.Insert(row{ExportID: id(next), Status: exportops.Failed, Expires: never, Timestamp: w.Ago(60 * day)})
			default:
				w.Exec(what, id(n))
			}
		}
		// A row that the application deletes is no row that we did.
		taken := map[string]bool{}
		watched := func() {
			before := decisive(w)
			happen()
			after := decisive(w)
			for id, was := range before {
				switch is, there := after[id]; {
				case !there:
					taken[id] = true
				case is != was:
					saw[id] = "another"
				}
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "happenings") {
			watched()
		}
		for range rapid.IntRange(1, 3).Draw(t, "applies") {
			s := &steps{left: rapid.IntRange(1, 25).Draw(t, "call"), after: rapid.Bool().Draw(t, "after it"), in: func() error { watched(); return nil }}
			if rapid.IntRange(0, 2).Draw(t, "it dies") == 0 {
				s.in = func() error { panic(errCrash) }
			}
			before := decisive(w)
			req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(outer, plan)}
			_, err := runOrDie(outer, a.logRunner(archived, s), req)
			w.Must(err)
			w.Clock.Advance(time.Minute)
			after := decisive(w)
			for id, was := range before {
				_, there := after[id]
				if !there && !taken[id] && (!listed[id] || saw[id] != was) {
					t.Fatalf("row %s is gone: listed %v, it was %s, and the plan saw %s", id, listed[id], was, saw[id])
				}
				if !there && !taken[id] && held[id] {
					t.Fatalf("row %s is held, and gone", id)
				}
			}
		}
		for _, key := range seenFiles {
			if !slices.Contains(w.Keys(), key) && !listsFile(outer, plan, key) {
				t.Fatalf("the file %s is gone, and was not listed", key)
			}
		}
		if _, times := a.Archived(a.to); archived {
			there := w.Strings(`SELECT id FROM export_logs`)
			for id := range listed {
				if !taken[id] && !slices.Contains(there, id) && times[id] == 0 && w.Count(`SELECT count(*) FROM exportops_archives
					WHERE state NOT IN ('done', 'abandoned')`) == 0 {
					t.Fatalf("row %s is gone, and in no archive", id)
				}
			}
		}
	})
}

// decisive is what decides about rows, by their ids.
func decisive(w *testworld.World) map[string]string {
	rows := map[string]string{}
	for _, line := range w.Strings(`SELECT id || '|' || quote(export_id) || quote(user_id) || quote(timestamp) || quote(format) || quote(file_size)
		|| quote(status) || quote(file_url) || quote(expires_at) || quote(created_at) FROM export_logs`) {
		id, rest, _ := strings.Cut(line, "|")
		rows[id] = rest
	}
	return rows
}

// listsFile reports whether a plan deletes a file.
func listsFile(t testing.TB, plan []byte, key string) bool {
	t.Helper()
	for e, err := range readPlan(t, plan).LogEntries() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Key == key {
			return true
		}
	}
	return false
}
