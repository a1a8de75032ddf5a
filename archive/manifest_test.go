package archive_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

var update = flag.Bool("update", false, "write the golden files anew")

var october = exportops.At(time.Date(2025, 10, 17, 8, 0, 0, 0, time.UTC))

func TestKeysReadBackAndSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "at"), 0)
		n := archive.NameOf(exportops.At(at), rapid.Int64Range(1, 1e17).Draw(t, "sequence"), [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum")))
		for _, key := range []string{n.Key(), n.ManifestKey()} {
			got, err := archive.ParseKey(key)
			if err != nil || got != n {
				t.Fatalf("ParseKey(%q) = %+v, %v, want %+v", key, got, err, n)
			}
			if err := exportops.CheckKey(key); err != nil {
				t.Fatal(err)
			}
		}
		if at.Before(n.Start().Time) || !at.Before(n.End().Time) {
			t.Fatalf("%s is not from %s to %s", at, n.Start(), n.End())
		}
	})
	n := archive.NameOf(october, 7, [32]byte{0x5f, 0x70, 0xbf, 0x18, 1})
	if n.Key() != "export_logs/year=2025/month=10/000007-5f70bf18.parquet" || n.ManifestKey() != "export_logs/year=2025/month=10/000007-5f70bf18.json" {
		t.Errorf("keys: %s, %s", n.Key(), n.ManifestKey())
	}
}

func TestOtherKeysAreRefused(t *testing.T) {
	const good = "export_logs/year=2025/month=10/000007-5f70bf18.parquet"
	if _, err := archive.ParseKey(good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"export_logs/", ""},
		{"export_logs/", "/export_logs/"},
		{"export_logs", "../export_logs"},
		{"month=10", "month=13"},
		{"month=10", "month=00"},
		{"month=10", "month=1"},
		{"year=2025", "year=25"},
		{"year=2025", "year=٢٠٢٥"},
		{"000007", "7"},
		{"000007", "0000007"},
		{"000007", "000000"},
		{"000007", "99999999999999999999"},
		{"5f70bf18", "5F70BF18"},
		{"5f70bf18", "5f70bf1"},
		{".parquet", ".parquet.tmp"},
		{".parquet", ""},
		{".parquet", ".json\n"},
	} {
		key := strings.Replace(good, change[0], change[1], 1)
		if n, err := archive.ParseKey(key); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("ParseKey(%q) = %+v, %v", key, n, err)
		}
	}
}

func manifest(tb testing.TB) archive.Manifest {
	tb.Helper()
	_, sum := write(tb, some(3)...)
	// The digest of the file changes with the encoder's version; the rest does not.
	sum.Bytes, sum.SHA256 = 7000, [32]byte{0x5f, 0x70, 0xbf, 0x18}
	return archive.NewManifest(archive.NameOf(october, 7, sum.SHA256), sum, exportops.At(time.Date(2025, 12, 1, 3, 0, 0, 0, time.UTC)), "exportops v1.2.3")
}

func TestAManifestIsJSON(t *testing.T) {
	got, err := manifest(t).Encode()
	check(t, err)
	golden := filepath.Join("testdata", "manifest.json")
	if *update {
		check(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the manifest (-want +got):\n%s", diff)
	}
	back, err := archive.ParseManifest(strings.NewReader(string(got)))
	check(t, err)
	if diff := cmp.Diff(manifest(t), back); diff != "" {
		t.Errorf("read back:\n%s", diff)
	}
}

func TestAManifestNamesNobody(t *testing.T) {
	rows := some(3)
	b, err := manifest(t).Encode()
	check(t, err)
	for _, row := range rows {
		for _, id := range []string{row.ID, row.ExportID, row.UserID} {
			if strings.Contains(string(b), id) {
				t.Errorf("the manifest holds %s", id)
			}
		}
	}
}

func TestAManifestThatContradictsItselfIsRefused(t *testing.T) {
	early, late := exportops.At(october.AddDate(0, -1, 0)), exportops.At(october.AddDate(0, 1, 0))
	for name, change := range map[string]func(*archive.Manifest){
		"format":          func(m *archive.Manifest) { m.Format = 2 },
		"key":             func(m *archive.Manifest) { m.Key = "x.parquet" },
		"a_manifests_key": func(m *archive.Manifest) { m.Key = strings.Replace(m.Key, ".parquet", ".json", 1) },
		"another_file":    func(m *archive.Manifest) { m.SHA256 = strings.Repeat("0", 64) },
		"short_digest":    func(m *archive.Manifest) { m.SHA256 = m.SHA256[:8] },
		"capital_digest":  func(m *archive.Manifest) { m.RowsSHA256 = strings.ToUpper(m.RowsSHA256) },
		"no_rows":         func(m *archive.Manifest) { m.Rows = 0 },
		"no_bytes":        func(m *archive.Manifest) { m.Bytes = -1 },
		"half_a_range":    func(m *archive.Manifest) { m.Newest = nil },
		"a_range_back":    func(m *archive.Manifest) { m.Oldest, m.Newest = m.Newest, m.Oldest },
		"too_early":       func(m *archive.Manifest) { m.Oldest = &early },
		"too_late":        func(m *archive.Manifest) { m.Newest = &late },
		"no_columns":      func(m *archive.Manifest) { m.Columns = nil },
		"no_time":         func(m *archive.Manifest) { m.CreatedAt = exportops.Time{} },
		"no_program":      func(m *archive.Manifest) { m.Program = "" },
	} {
		t.Run(name, func(t *testing.T) {
			m := manifest(t)
			change(&m)
			if _, err := m.Encode(); !exportops.IsKind(err, exportops.KindInvalid) {
				t.Errorf("Encode: %v", err)
			}
		})
	}
	for name, text := range map[string]string{
		"empty": "", "array": "[]", "cut": `{"format":1`, "more": `{} {}`, "long": strings.Repeat(" ", 2<<20), "no_fields": `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := archive.ParseManifest(strings.NewReader(text)); !exportops.IsKind(err, exportops.KindInvalid) {
				t.Errorf("ParseManifest: %v", err)
			}
		})
	}
}

func TestAManifestDescribesItsFileAlone(t *testing.T) {
	_, sum := write(t, some(3)...)
	m := archive.NewManifest(archive.NameOf(october, 1, sum.SHA256), sum, october, "exportops")
	check(t, m.Describes(sum))
	for name, change := range map[string]func(*archive.Summary){
		"rows":   func(s *archive.Summary) { s.Rows++ },
		"bytes":  func(s *archive.Summary) { s.Bytes++ },
		"sha256": func(s *archive.Summary) { s.SHA256[31]++ },
		"digest": func(s *archive.Summary) { s.RowsSHA256[31]++ },
	} {
		other := sum
		change(&other)
		if err := m.Describes(other); !errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("other %s: %v", name, err)
		}
	}
}
