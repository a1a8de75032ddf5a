package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
)

func TestDiagnose(t *testing.T) {
	url := newDatabase(t)
	s := openStore(t, url)
	insert := func(status, asked, created, expires string) {
		run(t, url, `INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, created_at, expires_at)
			VALUES (gen_random_uuid(), gen_random_uuid(), `+asked+`, 'csv', '{}', 1, '`+status+`', `+created+`, `+expires+`)`)
	}
	const early, late, later = `'2025-10-01 12:00Z'`, `'2025-10-02 12:00Z'`, `'2025-10-03 12:00:00.123456Z'`
	insert("completed", early, early, `NULL`)
	insert("completed", early, early, late)                                  // overdue
	insert("completed", early, early, later)                                 // to come
	insert("completed", early, late, early)                                  // implausible
	insert("completed", `'infinity'`, early, `'infinity'`)                   // unreadable
	insert("completed", early, early, `'12345-01-01Z'`)                      // unreadable
	insert("completed", `'-infinity'`, early, `'0044-03-15 12:00:00+00 BC'`) // unreadable
	insert("failed", later, early, `'infinity'`)
	insert("expired", early, early, early)
	run(t, url, `INSERT INTO exportops.deletions (mode, state, store, bucket, row_status, run_id, token, attempts, claimed_at)
		VALUES ('expiry', 'quarantined', 's', 'b', 'completed', 'r', 1, 1, now()), ('expiry', 'failed', 's', 'b', 'completed', 'r', 1, 1, now())`,
		`DROP INDEX export_logs_status`, `ALTER TABLE export_logs DROP CONSTRAINT export_logs_export_id_key`,
		`CREATE INDEX ON export_logs (export_id)`, `CREATE INDEX ON export_logs (status) WHERE status = 'failed'`)
	got, err := s.Diagnose(t.Context(), exportops.At(time.Date(2025, 10, 3, 0, 0, 0, 0, time.UTC)))
	must(t, err)
	if off := time.Since(got.Clock.Time); off.Abs() > time.Hour {
		t.Errorf("the database's clock is %s off", off)
	}
	newest := exportops.At(time.Date(2025, 10, 3, 12, 0, 0, 123e6, time.UTC))
	want := exportops.Diagnosis{
		Newest: &newest, Rows: 9, Unexpiring: 1, Unreadable: 3, Implausible: 1, Overdue: 1, Quarantined: 1,
		MissingIndexes: []string{
			`CREATE UNIQUE INDEX CONCURRENTLY "export_logs_export_id" ON "public"."export_logs" (export_id);`,
			`CREATE INDEX CONCURRENTLY "export_logs_status" ON "public"."export_logs" (status);`,
		},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(exportops.Diagnosis{}, "Clock")); d != "" {
		t.Error(d)
	}
	h, err := s.PlaceHold(t.Context(), exportops.Hold{Scope: exportops.HoldAll, Reason: "r", PlacedBy: "p", PlacedAt: noon}, exportops.Locator{})
	must(t, err)
	if got, err := s.Diagnose(t.Context(), exportops.At(time.Date(2025, 10, 3, 0, 0, 0, 0, time.UTC))); err != nil || got.Overdue != 0 {
		t.Errorf("%d are overdue though everything is held (%v)", got.Overdue, err)
	}
	_, err = s.ReleaseHold(t.Context(), h.ID, "p", noon)
	must(t, err)
	// What it prints does what it says.
	run(t, url, slices.Insert(got.MissingIndexes, 0, `DROP INDEX export_logs_export_id_idx`)...)
	if got, err = s.Diagnose(t.Context(), noon); err != nil || len(got.MissingIndexes) != 0 {
		t.Errorf("still missing: %q %v", got.MissingIndexes, err)
	}
	t.Run("of_a_view_no_index_is_missing", func(t *testing.T) {
		run(t, url, `CREATE VIEW v AS SELECT * FROM export_logs`)
		v, err := Open(t.Context(), Options{URL: url, Table: "public.v"})
		must(t, err)
		defer v.Close()
		if got, err := v.Diagnose(t.Context(), noon); err != nil || got.Rows != 9 || len(got.MissingIndexes) != 0 {
			t.Errorf("%+v %v", got, err)
		}
	})
}
