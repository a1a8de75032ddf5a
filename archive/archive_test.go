package archive_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
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

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// write returns the file of some rows.
func write(tb testing.TB, rows ...*exportops.ArchivedRow) ([]byte, archive.Summary) {
	tb.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	for _, row := range rows {
		check(tb, w.Write(row))
	}
	sum, err := w.Close()
	check(tb, err)
	return b.Bytes(), sum
}

// read returns the rows of a file, or the error that it ends with.
func read(file []byte) (rows []*exportops.ArchivedRow, err error) {
	r, err := archive.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	for row, err := range r.Rows() {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func hashes(rows []*exportops.ArchivedRow) iter.Seq2[[sha256.Size]byte, error] {
	return func(yield func([sha256.Size]byte, error) bool) {
		for _, row := range rows {
			if !yield(row.Hash(), nil) {
				return
			}
		}
	}
}

func expectRows(tb testing.TB, file []byte, want []*exportops.ArchivedRow) {
	tb.Helper()
	got, err := read(file)
	check(tb, err)
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("rows (-want +got):\n%s", diff)
	}
}

// plausible makes a row as applications write them.
func plausible(i int, rng *rand.Rand) *exportops.ArchivedRow {
	at := time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second)
	text := exportops.At(at).String()
	expires := exportops.At(at.Add(24 * time.Hour)).String()
	hour := exportops.At(at).Hour().String()
	url := fmt.Sprintf("https://abc.supabase.co/storage/v1/object/sign/exports/%016x.json", rng.Uint64())
	size, took, count := rng.Int64N(1<<20), rng.Int64N(5000), rng.Int64N(1500)
	format := []string{"json", "csv", "jsonl", "markdown"}[rng.IntN(4)]
	id := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<12), rng.IntN(1<<12), rng.Int64N(1<<48))
	}
	return &exportops.ArchivedRow{
		ID: id(), ExportID: id(), UserID: fmt.Sprintf("00000000-0000-4000-8000-%012d", rng.IntN(20000)), Timestamp: text, Format: format,
		Config: fmt.Sprintf(`{"scope":"all","format":%q,"includeMetadata":true,"filters":{"from":"2025-01-%02d"}}`, format, 1+rng.IntN(28)),
		Status: "expired", ConversationCount: count, FileSize: &size, FileURL: &url, ExpiresAt: &expires, CreatedAt: text, UpdatedAt: expires,
		Metric: &exportops.ArchivedMetric{
			Status: "completed", Source: "measured", Attempt: 1, Format: format, ConversationCount: count, DurationMS: &took,
			FileSizeBytes: &size, Timestamp: text, CountedHour: &hour,
		},
	}
}

func some(n int) []*exportops.ArchivedRow {
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]*exportops.ArchivedRow, n)
	for i := range rows {
		rows[i] = plausible(i, rng)
	}
	return rows
}

func text(s string) *string { return &s }

// awkward are rows that no application should write, and some does.
func awkward() []*exportops.ArchivedRow {
	low, high := int64(-1<<63), int64(1<<63-1)
	return []*exportops.ArchivedRow{
		{},
		{FileURL: text(""), FileSize: new(int64), ExpiresAt: text(""), ErrorMessage: text(""), DownloadedCount: new(int64), Metric: &exportops.ArchivedMetric{
			DurationMS: new(int64), FileSizeBytes: new(int64), ErrorType: text(""), ErrorMessage: text(""), CountedHour: text(""),
		}},
		{Config: "a\x00b", ErrorMessage: text("\x00")},
		{ID: "\xff", Config: "\xc3\x28", ErrorMessage: text("caf\xe9"), Metric: &exportops.ArchivedMetric{ErrorType: text("\xed\xa0\x80")}},
		{ID: "\xfe", Config: "\uFFFD"},
		{ConversationCount: low, FileSize: &high, DownloadedCount: &low, Metric: &exportops.ArchivedMetric{Attempt: high}},
		{Timestamp: "2025-10-01T12:00:00.123456Z"},
		{Timestamp: "2025-10-01T12:00:00.123456789+05:30"},
		{Timestamp: "2025-10-01 12:00:00"},
		{Timestamp: "0000-01-01T00:00:00Z"},
		{Timestamp: "9999-12-31T23:59:59.999999Z"},
		{Timestamp: "9999-12-31T23:59:59-12:00"},
		{Timestamp: "infinity", Config: strings.Repeat("long \xff", 1<<18), ErrorMessage: text(strings.Repeat("x", 1<<20))},
		{Config: "exportops.seal\x18@" + strings.Repeat("0", 64), UserID: "PAR1"},
	}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	for name, rows := range map[string][]*exportops.ArchivedRow{
		"none":      nil,
		"one":       some(1),
		"plausible": some(1000),
		"many":      some(9000), // more than one group
		"awkward":   awkward(),
	} {
		t.Run(name, func(t *testing.T) {
			file, sum := write(t, rows...)
			expectRows(t, file, rows)
			if sum.Rows != int64(len(rows)) || sum.Bytes != int64(len(file)) || sum.SHA256 != sha256.Sum256(file) {
				t.Errorf("the summary says %+v", sum)
			}
			check(t, archive.Verify(bytes.NewReader(file), sum.Bytes, sum.SHA256, hashes(rows)))
			again, err := archive.Summarize(bytes.NewReader(file), sum.Bytes)
			check(t, err)
			if diff := cmp.Diff(sum, again); diff != "" {
				t.Errorf("the writer's summary and the reader's:\n%s", diff)
			}
		})
	}
}

func TestARowAfterOneThatIsNoUTF8(t *testing.T) {
	bytes := "\xff"
	rows := []*exportops.ArchivedRow{{ID: "a"}, {ID: "b", ErrorMessage: &bytes}, {ID: "c"}}
	content, _ := write(t, rows...)
	got, err := read(content)
	check(t, err)
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestAnyRowComesBackAsItWas(t *testing.T) {
	bytewise := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
	texts := rapid.OneOf(rapid.String(), bytewise, rapid.SampledFrom([]string{"2025-10-01T12:00:00.000Z", "completed", ""}))
	rapid.Check(t, func(t *rapid.T) {
		str := func() string { return texts.Draw(t, "text") }
		may := func() *string { return rapid.Ptr(texts, true).Draw(t, "may") }
		num := func() *int64 { return rapid.Ptr(rapid.Int64(), true).Draw(t, "number") }
		var rows []*exportops.ArchivedRow
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			row := &exportops.ArchivedRow{
				ID: str(), ExportID: str(), UserID: str(), Timestamp: str(), Format: str(), Config: str(), Status: str(),
				ConversationCount: rapid.Int64().Draw(t, "n"), FileSize: num(), FileURL: may(), ExpiresAt: may(), ErrorMessage: may(),
				CreatedAt: str(), UpdatedAt: str(), DownloadedCount: num(),
			}
			if rapid.Bool().Draw(t, "metric") {
				row.Metric = &exportops.ArchivedMetric{
					Status: str(), Source: str(), Attempt: rapid.Int64().Draw(t, "n"), Format: str(), DurationMS: num(),
					ConversationCount: rapid.Int64().Draw(t, "n"), FileSizeBytes: num(), ErrorType: may(), ErrorMessage: may(),
					Timestamp: str(), CountedHour: may(),
				}
			}
			rows = append(rows, row)
		}
		var b bytes.Buffer
		w := archive.NewWriter(&b)
		for _, row := range rows {
			before := row.Hash()
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
			if row.Hash() != before {
				t.Fatal("the writer changed the row")
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := read(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Each row is the reader's to keep.
func TestRowsShareNothing(t *testing.T) {
	rows := some(3000)
	file, _ := write(t, rows...)
	r, err := archive.Open(bytes.NewReader(file), int64(len(file)))
	check(t, err)
	var first *exportops.ArchivedRow
	for row, err := range r.Rows() {
		check(t, err)
		if first == nil {
			first = row
		}
	}
	if diff := cmp.Diff(rows[0], first); diff != "" {
		t.Errorf("the first row after the last one was read:\n%s", diff)
	}
}

func TestTheSummaryBoundsTheTimes(t *testing.T) {
	_, sum := write(t,
		&exportops.ArchivedRow{Timestamp: "2025-10-02T00:00:00.0005Z"}, &exportops.ArchivedRow{Timestamp: "2025-10-01T23:30:00.1239-01:00"},
		&exportops.ArchivedRow{Timestamp: "never"}, &exportops.ArchivedRow{Timestamp: "2025-10-02T00:00:00Z"})
	if got := sum.Oldest.String() + " " + sum.Newest.String(); got != "2025-10-02T00:00:00.000Z 2025-10-02T00:30:00.124Z" {
		t.Errorf("from %s", got)
	}
	if _, sum := write(t, &exportops.ArchivedRow{Timestamp: "never"}); !sum.Oldest.IsZero() || !sum.Newest.IsZero() {
		t.Errorf("times of a file without any: %s, %s", sum.Oldest, sum.Newest)
	}
}

type failing struct{ after int }

var errDisk = errors.New("the disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestAWriteThatFailsIsReported(t *testing.T) {
	rows := some(9000)
	file, _ := write(t, rows...)
	for _, after := range []int{0, 3, 5000, len(file) / 2, len(file) - 1} {
		w := archive.NewWriter(&failing{after: after})
		var err error
		for _, row := range rows {
			if err = w.Write(row); err != nil {
				break
			}
		}
		sum, closeErr := w.Close()
		if !errors.Is(closeErr, errDisk) || sum.Rows != 0 {
			t.Errorf("after %d bytes: %v, then %v and %+v", after, err, closeErr, sum)
		}
	}
}

func TestAWriterIsClosedOnce(t *testing.T) {
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	_, err := w.Close()
	check(t, err)
	n := b.Len()
	if _, err := w.Close(); err == nil {
		t.Error("closed twice")
	}
	if err := w.Write(some(1)[0]); err == nil || b.Len() != n {
		t.Errorf("written after the end: %v", err)
	}
}

// testdata/v1.parquet was written by the first version. It is never written anew:
// what is archived must be readable for as long as it is kept.
func TestFilesOfEarlierVersionsAreRead(t *testing.T) {
	rows := append(awkward()[:12], some(3)...)
	name := filepath.Join("testdata", "v1.parquet")
	file, err := os.ReadFile(name)
	check(t, err)
	expectRows(t, file, rows)
}

func BenchmarkWrite100000(b *testing.B) {
	rows := some(100_000)
	b.ReportAllocs()
	for b.Loop() {
		w := archive.NewWriter(&discard{})
		for _, row := range rows {
			check(b, w.Write(row))
		}
		sum, err := w.Close()
		check(b, err)
		b.ReportMetric(float64(sum.Bytes)/float64(sum.Rows), "bytes/row")
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkVerify100000(b *testing.B) {
	rows := some(100_000)
	file, sum := write(b, rows...)
	b.ReportAllocs()
	for b.Loop() {
		check(b, archive.Verify(bytes.NewReader(file), sum.Bytes, sum.SHA256, hashes(rows)))
	}
}
