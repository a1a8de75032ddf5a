package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/exportops/exportops"
)

func FuzzMillis(f *testing.F) {
	for _, s := range []string{
		"2025-10-31T12:00:00.000Z", "2024-02-29T23:59:59.999Z", "2025-02-29T00:00:00.000Z", "0000-01-01T00:00:00.000Z",
		"1900-02-29T00:00:00.000Z", "2000-02-29T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2025-10-31T24:00:00.000Z",
		"2025-13-01T00:00:00.000Z", "2025-00-01T00:00:00.000Z", "2025-10-31T12:00:60.000Z", "2025-10-31 12:00:00.000Z", "2025-10-31T12:00:00,000Z", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := exportops.ParseStoredTime(s)
		got, gotOK := millis(s)
		if gotOK != ok || ok && got != want.UnixMilli() {
			t.Fatalf("millis(%q) = %d, %v; want %d, %v", s, got, gotOK, want.UnixMilli(), ok)
		}
	})
}

// A list of exports is found by an index that leads to few rows, and comes in
// order from the index of timestamps otherwise.
func TestListsUseTheIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cursor, err := exportCursor([2]string{"2025-10-31T12:00:00.000Z", "x"})
	if err != nil {
		t.Fatal(err)
	}
	now := exportops.Time{}.Hour()
	now.Time = now.AddDate(2024, 0, 0)
	for name, c := range map[string]struct {
		filter exportops.ExportFilter
		index  string
	}{
		"all":       {exportops.ExportFilter{}, "export_logs_timestamp"},
		"next_page": {exportops.ExportFilter{Cursor: cursor}, "export_logs_timestamp"},
		"time":      {exportops.ExportFilter{From: now, To: now}, "export_logs_timestamp"},
		"user":      {exportops.ExportFilter{UserID: "u", From: now, Status: exportops.Failed, Format: exportops.CSV, Cursor: cursor}, "export_logs_user_id"},
		"failed":    {exportops.ExportFilter{Status: exportops.Failed, From: now}, "export_logs_status"},
		"queued":    {exportops.ExportFilter{Status: exportops.Queued}, "export_logs_status"},
		"completed": {exportops.ExportFilter{Status: exportops.Completed}, "export_logs_timestamp"},
		"format":    {exportops.ExportFilter{Format: exportops.CSV, Status: exportops.Completed}, "export_logs_timestamp"},
	} {
		query, args, err := listExports(c.filter)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+s.sql(query), append(args, 51)...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		err = scanAll(rows, func() error {
			var a, b, c int
			var detail string
			err := rows.Scan(&a, &b, &c, &detail)
			plan = append(plan, detail)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan[0], "USING INDEX "+c.index) {
			t.Errorf("%s: %q, want the index %s", name, plan, c.index)
		}
		if sorts := strings.Contains(strings.Join(plan, " "), "TEMP B-TREE FOR ORDER BY"); sorts && c.index == "export_logs_timestamp" {
			t.Errorf("%s: %q sorts what comes in order", name, plan)
		}
	}
}

// By the index on status, a batch of a thousand read its list once for each of
// all the completed exports there are: minutes instead of milliseconds.
func TestRowsExpireOneByOne(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.write.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+s.sql(expireQuery), "", "[]")
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	err = scanAll(rows, func() error {
		var id, parent, unused int64
		var step string
		err := rows.Scan(&id, &parent, &unused, &step)
		plan = append(plan, step)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan) < 2 || !strings.HasPrefix(plan[0], "SCAN json_each") || !strings.Contains(plan[1], "(export_id=?)") {
		t.Errorf("the plan is %q, want the list first and each row by its export_id", plan)
	}
}
