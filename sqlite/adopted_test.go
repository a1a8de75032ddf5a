package sqlite_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
)

var (
	adoptedAt   = exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	adoptedUser = "5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"
)

// adopt opens a store over the table logs, or the view seen of it, which has ten
// expired exports of adoptedUser.
func adopt(t *testing.T, name, userType string, user func(i int) string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true, Table: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := s.Writer().ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE logs (id INTEGER PRIMARY KEY, export_id TEXT UNIQUE, user_id ` + userType + `, timestamp TEXT, format TEXT, config TEXT,
		conversation_count INTEGER, file_size INTEGER, status TEXT, file_url TEXT, expires_at TEXT, error_message TEXT,
		created_at TEXT, updated_at TEXT)`)
	exec(`CREATE INDEX logs_user_id ON logs (user_id)`)
	exec(`CREATE VIEW seen AS SELECT * FROM logs`)
	const snowflake = 1 << 60
	for i := range 10 {
		exec(`INSERT INTO logs VALUES (?1, ?2, ?3, ?4, 'csv', '{}', 1, 1, 'completed', 'k', ?4, NULL, ?4, ?4)`,
			snowflake+i, fmt.Sprint("e", i), user(i), adoptedAt.String())
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// seesEach reads what there is in pages of three, and wants each of the exports once.
func seesEach(t *testing.T, read func(after exportops.Cursor) ([]exportops.Candidate, exportops.Cursor, error)) {
	t.Helper()
	want, got := map[string]int{}, map[string]int{}
	var next exportops.Cursor
	for i := range 10 { // and no page more, where there is no end
		want[fmt.Sprint("e", i)] = 1
		if i > 0 && next == "" {
			continue
		}
		page, after, err := read(next)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			got[c.ExportID]++
		}
		next = after
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("exports seen (-want +got):\n%s", d)
	}
}

func selections() map[string]exportops.Selection {
	return map[string]exportops.Selection{
		"expiry": {Mode: exportops.ByExpiry, Now: adoptedAt}, "policy": {Mode: exportops.ByPolicy},
		"age":     {Mode: exportops.ByAge, Cut: exportops.At(adoptedAt.Add(time.Hour))},
		"erasure": {Mode: exportops.ByErasure, UserID: adoptedUser},
	}
}

// Snowflakes, and other ids that the application chose, are greater than what a
// float keeps exactly.
func TestPagesOfRowsWithLargeNumbers(t *testing.T) {
	for _, name := range []string{"logs", "seen"} {
		s := adopt(t, name, "TEXT", func(int) string { return adoptedUser })
		for mode, sel := range selections() {
			t.Run(name+"_by_"+mode, func(t *testing.T) {
				seesEach(t, func(after exportops.Cursor) ([]exportops.Candidate, exportops.Cursor, error) {
					return s.Candidates(t.Context(), sel, after, 3)
				})
			})
		}
		for what, sel := range map[string]exportops.LogSelection{"age": {Cut: exportops.At(adoptedAt.Add(time.Hour))}, "user": {UserID: adoptedUser}} {
			t.Run(name+"_log_rows_by_"+what, func(t *testing.T) {
				seesEach(t, func(after exportops.Cursor) (page []exportops.Candidate, _ exportops.Cursor, _ error) {
					rows, next, err := s.LogRows(t.Context(), sel, after, 3)
					for _, r := range rows {
						page = append(page, r.Candidate)
					}
					return page, next, err
				})
			})
		}
	}
}

// A column may have another collation than that of texts: it knows one spelling.
func TestAUserInAColumnWithoutCase(t *testing.T) {
	s := adopt(t, "logs", "TEXT COLLATE NOCASE", func(i int) string { return strings.ToUpper(adoptedUser[:i*3]) + adoptedUser[i*3:] })
	seesEach(t, func(after exportops.Cursor) ([]exportops.Candidate, exportops.Cursor, error) {
		return s.Candidates(t.Context(), selections()["erasure"], after, 3)
	})
}

// A view may give ids of any type: pages go on by them, and come to an end.
func TestPagesOfAViewWithOtherIDs(t *testing.T) {
	s := adopt(t, "seen", "TEXT", func(int) string { return adoptedUser })
	give := func(id string) {
		t.Helper()
		const others = `export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url, expires_at,
			error_message, created_at, updated_at`
		for _, query := range []string{`DROP VIEW seen`, `CREATE VIEW seen AS SELECT ` + id + ` AS id, ` + others + ` FROM logs`} {
			if _, err := s.Writer().ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	for how, id := range map[string]string{
		"texts_that_are_not_utf8": `CAST(CAST(id AS BLOB) || x'ff' AS TEXT)`, "empty_texts_among_them": `iif(id % 10 = 0, '', 'x' || id)`,
		"fractions": `id % 1000 + 0.5`, "numbers_and_texts": `iif(id % 2, id, 'x' || id)`,
	} {
		give(id)
		for mode, sel := range selections() {
			t.Run(how+"_by_"+mode, func(t *testing.T) {
				seesEach(t, func(after exportops.Cursor) ([]exportops.Candidate, exportops.Cursor, error) {
					return s.Candidates(t.Context(), sel, after, 3)
				})
			})
		}
	}
	give(`CAST(id AS BLOB)`)
	for mode, sel := range selections() {
		if _, _, err := s.Candidates(t.Context(), sel, "", 3); !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Errorf("blobs by %s: %v, want an error that says what to do", mode, err)
		}
	}
	if _, _, err := s.LogRows(t.Context(), exportops.LogSelection{UserID: adoptedUser}, "", 3); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("log rows with blobs: %v, want an error that says what to do", err)
	}
}

// An export is found and changed by its id in whichever case the application wrote it.
func TestAnExportInCapitals(t *testing.T) {
	s := adopt(t, "logs", "TEXT", func(int) string { return adoptedUser })
	const id = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a01"
	if _, err := s.Writer().ExecContext(t.Context(), `UPDATE logs SET export_id = upper(?) WHERE export_id = 'e1'`, id); err != nil {
		t.Fatal(err)
	}
	failed := exportops.Failed
	for what, ask := range map[string]func() (exportops.Export, error){
		"found": func() (exportops.Export, error) { return s.Export(t.Context(), id) },
		"changed": func() (exportops.Export, error) {
			return s.UpdateExport(t.Context(), id, exportops.ExportUpdate{Status: &failed}, nil, adoptedAt)
		},
	} {
		if e, err := ask(); err != nil || e.ExportID != strings.ToUpper(id) || what == "changed" && e.Status != failed {
			t.Errorf("it is %s as %+v, %v", what, e, err)
		}
	}
}
