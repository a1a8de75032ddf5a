package sqlite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func TestImportExports(t *testing.T) {
	s := openForRehearsal(t)
	at := func(text string) exportops.Time {
		v, err := exportops.ParseTime(text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	text := func(s string) *string { return &s }
	expires := at("2026-01-02T00:00:00Z")
	full := exportops.Export{
		ID: exportops.NewID(), ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: at("2026-01-01T00:00:00Z"),
		Format: exportops.CSV, Config: []byte(`{"scope":"all"}`), ConversationCount: 5, Status: exportops.Completed,
		FileURL: text("a/b.csv"), ExpiresAt: &expires, CreatedAt: at("2026-01-01T00:00:01Z"), UpdatedAt: at("2026-01-01T00:00:04Z"),
		DownloadedCount: 3,
	}
	queued := exportops.Export{
		ExportID: exportops.NewID(), UserID: full.UserID, Timestamp: at("2026-01-01T01:00:00Z"),
		Format: exportops.JSON, Config: []byte(`{}`), Status: exportops.Queued,
	}
	edited, stolen := full, queued
	edited.ConversationCount = 6
	stolen.ID, stolen.ExportID = full.ID, exportops.NewID()
	load := func(batch ...exportops.Export) []exportops.Receipt {
		t.Helper()
		receipts, err := s.ImportExports(t.Context(), batch, at("2026-01-03T00:00:00Z"))
		if err != nil {
			t.Fatal(err)
		}
		return receipts
	}

	t.Run("adds rows as they are", func(t *testing.T) {
		if diff := cmp.Diff([]exportops.Receipt{{New: true}, {New: true}}, load(full, queued)); diff != "" {
			t.Error(diff)
		}
		got, err := s.Export(t.Context(), full.ExportID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(full, got); diff != "" {
			t.Error(diff)
		}
		if got, err = s.Export(t.Context(), queued.ExportID); err != nil || got.ID == "" {
			t.Errorf("got %+v, %v; want it with an id", got, err)
		}
	})

	t.Run("counts what finished long ago", func(t *testing.T) {
		n := 0
		span := exportops.Span{From: at("2026-01-01T00:00:00Z"), To: at("2026-01-01T01:00:00Z")}
		for o, err := range s.Outcomes(t.Context(), span) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; o.Status != exportops.Completed || o.DurationMS == nil || *o.DurationMS != 3000 {
				t.Errorf("got %+v, want it completed in 3 s", o)
			}
		}
		if n != 1 {
			t.Errorf("got %d outcomes, want 1", n)
		}
		hours, err := s.StaleHours(t.Context(), at("2026-01-03T00:00:00Z"), 10)
		if err != nil || len(hours) != 2 {
			t.Errorf("got the hours %v, %v; want both to be rolled up again", hours, err)
		}
	})

	t.Run("tells repeats from conflicts", func(t *testing.T) {
		receipts := load(full, edited, stolen, queued)
		if r := receipts[0]; r.New || r.Err != nil {
			t.Errorf("the same again: %+v", r)
		}
		if r := receipts[1]; !exportops.IsKind(r.Err, exportops.KindConflict) {
			t.Errorf("the same id with other content: %+v", r)
		}
		if r := receipts[2]; !exportops.IsKind(r.Err, exportops.KindConflict) {
			t.Errorf("another export's row id: %+v", r)
		}
		if r := receipts[3]; r.New || r.Err != nil {
			t.Errorf("the same again: %+v", r)
		}
	})

	t.Run("finds them in capitals", func(t *testing.T) {
		_, err := s.Writer().ExecContext(t.Context(), `UPDATE export_logs SET export_id = upper(export_id), user_id = upper(user_id)`)
		if err != nil {
			t.Fatal(err)
		}
		receipts := load(full, edited)
		if r := receipts[0]; r.New || r.Err != nil {
			t.Errorf("the same again: %+v", r)
		}
		if r := receipts[1]; !exportops.IsKind(r.Err, exportops.KindConflict) {
			t.Errorf("the same id with other content: %+v", r)
		}
		if _, err := s.CreateExport(t.Context(), full); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("created again: %v", err)
		}
	})

	t.Run("changes nothing when one row cannot be written", func(t *testing.T) {
		fresh, bad := queued, queued
		fresh.ExportID, bad.ExportID, bad.Format = exportops.NewID(), exportops.NewID(), "pdf"
		if _, err := s.ImportExports(t.Context(), []exportops.Export{fresh, bad}, at("2026-01-03T00:00:00Z")); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Fatalf("a format that the table refuses: %v", err)
		}
		if _, err := s.Export(t.Context(), fresh.ExportID); !exportops.IsKind(err, exportops.KindNotFound) {
			t.Errorf("got %v, want nothing of the batch", err)
		}
	})
}
