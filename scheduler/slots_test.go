package scheduler_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// at runs a story that begins at half past midnight, by a clock of its own.
func at(t *testing.T, name string, story func(*testing.T, *world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(30 * time.Minute)
			story(t, newWorld(t))
		})
	})
}

// until waits for a time of the first day.
func until(hour, minute int) {
	time.Sleep(time.Until(time.Date(2000, 1, 1, hour, minute, 0, 0, time.UTC)))
}

func wantSlots(t *testing.T, p *process, job exportops.Job, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.slots(job)); diff != "" {
		t.Errorf("%s: want -, got +\n%s", job, diff)
	}
}

func TestSlots(t *testing.T) {
	at(t, "each_job_runs_in_each_of_its_slots_once", func(t *testing.T, w *world) {
		p := w.process()
		p.expired(2)
		until(1, 59)
		p.start(daily)
		until(2, 1)
		p.stop()
		if said := p.log.lines(""); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
		p = w.process()
		until(2, 59)
		p.start(daily)
		until(3, 1)
		wantSlots(t, p, exportops.MetricsAggregate, "02:00 done schedule", "03:00 done schedule")
		wantSlots(t, p, exportops.FileCleanup, "02:00 done schedule")
		wantSlots(t, p, exportops.LogCleanup, "03:00 done schedule")
		for _, r := range p.runs(exportops.MetricsAggregate) {
			if late := r.StartedAt.Sub(r.Slot.Time); late < 0 || late > 10*time.Second {
				t.Errorf("the run of %s began %s after it", r.Slot, late)
			}
		}
		if left, err := os.ReadDir(w.root); err != nil || len(left) != 0 {
			t.Errorf("%d files are left, %v", len(left), err)
		}
		p.stop()
		if said := p.log.lines(""); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
	})
	at(t, "a_first_start_catches_up_nothing", func(t *testing.T, w *world) {
		p := w.process()
		p.start(map[exportops.Job]string{exportops.MetricsAggregate: "0 0 * * *"})
		until(0, 33)
		wantSlots(t, p, exportops.MetricsAggregate)
		p.stop()
	})
	at(t, "a_slot_just_after_the_first_start_is_due", func(t *testing.T, w *world) {
		time.Sleep(29*time.Minute + 59*time.Second + 900*time.Millisecond)
		p := w.process()
		p.start(daily)
		until(1, 1)
		wantSlots(t, p, exportops.MetricsAggregate, "01:00 done schedule")
		p.stop()
	})
	at(t, "the_last_slot_missed_while_down_is_caught_up", func(t *testing.T, w *world) {
		p := w.process()
		p.start(daily)
		time.Sleep(time.Minute)
		p.stop()
		until(4, 10)
		p = w.process()
		p.start(daily)
		until(4, 12)
		wantSlots(t, p, exportops.MetricsAggregate,
			"01:00 missed schedule", "02:00 missed schedule", "03:00 missed schedule", "04:00 done catch_up")
		wantSlots(t, p, exportops.FileCleanup, "02:00 done catch_up")
		wantSlots(t, p, exportops.LogCleanup, "03:00 done catch_up")
		if said := p.log.lines("slots were missed"); len(said) != 1 {
			t.Errorf("logged %d times: %q", len(said), said)
		}
		p.stop()
		for range 2 { // the second finds nothing to catch up
			p = w.process()
			until(4, 59)
			p.start(daily)
			until(5, 1)
			p.stop()
		}
		p = w.process()
		p.start(daily)
		wantSlots(t, p, exportops.MetricsAggregate,
			"01:00 missed schedule", "02:00 missed schedule", "03:00 missed schedule", "04:00 done catch_up", "05:00 done schedule")
		p.stop()
	})
	for _, by := range []exportops.Trigger{exportops.ByCron, exportops.ByCommand, exportops.ByAPI} {
		at(t, "a_run_by_"+string(by)+"_satisfies_its_slot", func(t *testing.T, w *world) {
			p := w.process()
			p.start(daily)
			time.Sleep(time.Minute)
			p.stop()
			until(2, 20)
			p = w.process()
			if _, err := p.jobs.Run(t.Context(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: by}); err != nil {
				t.Fatal(err)
			}
			until(2, 58)
			p.start(daily)
			until(3, 1)
			wantSlots(t, p, exportops.MetricsAggregate,
				"--:-- done "+string(by), "01:00 missed schedule", "02:00 skipped schedule", "03:00 done schedule")
			p.stop()
		})
	}
	at(t, "each_has_a_row_though_recording_them_failed_halfway", func(t *testing.T, w *world) {
		p := w.process()
		p.start(filesEveryHour)
		time.Sleep(time.Minute)
		p.stop()
		p = w.process()
		until(2, 20)
		if _, err := p.jobs.Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron}); err != nil {
			t.Fatal(err)
		}
		until(4, 20)
		p.kept = &failsOnce{RunStore: p.store, left: 1}
		p.start(filesEveryHour)
		until(4, 23)
		wantSlots(t, p, exportops.FileCleanup, "--:-- done cron",
			"01:00 missed schedule", "02:00 skipped schedule", "03:00 missed schedule", "04:00 done catch_up")
		p.stop()
		if said := p.log.lines("a slot cannot be begun"); len(said) != 1 {
			t.Errorf("logged %d times: %q", len(said), said)
		}
	})
	at(t, "a_new_expression_starts_a_new_watermark", func(t *testing.T, w *world) {
		p := w.process()
		p.start(map[exportops.Job]string{exportops.MetricsAggregate: "0 * * * *"})
		time.Sleep(time.Minute)
		p.stop()
		until(4, 10)
		p = w.process()
		p.start(map[exportops.Job]string{exportops.MetricsAggregate: "12 * * * *"})
		until(4, 13)
		wantSlots(t, p, exportops.MetricsAggregate, "04:12 done schedule")
		p.stop()
	})
	at(t, "a_failed_run_is_recorded_and_waits_for_the_next_slot", func(t *testing.T, w *world) {
		p := w.process()
		p.expired(1)
		p.start(filesEveryOther)
		if err := os.Rename(w.root, w.root+".gone"); err != nil {
			t.Fatal(err)
		}
		until(0, 33)
		wantSlots(t, p, exportops.FileCleanup, "00:32 failed schedule")
		if said := p.log.lines("a run failed"); len(said) != 1 {
			t.Errorf("logged %d times: %q", len(said), said)
		}
		if err := os.Rename(w.root+".gone", w.root); err != nil {
			t.Fatal(err)
		}
		until(0, 35)
		wantSlots(t, p, exportops.FileCleanup, "00:32 failed schedule", "00:34 done schedule")
		p.stop()
	})
}

func TestSlotsInTheWayOfOtherRuns(t *testing.T) {
	at(t, "a_slot_waits_for_a_run_with_other_parameters", func(t *testing.T, w *world) {
		p := w.process()
		p.files.delay = time.Minute
		p.expired(10) // ten minutes
		until(0, 58)
		p.start(map[exportops.Job]string{exportops.FileCleanup: "0 1 * * *"})
		until(0, 59)
		hours := 1
		ended := make(chan error, 1)
		go func() {
			_, err := p.jobs.Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand, RetentionHours: &hours})
			ended <- err
		}()
		until(1, 5)
		wantSlots(t, p, exportops.FileCleanup, "--:-- running cli")
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		// The run ended after the slot, and did other work than the slot's.
		wantSlots(t, p, exportops.FileCleanup, "--:-- done cli", "01:00 skipped schedule")
		p.stop()
		if said := p.log.lines("level=ERROR"); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
	})
	at(t, "only_the_latest_of_the_slots_that_wait_is_tried_again", func(t *testing.T, w *world) {
		p := w.process()
		p.files.delay = 55 * time.Second
		until(0, 50)
		p.start(filesEveryOther)
		until(0, 51)
		p.expired(9)
		hours := 1
		go func() {
			r := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand, RetentionHours: &hours}
			if _, err := p.jobs.Run(t.Context(), r); err != nil {
				t.Error(err)
			}
		}()
		until(0, 57)
		var waiting int
		err := p.store.Writer().QueryRowContext(t.Context(), `SELECT count(*) FROM river_job WHERE finalized_at IS NULL`).Scan(&waiting)
		if err != nil || waiting != 1 {
			t.Errorf("%d wait, %v", waiting, err)
		}
		until(1, 1)
		wantSlots(t, p, exportops.FileCleanup, "--:-- done cli", "00:52 skipped schedule", "00:54 skipped schedule",
			"00:56 skipped schedule", "00:58 skipped schedule", "01:00 done schedule")
		p.stop()
	})
	at(t, "a_slot_during_a_run_of_the_same_work_is_satisfied_by_it", func(t *testing.T, w *world) {
		p := w.process()
		p.files.delay = 30 * time.Second
		p.expired(11)
		p.start(filesEveryOther)
		until(0, 39)
		wantSlots(t, p, exportops.FileCleanup,
			"00:32 done schedule", "00:34 skipped schedule", "00:36 skipped schedule", "00:38 done schedule")
		p.stop()
	})
	at(t, "a_long_run_keeps_no_other_job_waiting", func(t *testing.T, w *world) {
		p := w.process()
		p.files.delay = time.Minute
		p.expired(40)
		until(0, 50)
		p.start(map[exportops.Job]string{exportops.FileCleanup: "*/2 * * * *", exportops.MetricsAggregate: "0 * * * *"})
		until(1, 1)
		wantSlots(t, p, exportops.MetricsAggregate, "01:00 done schedule")
		p.stop()
	})
	at(t, "two_processes_run_a_job_one_after_the_other", func(t *testing.T, w *world) {
		a, b := w.process(), w.process()
		every := map[exportops.Job]string{exportops.FileCleanup: "* * * * *", exportops.MetricsAggregate: "* * * * *"}
		a.files.delay, b.files.delay = 70*time.Second, 70*time.Second
		a.expired(4)
		a.start(every)
		b.start(every)
		until(0, 42)
		a.stop()
		until(0, 45)
		wantOneAfterTheOther(t, b, exportops.FileCleanup, time.Minute, 13)
		wantOneAfterTheOther(t, b, exportops.MetricsAggregate, time.Minute, 13)
		b.stop()
		if said := append(a.log.lines("level=ERROR"), b.log.lines("level=ERROR")...); len(said) > 0 {
			t.Errorf("logged: %q", said)
		}
	})
}

// failsOnce is a database that is full when slots are recorded a second time.
type failsOnce struct {
	exportops.RunStore
	left int
}

func (f *failsOnce) RecordSlots(ctx context.Context, j exportops.Job, slots []exportops.Time, state exportops.RunState, now exportops.Time) error {
	if f.left--; f.left == -1 {
		return errors.New("disk full")
	}
	return f.RunStore.RecordSlots(ctx, j, slots, state, now)
}

// wantOneAfterTheOther sees to it that no two runs of a job overlap, and that
// from the first slot to the last each has one row.
func wantOneAfterTheOther(t *testing.T, p *process, job exportops.Job, every time.Duration, atLeast int) {
	t.Helper()
	slots := map[int64]int{}
	var first, last int64
	var before *exportops.Run
	for _, r := range p.runs(job) {
		if r.Slot != nil {
			slot := r.Slot.UnixMilli() / every.Milliseconds()
			slots[slot]++
			if first == 0 || slot < first {
				first = slot
			}
			last = max(last, slot)
		}
		if r.State == exportops.RunSkipped || r.State == exportops.RunMissed {
			continue
		}
		if before != nil && (before.FinishedAt == nil || before.FinishedAt.After(r.StartedAt.Time)) {
			t.Errorf("%s: the run of %s began at %s, before that of %s had ended", job, r.Slot, r.StartedAt, before.Slot)
		}
		before = &r
	}
	for m := first; m <= last; m++ {
		if slots[m] != 1 {
			t.Errorf("%s: slot %s has %d rows", job, time.UnixMilli(m*every.Milliseconds()).UTC(), slots[m])
		}
	}
	if len(slots) < atLeast {
		t.Errorf("%s: %d slots, want %d or more", job, len(slots), atLeast)
	}
}
