package scheduler_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/scheduler"
)

// within is how soon another process goes on with what one has left.
const within = 30 * time.Second

var (
	filesEveryHour  = map[exportops.Job]string{exportops.FileCleanup: "0 * * * *"}
	filesEveryOther = map[exportops.Job]string{exportops.FileCleanup: "*/2 * * * *"}
)

func TestStop(t *testing.T) {
	at(t, "releases_the_run_for_another_process", func(t *testing.T, w *world) {
		a, b := w.process(), w.process()
		a.files.delay = time.Second
		a.expired(300)
		until(0, 58)
		a.start(filesEveryHour)
		until(1, 1)
		b.start(nil)
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		run := b.runs(exportops.FileCleanup)[0]
		if run.State != exportops.RunRunning || !run.Abandoned(exportops.At(time.Now())) {
			t.Errorf("the run is %s, held until %s", run.State, run.LeaseUntil)
		}
		time.Sleep(within)
		run = b.runs(exportops.FileCleanup)[0]
		if run.State != exportops.RunDone || run.Takeovers != 1 {
			t.Errorf("the run is %s after %d takeovers", run.State, run.Takeovers)
		}
		var result exportops.FileCleanupResult
		if err := json.Unmarshal(run.Result, &result); err != nil || result.DeletedCount != 300 || !result.Complete {
			t.Errorf("%s, %v", run.Result, err)
		}
		b.stop()
		if said := append(a.log.lines(""), b.log.lines("ERROR")...); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
	})
	at(t, "ends_a_run_that_was_taken_over", func(t *testing.T, w *world) {
		w.dies(jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron}, 0)
		p := w.process()
		p.files.delay = time.Second
		p.expired(300)
		p.start(filesEveryHour)
		time.Sleep(within + 5*time.Second)
		began := time.Now()
		p.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s to stop", took)
		}
	})
	at(t, "says_nothing", func(t *testing.T, w *world) {
		for _, after := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 12 * time.Second, time.Minute} {
			p := w.process()
			p.start(map[exportops.Job]string{exportops.FileCleanup: "* * * * *", exportops.MetricsAggregate: "* * * * *"})
			time.Sleep(after)
			p.stop()
			if said := p.log.lines(""); len(said) > 0 {
				t.Errorf("after %s: %q", after, said)
			}
		}
	})
}

// dies begins a run and leaves it as a process does that is killed.
func (w *world) dies(r jobs.Request, lanes int) string {
	w.t.Helper()
	p := w.process()
	defer p.close()
	lane, params := string(r.Job), map[string]any{}
	if r.Job == exportops.UserLogCleanup {
		lane, params["user"] = fmt.Sprintf("%s:%d", r.Job, lanes), "a digest"
	}
	if r.RetentionHours != nil {
		params["retention_hours"] = *r.RetentionHours
	}
	text, err := json.Marshal(params)
	if err != nil {
		w.t.Fatal(err)
	}
	run, _, _, err := p.store.BeginRun(w.t.Context(), exportops.RunRequest{
		Job: r.Job, Lane: lane, Params: text, Trigger: r.Trigger, Slot: r.Slot, Holder: "dead",
		Now: exportops.At(time.Now()), Lease: exportops.LeaseLength,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return run.ID
}

func TestARunWhoseProcessDied(t *testing.T) {
	slot := exportops.At(time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC))
	hours := 5
	for _, tc := range []struct {
		name string
		run  jobs.Request
		want exportops.RunState
	}{
		{"of_a_schedule_goes_on", jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.BySchedule, Slot: &slot}, exportops.RunDone},
		{"of_a_catch_up_goes_on", jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCatchUp, Slot: &slot}, exportops.RunDone},
		{"of_a_cron_call_goes_on", jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCron}, exportops.RunDone},
		{"goes_on_with_its_parameters", jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, RetentionHours: &hours}, exportops.RunDone},
		{"of_a_command_has_failed", jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand}, exportops.RunFailed},
		{"of_the_api_has_failed", jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByAPI}, exportops.RunFailed},
		{"about_a_user_has_failed", jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByAPI}, exportops.RunFailed},
		{"about_a_user_is_never_resumed", jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByCron}, exportops.RunFailed},
	} {
		at(t, tc.name, func(t *testing.T, w *world) {
			id := w.dies(tc.run, 1)
			// Two look at the same time: one of them acts.
			a, b := w.process(), w.process()
			a.expired(3)
			a.start(nil)
			b.start(nil)
			time.Sleep(exportops.LeaseLength - time.Second)
			if r := a.runs(tc.run.Job)[0]; r.Finished() || r.Takeovers > 0 {
				t.Errorf("its lease is not over, and it is %s after %d takeovers", r.State, r.Takeovers)
			}
			time.Sleep(within - exportops.LeaseLength + time.Second)
			runs := a.runs(tc.run.Job)
			if len(runs) != 1 || runs[0].ID != id || runs[0].State != tc.want {
				t.Fatalf("%+v", runs)
			}
			if tookOver := runs[0].Takeovers == 1; tookOver != (tc.want == exportops.RunDone) {
				t.Errorf("%d takeovers, %s", runs[0].Takeovers, runs[0].Error)
			}
			a.stop()
			b.stop()
			if said := append(a.log.lines("ERROR"), b.log.lines("ERROR")...); len(said) > 0 {
				t.Errorf("logged: %q", said)
			}
		})
	}
}

// TestAResumedRunIsNotBegunAgain is the race of two processes that saw the same
// abandoned run: the second comes when the first has finished it.
func TestAResumedRunIsNotBegunAgain(t *testing.T) {
	at(t, "of_a_cron_call", func(t *testing.T, w *world) {
		w.dies(jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCron}, 0)
		time.Sleep(time.Minute)
		p := w.process()
		defer p.close()
		abandoned, err := p.store.ActiveRuns(t.Context())
		if err != nil || len(abandoned) != 1 {
			t.Fatalf("%v, %v", abandoned, err)
		}
		r, ok := jobs.Resume(abandoned[0])
		if !ok {
			t.Fatal("it is not to be resumed")
		}
		var how []exportops.Beginning
		for range 2 {
			answer, err := p.jobs.Run(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			how = append(how, answer.Beginning)
		}
		if diff := cmp.Diff([]exportops.Beginning{exportops.TookOver, exportops.Replayed}, how); diff != "" {
			t.Error(diff)
		}
		if runs := p.runs(exportops.MetricsAggregate); len(runs) != 1 {
			t.Errorf("%d runs", len(runs))
		}
	})
}

func TestTheEngineLeavesNothingBehind(t *testing.T) {
	at(t, "nor_says_anything_at_midnight", func(t *testing.T, w *world) {
		until(23, 58) // it reindexes then
		p := w.process()
		p.start(filesEveryHour)
		time.Sleep(5 * time.Minute)
		p.stop()
		if said := p.log.lines(""); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
	})
	at(t, "old_wakes_go_and_those_of_dead_processes_block_nothing", func(t *testing.T, w *world) {
		p := w.process()
		wake := func(job, state, at string, attempted, finalized any) {
			t.Helper()
			_, err := p.store.Writer().ExecContext(t.Context(), `
				INSERT INTO river_job (kind, args, state, attempted_at, finalized_at, created_at, scheduled_at, max_attempts, attempt)
				VALUES ('exportops_wake', ?, ?, ?, ?, ?, ?, 25, 1)`, `{"job":"`+job+`"}`, state, attempted, finalized, at, at)
			if err != nil {
				t.Fatal(err)
			}
		}
		const daysAgo, minuteAgo = "1999-12-30 00:00:00.000", "2000-01-01 00:29:00.000"
		wake("file-cleanup", "completed", daysAgo, daysAgo, daysAgo)
		wake("file-cleanup", "running", daysAgo, daysAgo, nil)
		wake("file-cleanup", "running", minuteAgo, minuteAgo, nil)
		wake("of-another-version", "available", minuteAgo, nil, nil)
		p.start(filesEveryOther)
		until(0, 35)
		wantSlots(t, p, exportops.FileCleanup, "00:32 done schedule", "00:34 done schedule")
		p.stop()
		p = w.process()
		defer p.close()
		rows, err := p.store.Writer().QueryContext(t.Context(), `SELECT state || ' ' || count(*) FROM river_job GROUP BY state ORDER BY state`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var states []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			states = append(states, s)
		}
		// Done are those of the start and of two slots, the one that was stuck for
		// days, and the unknown one.
		if !slices.Equal(states, []string{"completed 5", "running 1"}) {
			t.Errorf("%q", states)
		}
	})
}

var _ scheduler.Jobs = (*jobs.Runner)(nil)
