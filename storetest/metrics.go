package storetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testMetrics(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("the_same_event_counts_once", func(t *testing.T) {
		f := open(t)
		m := metric()
		again := m
		again.Timestamp = after(m.Timestamp, time.Hour) // set on receipt, so it may differ
		got := record(t, f, m, again)
		got = append(got, record(t, f, m)...)
		if d := cmp.Diff([]exportops.Receipt{{New: true}, {}, {}}, got); d != "" {
			t.Fatal(d)
		}
		if n := len(outcomes(t, f)); n != 1 {
			t.Fatalf("it counts %d times", n)
		}
	})
	t.Run("the_same_attempt_with_another_body_is_refused_alone", func(t *testing.T) {
		for field, change := range map[string]func(*exportops.Metric){
			"user_id":            func(m *exportops.Metric) { m.UserID = exportops.NewID() },
			"format":             func(m *exportops.Metric) { m.Format = exportops.JSON },
			"conversation_count": func(m *exportops.Metric) { m.ConversationCount++ },
			"duration_ms":        func(m *exportops.Metric) { *m.DurationMS++ },
			"file_size_bytes":    func(m *exportops.Metric) { m.FileSizeBytes = nil },
			"error_type":         func(m *exportops.Metric) { m.ErrorType = ptr("") },
			"error_message":      func(m *exportops.Metric) { m.ErrorMessage = ptr("x") },
		} {
			f := open(t)
			m, other := metric(), metric()
			record(t, f, m)
			changed := m
			changed.DurationMS = ptr(*m.DurationMS)
			change(&changed)
			got := record(t, f, changed, other)
			wantKind(t, got[0].Err, exportops.KindConflict, field)
			if !got[1].New || got[1].Err != nil {
				t.Fatalf("%s: the metric beside it: %+v", field, got[1])
			}
		}
	})
	t.Run("the_outcome_does_not_depend_on_the_order_of_arrival", func(t *testing.T) { anyOrder(t, open) })
	t.Run("what_is_measured_replaces_what_was_observed", func(t *testing.T) {
		f := open(t)
		r := Row{Status: "completed"}.Complete(noon)
		f.Insert(t, r)
		observe(t, f, 1)
		m := metric(func(m *exportops.Metric) { m.ExportID = r.ExportID })
		// The failure of an earlier attempt was measured too: it counts for more
		// than any observation, and the later attempt for more than it.
		failed := metric(func(m *exportops.Metric) { m.ExportID, m.Status, m.Attempt = r.ExportID, exportops.Failed, 2 })
		if got := record(t, f, m, failed); !got[0].New || !got[1].New {
			t.Fatalf("receipts %+v, want both new", got)
		}
		if all := outcomes(t, f); len(all) != 1 || all[0].Status != exportops.Failed || all[0].UserID != failed.UserID {
			t.Fatalf("it counts as %+v", all)
		}
		observe(t, f, 0)
	})
	t.Run("nothing_of_a_batch_is_kept_when_it_fails", func(t *testing.T) {
		f := open(t)
		bad := metric()
		bad.Attempt = -1 // a mistake of the caller: metrics must be valid
		if _, err := f.Store.RecordMetrics(t.Context(), []exportops.Metric{metric(), bad}); err == nil {
			t.Fatal("an impossible attempt was taken")
		}
		if n := len(outcomes(t, f)); n != 0 {
			t.Fatalf("%d metrics of a failed batch were kept", n)
		}
	})
	t.Run("hostile_text_is_kept_as_it_is", func(t *testing.T) {
		f := open(t)
		text := "'; DROP TABLE export_logs; -- \u202e 💥 ${jndi:x} \n\t"
		m := metric(func(m *exportops.Metric) { m.Status, m.ErrorType, m.ErrorMessage = exportops.Failed, &text, &text })
		record(t, f, m)
		if all := outcomes(t, f); len(all) != 1 || all[0].ErrorType != text {
			t.Fatalf("it came back as %+v", all)
		}
		if got := record(t, f, m); got[0].New || got[0].Err != nil {
			t.Fatalf("the same again: %+v", got[0])
		}
	})
}

// observe freezes everything and fails unless it finds want rows to freeze.
func observe(t testing.TB, f Fixture, want int64) {
	t.Helper()
	n, err := f.Store.Observe(t.Context(), span(after(noon, -48*time.Hour), 96*time.Hour), after(noon, 2*time.Hour))
	must(t, err)
	if n != want {
		t.Fatalf("%d rows were frozen, want %d", n, want)
	}
}

func anyOrder(t *testing.T, open func(testing.TB) Fixture) {
	first := metric()
	with := func(status exportops.Status, attempt int64, at time.Duration) exportops.Metric {
		m := first
		m.Status, m.Attempt, m.Timestamp, m.UserID = status, attempt, after(noon, at), exportops.NewID()
		return m
	}
	batch := []exportops.Metric{
		with(exportops.Processing, 9, 40*time.Minute), with(exportops.Queued, 1, 0),
		with(exportops.Completed, 1, 50*time.Minute), with(exportops.Completed, 2, 20*time.Minute),
		// The same attempt at the same time: a failure counts for more.
		with(exportops.Failed, 2, 20*time.Minute),
	}
	want := batch[4].UserID
	for seed := range uint64(6) {
		f := open(t)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		for _, m := range batch {
			if r := record(t, f, m); r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
		}
		all := outcomes(t, f)
		if len(all) != 1 || all[0].UserID != want || all[0].Status != exportops.Failed {
			t.Fatalf("order %d: it counts as %+v", seed, all)
		}
	}
}
