package jobs_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// pulse keeps what it is told of runs, in short.
type pulse struct {
	mu  sync.Mutex
	all []string
}

func (p *pulse) Began(run exportops.Run) { p.keep("%s begins", run.Job) }

func (p *pulse) Ended(run exportops.Run, figures string) {
	p.keep("%s %s: %s; %s", run.Job, run.State, figures, run.Error)
}

func (p *pulse) keep(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, fmt.Sprintf(format, args...))
}

func (p *pulse) heard(t *testing.T, what string, all ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	want(t, what, append([]string{}, p.all...), append([]string{}, all...))
	p.all = nil
}

func TestHeartbeatsOfRuns(t *testing.T) {
	p := &pulse{}
	with := func(o *jobs.Options) { o.Heartbeats = p }
	t.Run("begin_and_end", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 2)
		run(t, w.Runner(with), filesBy(exportops.BySchedule))
		p.heard(t, "files", "file-cleanup begins", "file-cleanup done: 2 files found, 2 deleted, 0 already absent, 0 failed, 14 bytes freed; ")
		run(t, w.Runner(with), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCommand})
		p.heard(t, "metrics", "metrics-aggregate begins", "metrics-aggregate done: 1 hours closed, 0 exports observed; ")
	})
	t.Run("tell_of_a_failure", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 2)
		w.Files.Fail = map[string]error{"f1": errors.New("it is locked")}
		run(t, w.Runner(with), filesBy(exportops.ByCron))
		p.heard(t, "a file that stayed", "file-cleanup begins",
			"file-cleanup failed: 2 files found, 1 deleted, 0 already absent, 1 failed, 7 bytes freed; 1 of 2 files could not be deleted")
		w.Files.Before = func([]string) error { return errors.New("the disk is away") }
		if _, err := w.Runner(with).Run(t.Context(), filesBy(exportops.ByCron)); err == nil {
			t.Error("it did not fail")
		}
		if len(p.all) != 2 || !strings.HasSuffix(p.all[1], "; delete files: the disk is away") {
			t.Errorf("heard %q", p.all)
		}
		p.all = nil
	})
	t.Run("tell_of_an_end_that_cannot_be_recorded", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		_, err := w.Runner(with, func(o *jobs.Options) { o.Store = &dying{Store: w.Store, atFinish: true} }).Run(t.Context(), filesBy(exportops.ByCron))
		if !errors.Is(err, errDied) {
			t.Errorf("got %v", err)
		}
		p.heard(t, "the end", "file-cleanup begins", "file-cleanup failed: 1 files found, 1 deleted, 0 already absent, 0 failed, 7 bytes freed; the process has died")
	})
	t.Run("tell_of_a_refusal", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001)
		_, err := w.Runner(with).Run(t.Context(), filesBy(exportops.ByCron))
		wantKind(t, err, exportops.KindRefused)
		if len(p.all) != 2 || !strings.HasPrefix(p.all[1], "file-cleanup refused: ") {
			t.Errorf("heard %q", p.all)
		}
		p.all = nil
	})
	t.Run("not_of_a_dry_run_nor_of_a_request_that_is_wrong", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		run(t, w.Runner(with), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand, DryRun: true})
		none := 0
		if _, err := w.Runner(with).Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, RetentionHours: &none}); err == nil {
			t.Error("it was accepted")
		}
		p.heard(t, "nothing")
	})
	t.Run("once_of_a_run_that_others_join", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		r := w.Runner(with)
		first, goOn := blocked(t, w, r, filesBy(exportops.ByCron), 1)
		other := &pulse{}
		joined := make(chan answer, 1)
		go func() {
			req := filesBy(exportops.ByCron)
			req.IdempotencyKey = "joins"
			a, err := w.Runner(func(o *jobs.Options) { o.Heartbeats = other }).Run(t.Context(), req)
			joined <- answer{a, err}
		}()
		poll(t, func() bool { return w.Count(`SELECT count(*) FROM exportops_run_keys`) == 1 })
		p.heard(t, "the holder, so far", "file-cleanup begins")
		goOn()
		if a := <-first; a.err != nil {
			t.Error(a.err)
		}
		if a := <-joined; a.err != nil || a.Beginning != exportops.Joined {
			t.Errorf("the other call: %+v", a)
		}
		other.heard(t, "who joined")
		p.heard(t, "the holder", "file-cleanup done: 1 files found, 1 deleted, 0 already absent, 0 failed, 7 bytes freed; ")
	})
	t.Run("of_who_takes_over_and_not_of_who_was_fenced", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		first, goOn := blocked(t, w, w.Runner(with), filesBy(exportops.ByCron), 1)
		p.heard(t, "the first, so far", "file-cleanup begins")
		w.Clock.Advance(exportops.LeaseLength + time.Second)
		second := &pulse{}
		run(t, w.Runner(func(o *jobs.Options) { o.Heartbeats = second }), filesBy(exportops.ByCron))
		goOn()
		if a := <-first; !errors.Is(a.err, exportops.ErrFenced) {
			t.Errorf("the first ends with %v", a.err)
		}
		p.heard(t, "the first")
		if len(second.all) != 2 || second.all[0] != "file-cleanup begins" || !strings.HasPrefix(second.all[1], "file-cleanup done: ") {
			t.Errorf("of the second: %q", second.all)
		}
	})
}
