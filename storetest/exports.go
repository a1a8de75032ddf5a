package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testExports(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_was_created_is_read", func(t *testing.T) {
		f := open(t)
		want := exportOf(noon)
		created, err := f.Store.CreateExport(t.Context(), want)
		must(t, err)
		got, err := f.Store.Export(t.Context(), want.ExportID)
		must(t, err)
		if d := cmp.Diff(created, got); d != "" {
			t.Fatal(d)
		}
		want.ID = got.ID
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		_, err = f.Store.CreateExport(t.Context(), want)
		wantKind(t, err, exportops.KindConflict, "export_id")
		_, err = f.Store.Export(t.Context(), exportops.NewID())
		wantKind(t, err, exportops.KindNotFound, "")
	})
	t.Run("update", func(t *testing.T) { testUpdates(t, open) })
	t.Run("update_changes_what_it_names", func(t *testing.T) { updateExport(t, open(t)) })
	t.Run("update_is_refused_while_the_file_is_being_deleted", func(t *testing.T) {
		f := open(t)
		e := exportOf(noon)
		_, err := f.Store.CreateExport(t.Context(), e)
		must(t, err)
		f.Exec(t, `INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, row_status, run_id, token,
			attempts, claimed_at) VALUES (?, NULL, 'expiry', 'claimed', 's', 'b', 'k', 'completed', 'r', 1, 1, ?)`, e.ExportID, noon.String())
		_, err = f.Store.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{FileSize: ptr(int64(1))}, nil, noon)
		wantKind(t, err, exportops.KindConflict, "")
		got, err := f.Store.Export(t.Context(), e.ExportID)
		must(t, err)
		if got.FileSize != nil {
			t.Fatal("the row was changed")
		}
	})
	t.Run("pages_hold_every_export_once", func(t *testing.T) { pageExports(t, open(t)) })
	t.Run("one_bad_row_does_not_hide_the_others", func(t *testing.T) {
		f := open(t)
		if f.Typed {
			unreadableTimes(t, f)
			return
		}
		good := Row{}.Complete(noon)
		bad := Row{
			ID: "no uuid", ExportID: "'; DROP TABLE export_logs; --", UserID: "\xff\xfe", Timestamp: "yesterday",
			CreatedAt: "2025-02-30T00:00:00.000Z", UpdatedAt: "", Config: `{"a":`, ExpiresAt: ptr("never"), Error: ptr("e"),
		}.Complete(noon)
		f.Insert(t, good, bad)
		f.Exec(t, `UPDATE {logs} SET conversation_count = 'many' WHERE id = 'no uuid'`)
		page, _, err := f.Store.Exports(t.Context(), exportops.ExportFilter{})
		must(t, err)
		if len(page) != 2 {
			t.Fatalf("%d rows, want both", len(page))
		}
		b := page[0]
		if b.ID != bad.ID {
			b = page[1]
		}
		if !b.Timestamp.IsZero() || !b.CreatedAt.IsZero() || b.ExpiresAt != nil || string(b.Config) != `"{\"a\":"` || b.ConversationCount != 0 {
			t.Fatalf("the bad row came out as %+v", b)
		}
		if _, err := json.Marshal(page); err != nil {
			t.Fatal(err)
		}
	})
}

// unreadableTimes is what can be wrong with a row whose columns have types.
func unreadableTimes(t *testing.T, f Fixture) {
	for _, text := range typedUnreadable {
		f.Insert(t, Row{Timestamp: text, CreatedAt: text, UpdatedAt: text, ExpiresAt: &text}.Complete(noon))
	}
	good := Row{}.Complete(noon)
	f.Insert(t, good)
	seen, filter := 0, exportops.ExportFilter{Limit: 2}
	for {
		page, next, err := f.Store.Exports(t.Context(), filter)
		must(t, err)
		for _, e := range page {
			seen++
			if e.ID != good.ID && (!e.Timestamp.IsZero() || !e.CreatedAt.IsZero() || !e.UpdatedAt.IsZero() || e.ExpiresAt != nil) {
				t.Fatalf("a bad row came out as %+v", e)
			}
		}
		if filter.Cursor = next; next == "" {
			break
		}
	}
	if want := len(typedUnreadable) + 1; seen != want {
		t.Fatalf("%d rows, want %d", seen, want)
	}
}

// exportOf returns an export that is under way.
func exportOf(at exportops.Time) exportops.Export {
	return exportops.Export{
		ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: at, Format: exportops.JSONL,
		Config: json.RawMessage(`{"scope":"all"}`), ConversationCount: 7, Status: exportops.Queued, CreatedAt: at, UpdatedAt: at,
	}
}

func updateExport(t *testing.T, f Fixture) {
	e := exportOf(noon)
	created, err := f.Store.CreateExport(t.Context(), e)
	must(t, err)
	done, expiry := after(noon, 3*time.Second), after(noon, 24*time.Hour)
	completed := exportops.Completed
	got, err := f.Store.UpdateExport(t.Context(), e.ExportID,
		exportops.ExportUpdate{Status: &completed, FileURL: ptr("a/b.jsonl"), FileSize: ptr(int64(9))}, exportops.ExpiresAt(expiry), done)
	must(t, err)
	want := created
	want.Status, want.FileURL, want.FileSize, want.UpdatedAt, want.ExpiresAt = completed, ptr("a/b.jsonl"), ptr(int64(9)), done, &expiry
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	later := after(expiry, time.Hour)
	got, err = f.Store.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{Status: &completed}, exportops.ExpiresAt(later), later)
	must(t, err)
	if !got.ExpiresAt.Equal(expiry.Time) {
		t.Fatalf("expires at %s, want the expiry it had", got.ExpiresAt)
	}
	_, err = f.Store.UpdateExport(t.Context(), exportops.NewID(), exportops.ExportUpdate{}, nil, done)
	wantKind(t, err, exportops.KindNotFound, "")
	all := outcomes(t, f)
	if len(all) != 1 || all[0].DurationMS == nil || *all[0].DurationMS != 3000 {
		t.Fatalf("it counts as %+v, want the three seconds it took", all)
	}
}

func pageExports(t *testing.T, f Fixture) {
	user := exportops.NewID()
	for i := range 23 {
		r := Row{Status: string(exportops.Statuses[i%5]), Format: string(exportops.Formats[i%4])}
		if i%2 == 0 {
			r.UserID = user
		}
		// Many share a timestamp, so that pages end among equals.
		f.Insert(t, r.Complete(after(noon, time.Duration(i/6)*time.Minute)))
	}
	for name, filter := range map[string]exportops.ExportFilter{
		"all": {}, "user": {UserID: user}, "status": {Status: exportops.Failed}, "common_status": {Status: exportops.Completed},
		"format": {Format: exportops.CSV}, "time": {From: after(noon, time.Minute), To: after(noon, 3*time.Minute)},
		"all_of_them": {UserID: user, Status: exportops.Completed, Format: exportops.JSON, From: noon, To: after(noon, time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			filter.Limit = 4
			seen := map[string]bool{}
			var last exportops.Export
			for {
				page, next, err := f.Store.Exports(t.Context(), filter)
				must(t, err)
				for _, e := range page {
					if seen[e.ID] || !last.Timestamp.IsZero() && e.Timestamp.After(last.Timestamp.Time) {
						t.Fatalf("row %s comes twice or out of order", e.ID)
					}
					seen[e.ID], last = true, e
				}
				if filter.Cursor = next; next == "" {
					break
				}
			}
			query, args := `SELECT count(*) FROM {logs} WHERE timestamp >= ? AND timestamp < ?`, []any{"2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"}
			if !filter.From.IsZero() {
				args = []any{filter.From.String(), filter.To.String()}
			}
			for column, v := range map[string]string{"user_id": filter.UserID, "status": string(filter.Status), "format": string(filter.Format)} {
				if v != "" {
					query, args = query+` AND `+column+` = ?`, append(args, v)
				}
			}
			if want := f.Count(t, query, args...); int64(len(seen)) != want || want == 0 {
				t.Fatalf("%d rows, want %d", len(seen), want)
			}
		})
	}
	_, _, err := f.Store.Exports(t.Context(), exportops.ExportFilter{Cursor: "' OR 1=1"})
	wantKind(t, err, exportops.KindInvalid, "cursor")
}
