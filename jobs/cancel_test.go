package jobs_test

import (
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

func TestACancelledRun(t *testing.T) {
	t.Run("stops_before_its_next_batch", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3*20) // a batch is 20 at least
		w.Files.Batch = 20
		first, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 40)
		active, err := w.Store.ActiveRuns(t.Context())
		w.Must(err)
		// Another process asks.
		_, err = w.OpenStore().CancelRun(t.Context(), active[0].ID, "cli:me", w.Clock.At())
		w.Must(err)
		goOn()
		a := <-first
		w.Must(a.err)
		res := a.Result.Files
		if a.Run.State != exportops.RunPartial || a.Run.Error != "cancelled by cli:me" || a.Failure != "" || a.Pending {
			t.Errorf("the run ended as %+v", a.Answer)
		}
		if res.Complete || res.DeletedCount != 20 || res.Remaining != 40 {
			t.Errorf("result %+v", res)
		}
		want(t, "events of its end", len(w.Events.Of(exportops.EventFileCleanupComplete)), 1)
		// What is left is the next run's.
		b := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "the next run deletes", b.Result.Files.DeletedCount, 40)
		want(t, "which is another", b.Run.ID != a.Run.ID, true)
	})
	t.Run("says_what_failed_too", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(99), URL: "../elsewhere"}) // the first of all
		expired(w, 40)
		w.Files.Batch = 20
		first, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 39)
		active, err := w.Store.ActiveRuns(t.Context())
		w.Must(err)
		_, err = w.Store.CancelRun(t.Context(), active[0].ID, "cli:me", w.Clock.At())
		w.Must(err)
		goOn()
		a := <-first
		w.Must(a.err)
		if a.Run.State != exportops.RunFailed || a.Failure == "" || a.Run.Error != a.Failure+"; cancelled by cli:me" {
			t.Errorf("the run ended as %+v: %q", a.Run.State, a.Run.Error)
		}
	})
	t.Run("is_left_by_its_workers", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 60)
		w.Files.Batch = 20
		first, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 40)
		active, err := w.Store.ActiveRuns(t.Context())
		w.Must(err)
		_, err = w.Store.CancelRun(t.Context(), active[0].ID, "cli:me", w.Clock.At())
		w.Must(err)
		helper := w.Runner(func(o *jobs.Options) { o.Holder = "helper" })
		w.Must(helper.Help(t.Context(), active[0]))
		goOn()
		a := <-first
		w.Must(a.err)
		want(t, "deleted, by the holder alone", a.Result.Files.DeletedCount, 20)
	})
}

// What a run did is linked at its end, and an aggregation links what was left.
func TestTheLedgerIsLinked(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	run(t, w.Runner(), filesBy(exportops.ByCron))
	check := func(links int64) {
		t.Helper()
		r, err := exportops.VerifyChain(t.Context(), w.Store, 0, w.Clock.At())
		w.Must(err)
		if len(r.Breaks) > 0 || r.Links != links || r.Unchained != 0 {
			t.Errorf("%+v, want %d links", r, links)
		}
	}
	check(3)
	want(t, "events", len(w.Events.Of(exportops.EventLedgerLinked)), 1)
	_, err := w.Store.Writer().Exec(`UPDATE exportops_deletions SET chain_day = NULL, chain_seq = NULL; DELETE FROM exportops_deletion_days`)
	w.Must(err)
	run(t, w.Runner(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCron})
	check(3)
}
