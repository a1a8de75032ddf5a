package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testBeside(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("rows_are_there_once_and_nothing_else_changes", func(t *testing.T) { putBeside(t, open(t)) })
	t.Run("a_table_is_made_without_rows", func(t *testing.T) { emptyBeside(t, open(t)) })
	t.Run("some_names_are_refused", func(t *testing.T) { refuseBeside(t, open(t)) })
	t.Run("rows_that_are_outdated_make_nothing", func(t *testing.T) { outdatedBeside(t, open(t)) })
	t.Run("users_are_erased_from_every_table", func(t *testing.T) { eraseBeside(t, open(t)) })
	t.Run("a_table_that_was_dropped_is_forgotten", func(t *testing.T) { forgetBeside(t, open(t)) })
	t.Run("a_table_whose_columns_were_changed_is_an_error", func(t *testing.T) { changedBeside(t, open(t)) })
	t.Run("of_many_at_once_each_row_is_new_once", func(t *testing.T) { manyBeside(t, open(t)) })
	t.Run("a_table_is_dropped", func(t *testing.T) { dropBeside(t, open(t)) })
}

// foundOf are rows of the export logs, counted, as an archive would give them back.
func foundOf(t testing.TB, f Fixture, rows ...Row) (found []exportops.FoundRow) {
	t.Helper()
	f.Insert(t, rows...)
	rollUp(t, f)
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	whole, _, err := f.Store.ArchivedRows(t.Context(), ids)
	must(t, err)
	for _, r := range whole {
		found = append(found, exportops.FoundRow{Archive: "2025/10.parquet", ArchivedRow: r})
	}
	return found
}

func beside(t testing.TB, f Fixture, table string, rows ...exportops.FoundRow) []bool {
	t.Helper()
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	added, err := f.Store.RestoreBeside(t.Context(), table, rows, epoch, noon)
	must(t, err)
	return added
}

// besideNames are the tables that are registered and there, without a schema.
func besideNames(t testing.TB, f Fixture) (names []string) {
	t.Helper()
	all, err := f.Store.BesideTables(t.Context())
	must(t, err)
	for _, b := range all {
		names = append(names, b.Name[strings.LastIndex(b.Name, ".")+1:])
	}
	return names
}

func putBeside(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	full := Row{
		Status: "expired", Config: `{"a": 1}`, Conversations: 7, FileSize: ptr(int64(12)), FileURL: ptr("a/b"), ExpiresAt: ptr(noon.String()),
		Error: ptr("it's"),
	}.Complete(hour)
	rows := foundOf(t, f, full, Row{Status: "failed"}.Complete(hour))
	bare := rows[1]
	bare.Metric = nil
	before := []int64{
		f.Count(t, `SELECT count(*) FROM {logs}`), f.Count(t, `SELECT count(*) FROM exportops_export_metrics`), stateOf(t, f, hour).Version,
	}
	if d := cmp.Diff([]bool{true, false}, beside(t, f, "old_rows", rows[0], rows[0])); d != "" {
		t.Fatalf("new (-want +got):\n%s", d)
	}
	changed := rows[0]
	changed.Status = "completed"
	if d := cmp.Diff([]bool{false, true}, beside(t, f, "old_rows", changed, bare)); d != "" {
		t.Fatalf("new (-want +got):\n%s", d)
	}
	if n := f.Count(t, `SELECT count(*) FROM old_rows r JOIN {logs} e ON e.id = r.id AND e.export_id = r.export_id AND e.user_id = r.user_id
		AND e.timestamp = r.timestamp AND e.format = r.format AND e.conversation_count = r.conversation_count AND e.status = r.status
		AND e.created_at = r.created_at AND e.updated_at = r.updated_at AND r.archived_in = '2025/10.parquet'`); n != 2 {
		t.Errorf("%d rows are what they were, want 2", n)
	}
	metric, err := json.Marshal(rows[0].Metric)
	must(t, err)
	if n := f.Count(t, `SELECT count(*) FROM old_rows r WHERE r.id = ? AND r.file_size = 12 AND r.file_url = 'a/b' AND r.error_message = 'it''s'
		AND r.expires_at = ? AND CAST(r.config AS TEXT) = ? AND CAST(r.metric AS TEXT) = ?`, full.ID, noon.String(), rows[0].Config, string(metric)); n != 1 {
		t.Errorf("%d rows have all that was given, want 1", n)
	}
	if n := f.Count(t, `SELECT count(*) FROM old_rows WHERE metric IS NULL AND file_url IS NULL AND id = ?`, bare.ID); n != 1 {
		t.Errorf("%d rows lack what was not given, want 1", n)
	}
	if d := cmp.Diff(before, []int64{
		f.Count(t, `SELECT count(*) FROM {logs}`), f.Count(t, `SELECT count(*) FROM exportops_export_metrics`), stateOf(t, f, hour).Version,
	}); d != "" {
		t.Errorf("rows, metrics and the hour's version (-before +after):\n%s", d)
	}
}

func emptyBeside(t *testing.T, f Fixture) {
	if names := besideNames(t, f); len(names) != 0 {
		t.Fatalf("there are %v already", names)
	}
	for range 2 {
		beside(t, f, "old_rows")
	}
	all, err := f.Store.BesideTables(t.Context())
	must(t, err)
	if len(all) != 1 || !strings.HasSuffix(all[0].Name, "old_rows") || all[0].CreatedAt != noon || all[0].Fault != "" {
		t.Errorf("the tables are %+v", all)
	}
	if n := f.Count(t, `SELECT count(*) FROM old_rows`); n != 0 {
		t.Errorf("it holds %d rows", n)
	}
}

func refuseBeside(t *testing.T, f Fixture) {
	f.Exec(t, `CREATE TABLE taken (id int)`)
	defer f.Exec(t, `DROP TABLE taken`)
	for name, kind := range map[string]exportops.Kind{
		"":                      exportops.KindInvalid,
		"Old":                   exportops.KindInvalid,
		`a"; DROP TABLE taken`:  exportops.KindInvalid,
		"a.b.c":                 exportops.KindInvalid,
		"1a":                    exportops.KindInvalid,
		strings.Repeat("a", 64): exportops.KindInvalid,
		"exportops_runs":        exportops.KindInvalid,
		"exportops.runs":        exportops.KindInvalid,
		"pg_catalog.mine":       exportops.KindInvalid,
		"information_schema.a":  exportops.KindInvalid,
		"sqlite_mine":           exportops.KindInvalid,
		"nowhere.mine":          exportops.KindInvalid,
		"export_logs":           exportops.KindInvalid,
		"taken":                 exportops.KindConflict,
	} {
		_, err := f.Store.RestoreBeside(t.Context(), name, nil, 0, noon)
		if !exportops.IsKind(err, kind) {
			t.Errorf("%q: error %v, want %s", name, err, kind)
		}
	}
	if names := besideNames(t, f); len(names) != 0 {
		t.Errorf("there are %v", names)
	}
	wantKind(t, f.Store.DropBeside(t.Context(), "taken"), exportops.KindNotFound, "table")
	wantKind(t, f.Store.DropBeside(t.Context(), "export_logs"), exportops.KindNotFound, "table")
}

func outdatedBeside(t *testing.T, f Fixture) {
	rows := foundOf(t, f, Row{}.Complete(after(noon, -time.Hour)))
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	must(t, f.Store.TurnArchiveEpoch(t.Context(), heldRun(t, f, noon)))
	if _, err := f.Store.RestoreBeside(t.Context(), "old_rows", rows, epoch, noon); !errors.Is(err, exportops.ErrEpoch) {
		t.Errorf("rows that are outdated: %v", err)
	}
	if names := besideNames(t, f); len(names) != 0 {
		t.Errorf("there are %v", names)
	}
	beside(t, f, "old_rows", rows...)
}

func eraseBeside(t *testing.T, f Fixture) {
	user, other := exportops.NewID(), exportops.NewID()
	var logs []Row
	for range 5 {
		logs = append(logs, Row{UserID: user}.Complete(after(noon, -time.Hour)), Row{UserID: other}.Complete(after(noon, -time.Hour)))
	}
	rows := foundOf(t, f, logs...)
	if !f.Typed { // any program may have written it so
		rows[0].UserID = strings.ToUpper(user)
	}
	beside(t, f, "old_rows", rows...)
	beside(t, f, "older_rows", rows[:6]...)
	beside(t, f, "without")
	f.Exec(t, `DELETE FROM {logs}`)
	c := heldRun(t, f, noon)
	for _, size := range []int{1, 3, 100} {
		found := besideTraces(t, f, user, size)
		if len(found) != 8 || len(besideTraces(t, f, other, size)) != 8 {
			t.Fatalf("pages of %d find %v", size, found)
		}
	}
	found := besideTraces(t, f, user, 100)
	if n, err := f.Store.EraseTraces(t.Context(), c, other, found, nil); err != nil || n != 0 {
		t.Errorf("for another user %d rows went: %v", n, err)
	}
	if n, err := f.Store.EraseTraces(t.Context(), c, user, found, nil); err != nil || n != 8 {
		t.Errorf("%d rows went, want 8: %v", n, err)
	}
	if again := besideTraces(t, f, user, 100); len(again) != 0 {
		t.Errorf("there still are %v", again)
	}
	if n := f.Count(t, `SELECT (SELECT count(*) FROM old_rows) + (SELECT count(*) FROM older_rows)`); n != 8 {
		t.Errorf("%d rows of another user are left, want 8", n)
	}
}

func besideTraces(t testing.TB, f Fixture, user string, size int) (found []exportops.Trace) {
	t.Helper()
	for _, trace := range allTraces(t, f, user, size) {
		if trace.Kind == exportops.TraceBeside {
			found = append(found, trace)
		}
	}
	return found
}

func forgetBeside(t *testing.T, f Fixture) {
	rows := foundOf(t, f, Row{}.Complete(after(noon, -time.Hour)))
	beside(t, f, "old_rows", rows...)
	found := besideTraces(t, f, rows[0].UserID, 100)
	f.Exec(t, `DROP TABLE old_rows`)
	if names := besideNames(t, f); len(names) != 0 {
		t.Errorf("there are %v", names)
	}
	if n := len(besideTraces(t, f, rows[0].UserID, 100)); n != 0 {
		t.Errorf("%d traces are in it", n)
	}
	if n, err := f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), rows[0].UserID, found, nil); err != nil || n != 0 {
		t.Errorf("%d rows of it were erased: %v", n, err)
	}
	if d := cmp.Diff([]bool{true}, beside(t, f, "old_rows", rows...)); d != "" {
		t.Errorf("new, once it is made again (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"old_rows"}, besideNames(t, f)); d != "" {
		t.Errorf("tables (-want +got):\n%s", d)
	}
}

func changedBeside(t *testing.T, f Fixture) {
	rows := foundOf(t, f, Row{}.Complete(after(noon, -time.Hour)))
	beside(t, f, "old_rows", rows...)
	f.Exec(t, `ALTER TABLE old_rows RENAME COLUMN user_id TO owner`)
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	_, err = f.Store.RestoreBeside(t.Context(), "old_rows", rows, epoch, noon)
	wantKind(t, err, exportops.KindConflict, "table")
	_, _, err = f.Store.Traces(t.Context(), rows[0].UserID, nil, "", 100)
	wantKind(t, err, exportops.KindConflict, "table")
	for _, want := range []string{"old_rows", "it lacks user_id", "it has owner"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	_, err = f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), rows[0].UserID, nil, nil)
	wantKind(t, err, exportops.KindConflict, "table")
	wantKind(t, f.Store.DropBeside(t.Context(), "old_rows"), exportops.KindConflict, "table")
	f.Exec(t, `ALTER TABLE old_rows RENAME COLUMN owner TO user_id`)
	if n := len(besideTraces(t, f, rows[0].UserID, 100)); n != 1 {
		t.Errorf("%d rows are found, want 1", n)
	}
}

func dropBeside(t *testing.T, f Fixture) {
	beside(t, f, "old_rows")
	beside(t, f, "older_rows")
	must(t, f.Store.DropBeside(t.Context(), "old_rows"))
	f.Exec(t, `CREATE TABLE old_rows (id int)`) // somebody else's
	defer f.Exec(t, `DROP TABLE old_rows`)
	err := f.Store.DropBeside(t.Context(), "old_rows")
	wantKind(t, err, exportops.KindNotFound, "table")
	var told *exportops.Error
	if !errors.As(err, &told) || !strings.Contains(told.Hint, "older_rows") {
		t.Errorf("the error %v does not name the table that is there", err)
	}
	if d := cmp.Diff([]string{"older_rows"}, besideNames(t, f)); d != "" {
		t.Errorf("tables (-want +got):\n%s", d)
	}
}

func manyBeside(t *testing.T, f Fixture) {
	var logs []Row
	for range 20 {
		logs = append(logs, Row{}.Complete(after(noon, -time.Hour)))
	}
	rows := foundOf(t, f, logs...)
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	var group sync.WaitGroup
	var fresh atomic.Int64
	for range 4 {
		group.Go(func() {
			for some := range slices.Chunk(rows, 5) {
				added, err := f.Store.RestoreBeside(t.Context(), "old_rows", some, epoch, noon)
				if err != nil {
					t.Error(err)
				}
				for _, is := range added {
					if is {
						fresh.Add(1)
					}
				}
			}
		})
	}
	group.Wait()
	if n := f.Count(t, `SELECT count(*) FROM old_rows`); n != 20 || fresh.Load() != n {
		t.Errorf("%d rows are there, and %d were new, want 20", n, fresh.Load())
	}
}
