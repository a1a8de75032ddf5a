package sqlite_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
)

// An older install has no downloaded_count: everything else works.
func TestATableWithoutDownloads(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Writer().Exec(`ALTER TABLE export_logs DROP COLUMN downloaded_count`); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil { // looks at the table again
		t.Fatal(err)
	}
	at := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	e := exportops.Export{
		ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: at, Format: exportops.CSV, Config: []byte(`{}`), Status: exportops.Queued,
	}
	if _, err := s.CreateExport(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	one := int64(1)
	_, err = s.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{DownloadedCount: &one}, nil, at)
	var wrong *exportops.Error
	if !exportops.IsKind(err, exportops.KindInvalid) || !errors.As(err, &wrong) || wrong.Field != "downloaded_count" {
		t.Fatalf("error %v, want the field refused", err)
	}
	got, err := s.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{FileSize: &one}, nil, at)
	if err != nil || *got.FileSize != 1 || got.DownloadedCount != 0 {
		t.Fatalf("%+v %v", got, err)
	}
}
