package exporter_test

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

var update = flag.Bool("update", false, "write golden files anew")

// exportAndRead exports and reads the file as somebody else would, without the
// exporter's help.
func exportAndRead(t *testing.T, x *exporter.Exporter, dir string, req exporter.Request) []exporter.Conversation {
	t.Helper()
	data := exportFile(t, x, dir, req)
	var got []exporter.Conversation
	switch req.Format {
	case exportops.JSON:
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
	case exportops.JSONL:
		for line := range strings.Lines(string(data)) {
			var c exporter.Conversation
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatal(err)
			}
			got = append(got, c)
		}
	case exportops.CSV:
		got = fromCSV(t, string(data))
	default:
		t.Fatalf("no reader for %s", req.Format)
	}
	return got
}

func exportFile(t *testing.T, x *exporter.Exporter, dir string, req exporter.Request) []byte {
	t.Helper()
	result, err := x.Export(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, result.FileURL))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fromCSV(t *testing.T, text string) []exporter.Conversation {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	metadata := len(rows[0]) == 7
	plain := func(cell string) string { return strings.TrimPrefix(cell, "'") }
	var got []exporter.Conversation
	for _, row := range rows[1:] {
		n, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		if n > len(got) {
			var c exporter.Conversation
			if metadata {
				c.ID, c.Topic = plain(row[4]), plain(row[5])
				if c.CreatedAt, err = exportops.ParseTime(row[6]); err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, c)
		}
		c := &got[n-1]
		c.Messages = append(c.Messages, exporter.Message{Role: row[2], Content: plain(row[3])})
		if row[1] != strconv.Itoa(len(c.Messages)) {
			t.Errorf("conversation %d: turn %s, want %d", n, row[1], len(c.Messages))
		}
	}
	return got
}

func TestWhatWasExportedReadsBackTheSame(t *testing.T) {
	for _, format := range []exportops.Format{exportops.JSON, exportops.JSONL, exportops.CSV} {
		for _, metadata := range []bool{true, false} {
			for _, system := range []bool{true, false} {
				x, _, dir := setUp(t, nil)
				req := request(format)
				req.IncludeMetadata, req.IncludeSystem = metadata, system
				var want []exporter.Conversation
				for _, c := range conversations(t) {
					if !metadata {
						c = exporter.Conversation{Messages: c.Messages}
					}
					if !system && c.Messages[0].Role == "system" {
						c.Messages = c.Messages[1:]
					}
					want = append(want, c)
				}
				if diff := cmp.Diff(want, exportAndRead(t, x, dir, req)); diff != "" {
					t.Errorf("%s, metadata %v, system %v (-want +got):\n%s", format, metadata, system, diff)
				}
			}
		}
	}
}

// hostile holds what formats stumble over.
var hostile = []string{
	"=1+1", "+49 30 1234", "-2", "@SUM(A1)", "\t=1", "'quoted", "''twice", "＝1", `=HYPERLINK("http://x","y")`,
	`say "hi", then go`, "one\ntwo\n\nfour", " = not at the start", "`", "```go\nfmt.Println()\n```", "````\n```\n````",
	"# heading", "<script>alert(1)</script>", "| a | b |", "عربي, עברית", "日本語、中文", "👩‍👩‍👧‍👦", "line\u2028separator", `C:\new`, "\\n",
}

func hostileLines(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for i, s := range hostile {
		line, err := json.Marshal(exporter.Conversation{
			ID: s, Topic: s, CreatedAt: exportops.At(noon),
			Messages: []exporter.Message{{Role: "user", Content: s}, {Role: "assistant", Content: strings.Repeat(s+" ", i) + "."}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func TestHostileTextReadsBackTheSame(t *testing.T) {
	for _, format := range []exportops.Format{exportops.JSON, exportops.JSONL, exportops.CSV} {
		x, _, dir := setUp(t, lines(hostileLines(t)))
		got := exportAndRead(t, x, dir, request(format))
		if len(got) != len(hostile) {
			t.Fatalf("%s: %d conversations, want %d", format, len(got), len(hostile))
		}
		for i, want := range hostile {
			if got[i].ID != want || got[i].Topic != want || got[i].Messages[0].Content != want {
				t.Errorf("%s: %q came back as %q, %q, %q", format, want, got[i].ID, got[i].Topic, got[i].Messages[0].Content)
			}
		}
	}
}

func TestNoCSVCellIsAFormula(t *testing.T) {
	for _, source := range []exporter.Source{nil, lines(hostileLines(t))} {
		x, _, dir := setUp(t, source)
		rows, err := csv.NewReader(strings.NewReader(string(exportFile(t, x, dir, request(exportops.CSV))))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		guarded := 0
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
					t.Errorf("a spreadsheet would run %q", cell)
				}
				if strings.HasPrefix(cell, "'") {
					guarded++
				}
			}
		}
		if guarded == 0 {
			t.Error("nothing had to be guarded, so nothing was tested")
		}
	}
}

func TestMarkdown(t *testing.T) {
	x, _, dir := setUp(t, lines(hostileLines(t)))
	got := exportFile(t, x, dir, request(exportops.Markdown))
	golden := filepath.Join("testdata", "hostile.md")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}
