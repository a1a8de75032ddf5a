package exportops_test

import (
	"context"
	"testing"

	"github.com/exportops/exportops"
)

type missingFiles []exportops.MissingFile

func (m missingFiles) MissingFiles(context.Context, exportops.MissingFilter) ([]exportops.MissingFile, error) {
	return m, nil
}

// Postgres keeps microseconds, and an export says milliseconds of them.
func TestAMissingFileIsMarkedWhereAnExpiryHasMicroseconds(t *testing.T) {
	url, since := "u/a", mustTime(t, "2025-10-31T12:00:00.000Z")
	at := mustTime(t, "2025-11-01T12:00:00.123Z")
	for expires, want := range map[string]bool{
		"2025-11-01T12:00:00.123Z": true, "2025-11-01T12:00:00.123456Z": true, "2025-11-01T12:00:00.124456Z": false, "infinity": false,
	} {
		page := []exportops.Export{{ExportID: rowUser, Status: exportops.Completed, FileURL: &url, ExpiresAt: &at}}
		known := missingFiles{{ExportID: rowUser, FileURL: &url, ExpiresAt: &expires, FirstSeen: since}}
		if err := exportops.MarkMissing(t.Context(), known, page); err != nil {
			t.Fatal(err)
		}
		if got := page[0].FileMissingSince != nil; got != want {
			t.Errorf("missing one that expires at %s: %v, want %v", expires, got, want)
		}
	}
}

func mustTime(t *testing.T, s string) exportops.Time {
	t.Helper()
	at, err := exportops.ParseTime(s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
