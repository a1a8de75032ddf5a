package cleanup_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// locked is a store where somebody else holds some rows while a page is claimed, and
// for so many looks after that.
type locked struct {
	jobs.Store
	rows   map[string]int
	busy   int             // in all
	named  int             // exports that were asked for by name
	passed func(total int) // is told of all after a page; may be nil
}

func (l *locked) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (exportops.ClaimPage, error) {
	var busy []string
	decide := r.Decide
	r.Decide = func(page, others []exportops.Candidate) []exportops.Decision {
		out := decide(page, others)
		for i, c := range page {
			if l.rows[c.ExportID] > 0 {
				l.rows[c.ExportID]--
				out[i] = exportops.Decision{Verdict: exportops.PassOver}
				busy = append(busy, c.ExportID)
			}
		}
		return out
	}
	page, err := l.Store.ClaimFiles(ctx, c, r)
	page.Busy = busy
	l.busy += len(busy)
	l.named += len(r.ExportIDs)
	if l.passed != nil {
		l.passed(l.busy)
	}
	return page, err
}

// A row that another process of the run held while the drain came past, and left as it
// was, is dealt with at the end; one that is held even then is counted.
func TestRowsThatOthersHold(t *testing.T) {
	w := newWorld(t)
	expired(w, 5)
	w.Insert(row{ExportID: id(6)}) // which has no file
	store := &locked{Store: w.Store, rows: map[string]int{id(2): 1, id(4): 2, id(6): 1}}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 6 deleted 4 no_file 1 in_flight 1 updated 5")
	want(t, "complete", a.Result.Files.Complete, true)
	wantKeys(t, w, "f4")
	want(t, "the next one", counts(clean(t, w)), "found 1 deleted 1 updated 1")
}

// Of a great many such rows those are forgotten that have been dealt with since.
func TestManyRowsThatOthersHold(t *testing.T) {
	w := newWorld(t)
	w.Write("f", "the root is not empty")
	const n, byOthers = 5200, 4900
	rows := make([]row, n)
	store := &locked{Store: w.Store, rows: map[string]int{}}
	for i := range rows {
		rows[i] = row{ExportID: id(i), URL: fmt.Sprintf("gone/%d", i)}
		store.rows[id(i)] = 1
	}
	w.Insert(rows...)
	store.passed = func(total int) {
		if total >= 5000 {
			w.Exec(`UPDATE export_logs SET status = 'expired' WHERE export_id < ?`, id(byOthers))
		}
	}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), fmt.Sprintf("found %d absent %[1]d updated %[1]d", n-byOthers))
	want(t, "looked at by name", store.named, n-byOthers)
}

// What was given back, as the run was to stop, and has been dealt with by somebody else
// since, is not left.
func TestRowsThatWereGivenBack(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	ctx, cancel := context.WithCancel(t.Context())
	w.Files.Before = w.Ahead([]int64{20}, cancel)
	store := &testworld.Unclaiming{Store: w.Store, Gave: func() {
		w.Exec(`UPDATE export_logs SET status = 'expired' WHERE export_id IN (?, ?)`, id(11), id(20))
	}}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(ctx, jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 28 deleted 10 remaining 18 updated 10")
	want(t, "state", a.Run.State, exportops.RunPartial)
	want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 0)
}

// A run that gave its last page back is not at its end, that of a plan neither.
func TestTheLastPageIsGivenBack(t *testing.T) {
	for name, plan := range map[string]bool{"of all that is due": false, "of a plan": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 15)
			w.Files.Batch = 10
			req := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand}
			if plan {
				applying(t, planned(t, w))(&req)
			}
			ctx, cancel := context.WithCancel(t.Context())
			w.Files.Before = w.Ahead([]int64{15}, cancel)
			a, err := w.Runner().Run(ctx, req)
			w.Must(err)
			want(t, "result", counts(*a.Result.Files), "found 15 deleted 10 remaining 5 updated 10")
			want(t, "complete", a.Result.Files.Complete, false)
			w.Files.Before = nil
			want(t, "the rest", counts(clean(t, w)), "found 5 deleted 5 updated 5")
		})
	}
}

func TestABudgetThatEndsWithRowsThatOthersHold(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	store := &locked{Store: w.Store, rows: map[string]int{id(1): 1, id(2): 1, id(3): 1}}
	store.passed = func(int) {
		w.Exec(`UPDATE export_logs SET status = 'expired' WHERE export_id = ?`, id(1))
		w.Clock.Advance(2 * time.Second)
	}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(t.Context(), jobs.Request{
		Job: exportops.FileCleanup, Trigger: exportops.ByCron, Budget: time.Second,
	})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 2 remaining 2")
	want(t, "complete", a.Result.Files.Complete, false)
}
