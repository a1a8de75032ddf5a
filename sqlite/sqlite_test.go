package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/exportops/exportops/sqlite"
	"github.com/exportops/exportops/storetest"
)

func TestConformance(t *testing.T) { storetest.Run(t, openFixture) }

// openFixture opens an empty store, and writes to it beside the store through
// the one connection that may.
func openFixture(t testing.TB) storetest.Fixture {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "exportops.db"), Create: true, ConfigKeys: storetest.FactKeys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	logs := strings.NewReplacer("{logs}", sqlite.DefaultTable)
	exec := func(t testing.TB, query string, args ...any) {
		t.Helper()
		if _, err := s.Writer().ExecContext(t.Context(), logs.Replace(query), args...); err != nil {
			t.Fatal(err)
		}
	}
	return storetest.Fixture{
		Store: s,
		Exec:  exec,
		Insert: func(t testing.TB, rows ...storetest.Row) {
			t.Helper()
			tx, err := s.Writer().BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				_, err := tx.ExecContext(t.Context(), `INSERT INTO export_logs (id, export_id, user_id, timestamp, format, config,
					conversation_count, file_size, status, file_url, expires_at, error_message, created_at, updated_at)
					VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
					r.ID, r.ExportID, r.UserID, r.Timestamp, r.Format, r.Config, r.Conversations, r.FileSize, r.Status,
					r.FileURL, r.ExpiresAt, r.Error, r.CreatedAt, r.UpdatedAt)
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		},
		Count: func(t testing.TB, query string, args ...any) (n int64) {
			t.Helper()
			if err := s.Writer().QueryRowContext(t.Context(), logs.Replace(query), args...).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		},
	}
}
