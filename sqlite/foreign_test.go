package sqlite_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
)

// openForeign opens a store over a table that another program declared, in its
// own way, with this type for times.
func openForeign(t *testing.T, timeType string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = s.Writer().ExecContext(t.Context(), fmt.Sprintf(`CREATE TABLE export_logs (
		id, export_id, user_id, timestamp %[1]s, format, config, conversation_count, file_size, status, file_url,
		expires_at %[1]s, error_message, created_at %[1]s, updated_at %[1]s, downloaded_count)`, timeType))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"export_id", "user_id", "timestamp", "status", "expires_at"} {
		if _, err := s.Writer().ExecContext(t.Context(), `CREATE INDEX l_`+c+` ON export_logs (`+c+`)`); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// A table that existed before us may have any types and no constraints: its rows
// are read as they are, and one that says nothing does not stop the others.
func TestAForeignTable(t *testing.T) {
	now := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	claims := func(page, _ []exportops.Candidate) []exportops.Decision {
		out := make([]exportops.Decision, len(page))
		for i := range page {
			out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "b", Key: page[i].ID + "/" + page[i].ExportID}}
		}
		return out
	}
	const before, expired = `'2025-10-01T00:00:00.000Z'`, `'2025-10-02T00:00:00.000Z'`
	const good = `('i', 'good', 'u', ` + before + `, 'csv', '{}', 1, 5, 'completed', 'a', ` + expired + `, NULL, ` + before + `, ` + before + `, 0)`
	bad := func(status, expires string) (values []string) {
		for i, v := range []string{"NULL", "7", "1.5", "x'ff00'", "x''", "''", "1730000000", "'2'"} {
			values = append(values,
				fmt.Sprintf(`(%[1]s, %[1]s, 'u', %[1]s, %[1]s, %[1]s, %[1]s, %[1]s, %[2]s, 'k%[3]d', %[4]s, %[1]s, %[5]s, %[1]s, %[1]s)`, v, status, i, expires, before),
				fmt.Sprintf(`(%[1]s, 'e%[3]d', 'u', %[1]s, %[1]s, %[1]s, %[1]s, %[1]s, %[2]s, 'k%[3]d', %[1]s, %[1]s, %[5]s, %[1]s, %[1]s)`, v, status, i, expires, before))
		}
		return values
	}
	for _, timeType := range []string{"TEXT", "DATETIME", "TIMESTAMP", ""} {
		for name, sel := range map[string]exportops.Selection{
			"expiry":      {Mode: exportops.ByExpiry, Now: now},
			"age":         {Mode: exportops.ByAge, Cut: now},
			"log_cleanup": {Mode: exportops.ByLogCleanup, Cut: now},
			"erasure":     {Mode: exportops.ByErasure, UserID: "u"},
		} {
			t.Run(fmt.Sprintf("%s_times_by_%s", timeType, name), func(t *testing.T) {
				s := openForeign(t, timeType)
				insert := func(values string) {
					t.Helper()
					if _, err := s.Writer().ExecContext(t.Context(), `INSERT INTO export_logs VALUES `+values); err != nil {
						t.Fatal(err)
					}
				}
				status := "'completed'"
				if sel.Mode == exportops.ByLogCleanup {
					status = "'failed'"
				}
				for _, values := range bad(status, expired) {
					insert(values)
				}
				insert(good)
				if sel.Mode == exportops.ByLogCleanup {
					if _, err := s.Writer().ExecContext(t.Context(), `UPDATE export_logs SET status = 'failed'`); err != nil {
						t.Fatal(err)
					}
				}
				_, fence, _, err := s.BeginRun(t.Context(), exportops.RunRequest{Job: exportops.FileCleanup, Lane: "l", Params: []byte(`{}`), Now: now, Lease: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				c := exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Minute}
				seen, rows, expiredRows := 0, 0, 0
				var after exportops.Cursor
				for {
					page, err := s.ClaimFiles(t.Context(), c, exportops.ClaimRequest{Selection: sel, Store: "s", After: after, Limit: 2, Decide: claims})
					if err != nil {
						t.Fatal(err)
					}
					var batch []exportops.Settlement
					for i, r := range page.Candidates {
						if rows++; rows > 100 {
							t.Fatal("it comes to no end")
						}
						if r.ExportID == "good" {
							if seen++; sel.Judge(r) != exportops.Due {
								t.Fatalf("the good row is %s: %+v", sel.Judge(r), r)
							}
						}
						if page.Claims[i] != nil {
							batch = append(batch, exportops.Settlement{Claim: page.Claims[i], State: exportops.DeletionDone})
						}
					}
					settled, err := s.Settle(t.Context(), c, batch)
					if err != nil {
						t.Fatal(err)
					}
					for i, o := range settled {
						if o.RowExpired {
							expiredRows++
						}
						// An id that is no text names no row; its row is left alone.
						if id := batch[i].Claim.ExportID; o.RowUnlike && (id == "2" || id == "good" || strings.HasPrefix(id, "e")) {
							t.Errorf("row %q is what it was, and was settled as %+v", id, o)
						}
					}
					if after = page.Next; after == "" {
						break
					}
				}
				if seen != 1 || (sel.Mode != exportops.ByLogCleanup && expiredRows == 0) {
					t.Fatalf("the good row was seen %d times, and %d rows expired", seen, expiredRows)
				}
				readLogs(t, s, now)
			})
		}
	}
}

// readLogs walks through all of the table's old rows.
func readLogs(t *testing.T, s *sqlite.Store, now exportops.Time) {
	t.Helper()
	for _, sel := range []exportops.LogSelection{{Cut: now}, {UserID: "u"}} {
		good, n := 0, 0
		var after exportops.Cursor
		for {
			page, next, err := s.LogRows(t.Context(), sel, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				if n++; r.ExportID == "good" {
					good++
				}
			}
			if after = next; next == "" {
				break
			}
			if n > 100 {
				t.Fatal("it comes to no end")
			}
		}
		if good != 1 {
			t.Fatalf("the good row was seen %d times", good)
		}
	}
	if st, err := s.LogStatistics(t.Context(), now); err != nil || st.OldestLogDate == nil {
		t.Fatalf("statistics %+v %v, want the good row's date", st, err)
	}
}

// A status may be missing as well. Such a row names its file all the same.
func TestARowWithoutAStatus(t *testing.T) {
	s := openForeign(t, "TEXT")
	_, err := s.Writer().ExecContext(t.Context(), `INSERT INTO export_logs (id, export_id, user_id, timestamp, file_url)
		VALUES ('i', 'e', 'u', '2025-10-01T00:00:00.000Z', 'k')`)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range s.NamedFiles(t.Context(), exportops.Time{}) {
		if err != nil || row.FileURL != "k" {
			t.Fatalf("%+v, %v", row, err)
		}
	}
}
