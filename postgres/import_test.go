package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestImportExports(t *testing.T) {
	s := openStore(t, newDatabase(t))
	url, size, expires := "a/b.csv", int64(7), after(noon, 24*time.Hour)
	full := exportops.Export{
		ID: exportops.NewID(), ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: noon, Format: exportops.CSV,
		Config: []byte(`{"b":1,"a":2}`), ConversationCount: 3, FileSize: &size, Status: exportops.Completed, FileURL: &url,
		ExpiresAt: &expires, CreatedAt: noon, UpdatedAt: after(noon, 3*time.Second),
	}
	queued := full
	queued.ID, queued.ExportID, queued.Status, queued.FileURL, queued.ExpiresAt, queued.FileSize = "", exportops.NewID(), exportops.Queued, nil, nil, nil
	edited, stolen := full, full
	edited.ConversationCount++
	stolen.ExportID = exportops.NewID()
	load := func(batch ...exportops.Export) []exportops.Receipt {
		t.Helper()
		r, err := s.ImportExports(t.Context(), batch, after(noon, 48*time.Hour))
		must(t, err)
		return r
	}
	t.Run("adds_rows_and_freezes_what_they_say", func(t *testing.T) {
		if r := load(full, queued, full); !r[0].New || !r[1].New || r[2].New || r[2].Err != nil {
			t.Fatalf("receipts %+v, want two new and one repeat", r)
		}
		var all []exportops.Outcome
		for o, err := range s.Counted(t.Context(), exportops.Span{From: noon, To: after(noon, time.Hour)}) {
			must(t, err)
			all = append(all, o)
		}
		if len(all) != 1 || all[0].DurationMS == nil || *all[0].DurationMS != 3000 {
			t.Errorf("counted %+v, want the one that finished, in three seconds", all)
		}
		hours, err := s.StaleHours(t.Context(), after(noon, time.Hour), 10)
		if err != nil || len(hours) != 1 {
			t.Errorf("stale %v, %v, want the hour to be rolled up", hours, err)
		}
	})
	t.Run("tells_repeats_from_conflicts", func(t *testing.T) {
		_, err := s.pool.Exec(t.Context(), `UPDATE public.export_logs SET status = 'expired' WHERE export_id = $1::uuid`, full.ExportID)
		must(t, err)
		r := load(full, edited, stolen, queued)
		if r[0].New || r[0].Err != nil || r[3].New || r[3].Err != nil {
			t.Errorf("the same again: %+v", r)
		}
		wantKind(t, r[1].Err, exportops.KindConflict, "export_id")
		wantKind(t, r[2].Err, exportops.KindConflict, "id")
	})
	t.Run("changes_nothing_when_one_row_cannot_be_written", func(t *testing.T) {
		fresh, bad := queued, queued
		fresh.ExportID, bad.ExportID, bad.Format = exportops.NewID(), exportops.NewID(), "pdf"
		_, err := s.ImportExports(t.Context(), []exportops.Export{fresh, bad}, noon)
		wantKind(t, err, exportops.KindInvalid, "")
		if _, err := s.Export(t.Context(), fresh.ExportID); !exportops.IsKind(err, exportops.KindNotFound) {
			t.Errorf("got %v, want nothing of the batch", err)
		}
	})
	t.Run("says_that_it_is_the_row_which_cannot_be_written", func(t *testing.T) {
		for field, spoil := range map[string]func(*exportops.Export){
			"id": func(e *exportops.Export) { e.ID = "7" },
			"":   func(e *exportops.Export) { e.Config = []byte(`{"a":1e400000}`) },
			" ":  func(e *exportops.Export) { e.Config = []byte(`{"a":"\ud800"}`) },
		} {
			bad := queued
			bad.ExportID = exportops.NewID()
			spoil(&bad)
			_, err := s.ImportExports(t.Context(), []exportops.Export{bad}, noon)
			wantKind(t, err, exportops.KindInvalid, strings.TrimSpace(field))
		}
	})
}

// wantKind fails unless err is of a kind and names a field.
func wantKind(t *testing.T, err error, k exportops.Kind, field string) {
	t.Helper()
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != k || e.Field != field {
		t.Fatalf("error is %v, want %s about %q", err, k, field)
	}
}
