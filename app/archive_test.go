package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

func parse(t *testing.T, s config.Settings) config.Config {
	t.Helper()
	c, err := s.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheArchiveThatTheSettingsNameIsOpened(t *testing.T) {
	dir := t.TempDir()
	for id, s := range map[string]config.Settings{
		"file://" + dir:                 {ArchiveURL: "file://" + dir},
		"s3://s3.amazonaws.com/cold/a/": {ArchiveURL: "s3://cold/a"},
		"s3://minio:9000/cold/":         {ArchiveBucket: "cold", StorageURL: "s3://hot?endpoint=http://minio:9000"},
		"supabase://abc.supabase.co/cold/": {
			ArchiveBucket: "cold", StorageURL: "supabase://hot", SupabaseURL: "https://abc.supabase.co", SupabaseKey: "sb_secret_0123456789",
		},
	} {
		t.Run(id, func(t *testing.T) {
			a, err := app.OpenArchive(t.Context(), parse(t, s))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if a.ID() != id {
				t.Errorf("ID = %s", a.ID())
			}
		})
	}
	if _, err := app.OpenArchive(t.Context(), parse(t, config.Settings{})); !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("without an archive: %v", err)
	}
}

func TestAFolderOfArchivesIsNotInTheStorageByALink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"exports/cold", "beside"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"same": "exports", "within": "exports/cold", "apart": "beside"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, refused := range map[string]bool{"same": true, "within": true, "apart": false, "beside": false} {
		a, err := app.OpenArchive(t.Context(), parse(t, config.Settings{StorageURL: "file://" + dir + "/exports", ArchiveURL: "file://" + dir + "/" + name}))
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "cleanup") {
			t.Errorf("%s: %v, want it refused: %v", name, err, refused)
		}
		if err == nil {
			t.Cleanup(func() { _ = a.Close() })
		}
	}
}
