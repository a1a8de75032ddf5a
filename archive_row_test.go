package exportops_test

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

// archivedRow is one with every field set, each to something else.
func archivedRow() exportops.ArchivedRow {
	p := func(s string) *string { return &s }
	n := func(i int64) *int64 { return &i }
	return exportops.ArchivedRow{
		ID: "1", ExportID: "2", UserID: "3", Timestamp: "2025-10-01T12:00:00.000Z", Format: "json", Config: `{"a":1}`,
		ConversationCount: 4, FileSize: n(5), Status: "completed", FileURL: p("6"), ExpiresAt: p("7"), ErrorMessage: p("8"),
		CreatedAt: "9", UpdatedAt: "10", DownloadedCount: n(11),
		Metric: &exportops.ArchivedMetric{
			Status: "failed", Source: "measured", Attempt: 12, Format: "csv", ConversationCount: 13, DurationMS: n(14),
			FileSizeBytes: n(15), ErrorType: p("16"), ErrorMessage: p("17"), Timestamp: "18", CountedHour: p("19"),
		},
	}
}

// The hashes of rows that were archived by an earlier version are compared with
// those of this one.
func TestTheHashOfARowNeverChanges(t *testing.T) {
	full := archivedRow()
	for want, row := range map[string]exportops.ArchivedRow{
		"0a267f00dbec64427e9c0fd2353ae2bf54b7b98de3cff3cd4354c996df500186": full,
		"0497098056620751ca49cf4866fbf079c9ffaee3bd3d9e60aba1e2348b779f34": {},
	} {
		if h := row.Hash(); hex.EncodeToString(h[:]) != want {
			t.Errorf("the hash of %+v is %x, want %s", row, h, want)
		}
	}
}

func TestEveryFieldIsHashed(t *testing.T) {
	seen := map[[32]byte]string{}
	look := func(name string, r *exportops.ArchivedRow) {
		if other, ok := seen[r.Hash()]; ok {
			t.Errorf("a change of %s and of %s give the same hash", name, other)
		}
		seen[r.Hash()] = name
	}
	same := archivedRow()
	look("nothing", &same)
	change := func(name string, row *exportops.ArchivedRow, f reflect.Value) {
		if f.Kind() == reflect.Pointer {
			old := reflect.New(f.Type()).Elem()
			old.Set(f)
			f.SetZero()
			look("the presence of "+name, row)
			fresh := reflect.New(f.Type().Elem())
			fresh.Elem().Set(old.Elem())
			f.Set(fresh)
			f = f.Elem()
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
			look(name, row)
			f.SetString("")
			look("what is empty in "+name, row)
		case reflect.Int64:
			f.SetInt(-f.Int())
			look(name, row)
		case reflect.Struct:
		default:
			t.Errorf("%s is of a kind that this test does not know", name)
		}
	}
	for i := range reflect.TypeFor[exportops.ArchivedRow]().NumField() {
		row := archivedRow()
		change(reflect.TypeFor[exportops.ArchivedRow]().Field(i).Name, &row, reflect.ValueOf(&row).Elem().Field(i))
	}
	for i := range reflect.TypeFor[exportops.ArchivedMetric]().NumField() {
		row := archivedRow()
		change("Metric."+reflect.TypeFor[exportops.ArchivedMetric]().Field(i).Name, &row, reflect.ValueOf(row.Metric).Elem().Field(i))
	}
}

func TestSimilarRowsHaveDifferentHashes(t *testing.T) {
	for name, pair := range map[string][2]exportops.ArchivedRow{
		"what_is_no_UTF-8":       {{Config: "a\xff"}, {Config: "a\xfe"}},
		"and_its_replacement":    {{Config: "\xff"}, {Config: "\uFFFD"}},
		"a_byte_that_moved":      {{ID: "ab", ExportID: "c"}, {ID: "a", ExportID: "bc"}},
		"zero_bytes":             {{ID: "a\x00"}, {ID: "a"}},
		"a_length_inside_a_text": {{ID: "a\x00\x00\x00\x00\x00\x00\x00\x01b"}, {ID: "a", ExportID: "b"}},
		"nothing_and_empty":      {{FileURL: new(string)}, {}},
		"nothing_and_zero":       {{FileSize: new(int64)}, {}},
		"no_metric":              {{Metric: &exportops.ArchivedMetric{}}, {}},
	} {
		t.Run(name, func(t *testing.T) {
			if pair[0].Hash() == pair[1].Hash() {
				t.Errorf("%+v and %+v have one hash", pair[0], pair[1])
			}
		})
	}
}

func TestTheBinaryFormReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := exportops.ArchivedRow{
			ID: text(t), ExportID: text(t), UserID: text(t), Timestamp: text(t), Format: text(t), Config: text(t),
			ConversationCount: rapid.Int64().Draw(t, "n"), FileSize: maybe(t, rapid.Int64()), Status: text(t),
			FileURL: maybe(t, texts), ExpiresAt: maybe(t, texts), ErrorMessage: maybe(t, texts), CreatedAt: text(t), UpdatedAt: text(t),
			DownloadedCount: maybe(t, rapid.Int64()),
		}
		if rapid.Bool().Draw(t, "metric") {
			want.Metric = &exportops.ArchivedMetric{
				Status: text(t), Source: text(t), Attempt: rapid.Int64().Draw(t, "n"), Format: text(t),
				ConversationCount: rapid.Int64().Draw(t, "n"), DurationMS: maybe(t, rapid.Int64()),
				FileSizeBytes: maybe(t, rapid.Int64()), ErrorType: maybe(t, texts), ErrorMessage: maybe(t, texts),
				Timestamp: text(t), CountedHour: maybe(t, texts),
			}
		}
		b := want.AppendBinary(nil)
		var got exportops.ArchivedRow
		if err := got.ReadBinary(b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if err := got.ReadBinary(b[:cut]); err == nil {
			t.Fatalf("read %d of %d bytes", cut, len(b))
		}
		if err := got.ReadBinary(append(b, 0)); err == nil {
			t.Fatal("read one byte too many")
		}
	})
}

// texts are any bytes: a database may hold them.
var texts = rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })

func text(t *rapid.T) string { return texts.Draw(t, "text") }

func maybe[T any](t *rapid.T, of *rapid.Generator[T]) *T {
	return rapid.Ptr(of, true).Draw(t, "maybe")
}

func BenchmarkHashOfARow(b *testing.B) {
	row := archivedRow()
	row.Config = strings.Repeat("x", 300)
	b.ReportAllocs()
	for b.Loop() {
		row.Hash()
	}
}
