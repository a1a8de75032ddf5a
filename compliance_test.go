package exportops_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// reported is a table of exports, in pages of two, and their ledger.
type reported struct {
	exports []exportops.Export
	ledger  []exportops.Deletion
	asked   exportops.ExportFilter
	err     error
	holds   []exportops.Hold
}

func (r *reported) Holds(_ context.Context, f exportops.HoldFilter) ([]exportops.Hold, error) {
	if f.All {
		return nil, errors.New("released holds hold nothing")
	}
	return r.holds, nil
}

func (r *reported) Exports(_ context.Context, f exportops.ExportFilter) ([]exportops.Export, string, error) {
	r.asked = f
	from := len(f.Cursor)
	if to := from + 2; to < len(r.exports) {
		return r.exports[from:to], strings.Repeat("x", to), nil
	}
	return r.exports[from:], "", r.err
}

func (r *reported) DeletionsOf(_ context.Context, ids []string) (out []exportops.Deletion, _ error) {
	for _, d := range r.ledger {
		for _, id := range ids {
			if d.ExportID == id {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

var reportNoon = exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))

func exportsNamed(urls ...string) (all []exportops.Export) {
	for i, u := range urls {
		all = append(all, exportops.Export{
			ExportID: fmt.Sprintf("e%d", i), UserID: "u", Timestamp: reportNoon, CreatedAt: reportNoon, Format: exportops.CSV,
			Status: exportops.Completed, FileURL: &u, ExpiresAt: &reportNoon,
		})
	}
	return all
}

// readReport returns the cells of each line by the names of their columns.
func readReport(t *testing.T, r *reported) (lines []map[string]string) {
	t.Helper()
	return readReportUnder(t, r, nil)
}

func readReportUnder(t *testing.T, r *reported, policy *exportops.Policy) (lines []map[string]string) {
	t.Helper()
	var b bytes.Buffer
	n, err := exportops.WriteReport(t.Context(), &b, r, exportops.ReportTerms{
		Span: exportops.Span{From: reportNoon}, LogRetention: 30 * 24 * time.Hour, Policy: policy, Now: reportNoon,
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(&b).ReadAll()
	if err != nil || int64(len(all)-1) != n {
		t.Fatalf("%d records, told are %d: %v", len(all), n, err)
	}
	for _, record := range all[1:] {
		line := map[string]string{}
		for i, name := range all[0] {
			line[name] = record[i]
		}
		lines = append(lines, line)
	}
	return lines
}

// of makes the ledger's entries those of the files that the exports name.
func of(r *reported) {
	at := reportNoon.String()
	for i, d := range r.ledger {
		for _, e := range r.exports {
			if e.ExportID == d.ExportID {
				r.ledger[i].FileURL, r.ledger[i].ExpiresAt = e.FileURL, &at
			}
		}
	}
}

func TestTheReportOfAnExportMadeAgain(t *testing.T) {
	r := &reported{exports: exportsNamed("a", "a", "a", "a")}
	r.ledger = []exportops.Deletion{
		{ID: 1, ExportID: "e0"}, {ID: 2, ExportID: "e1"}, {ID: 3, ExportID: "e2"}, {ID: 4, ExportID: "e3"}, {ID: 5, ExportID: "e3"},
	}
	for i := range r.ledger {
		r.ledger[i].State, r.ledger[i].FinishedAt = exportops.DeletionDone, &reportNoon
	}
	of(r)
	url, later, exact := "a/again", exportops.At(reportNoon.Add(time.Hour)), "2025-10-31T12:00:00.000345Z"
	r.exports[0].FileURL = &url
	r.exports[1].ExpiresAt = &later
	r.exports[2].ExpiresAt = nil
	r.ledger[3].ExpiresAt = &exact // as Postgres has it
	r.ledger[4].FileURL = &url
	for i, want := range []string{"", "", "", "4"} {
		line := readReport(t, r)[i]
		if line["ledger_entry"] != want || (line["file_deleted_at"] != "") != (want != "") || (line["deletion"] != "") != (want != "") {
			t.Errorf("export %d, made again but for the last: %v, want entry %q", i, line, want)
		}
	}
}

func TestTheReportUnderAPolicy(t *testing.T) {
	const day = 24 * time.Hour
	policy, err := exportops.NewPolicy(exportops.KeepFor(day), exportops.KeepFor(2*day), []exportops.Rule{
		{Name: "audit", Match: exportops.Match{Config: map[string][]any{"scope": {"audit"}}}, Files: exportops.KeepFor(day), Logs: exportops.Never},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &reported{exports: exportsNamed("a", "b", "c")}
	r.exports[1].Config, r.exports[2].Timestamp = []byte(`{"scope":"audit"}`), exportops.Time{}
	for i, line := range readReportUnder(t, r, policy) {
		want := []string{"2025-11-02T12:00:00.000Z", "", ""}[i] // by default, never, and at no time that can be read
		if got := line["log_kept_until"]; got != want {
			t.Errorf("export %d is kept until %q, want %q", i, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := &reported{exports: exportsNamed("a", "b", "c", "d", "e")}
	later := exportops.At(reportNoon.Add(time.Hour))
	r.ledger = []exportops.Deletion{
		{ID: 1, ExportID: "e1", State: exportops.DeletionChanged, FinishedAt: &reportNoon},
		{ID: 2, ExportID: "e1", State: exportops.DeletionDone, Mode: exportops.ByExpiry, Evidence: "confirmed", RunID: "run", Bytes: 9, FinishedAt: &later},
		{ID: 3, ExportID: "e4", State: exportops.DeletionFailed, Failures: 2, Error: "no", FinishedAt: &later},
	}
	of(r)
	lines := readReport(t, r)
	if len(lines) != 5 || r.asked.From != reportNoon {
		t.Fatalf("%d lines, asked for %+v", len(lines), r.asked)
	}
	for line, want := range map[int]map[string]string{
		0: {"export_id": "e0", "deletion": "", "file_deleted_at": "", "file_url": "a", "log_kept_until": "2025-11-30T12:00:00.000Z"},
		1: {"deletion": "deleted", "file_deleted_at": later.String(), "deletion_mode": "expiry", "evidence": "confirmed", "run_id": "run", "bytes_freed": "9", "ledger_entry": "2"},
		4: {"deletion": "failed", "file_deleted_at": "", "failures": "2", "deletion_error": "no", "expires_at": reportNoon.String()},
	} {
		for name, cell := range want {
			if lines[line][name] != cell {
				t.Errorf("line %d: %s is %q, want %q", line, name, lines[line][name], cell)
			}
		}
	}
	for name, c := range map[string]struct {
		hold exportops.Hold
		held string
	}{
		"an_export":  {exportops.Hold{Scope: exportops.HoldExport, Subject: "E1"}, "-x---"},
		"a_user":     {exportops.Hold{Scope: exportops.HoldUser, Subject: "u"}, "xxxxx"},
		"another":    {exportops.Hold{Scope: exportops.HoldUser, Subject: "v"}, "-----"},
		"everything": {exportops.Hold{Scope: exportops.HoldAll}, "xxxxx"},
	} {
		r.holds = []exportops.Hold{c.hold}
		got := ""
		for _, line := range readReport(t, r) {
			got += map[string]string{"true": "x", "false": "-"}[line["held"]]
		}
		if got != c.held {
			t.Errorf("a hold on %s: held is %s, want %s", name, got, c.held)
		}
	}
	r.err = errors.New("no database")
	if _, err := exportops.WriteReport(t.Context(), &bytes.Buffer{}, r, exportops.ReportTerms{}); !errors.Is(err, r.err) {
		t.Errorf("error %v", err)
	}
}

func TestReportOfHostileTexts(t *testing.T) {
	formulas := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "＝1", "=HYPERLINK(\"http://x\",\"a,b\")"}
	for _, text := range formulas {
		if got := readReport(t, &reported{exports: exportsNamed(text)})[0]["file_url"]; got != "'"+text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	if got := readReport(t, &reported{exports: exportsNamed("\r=1")})[0]["file_url"]; !strings.HasPrefix(got, "'") {
		t.Errorf("a carriage return is written as %q", got)
	}
	for _, text := range []string{"", "a=1", `say "hi", then`, "two\nlines", "'=1", "ä", "\xff", `\.`} {
		if got := readReport(t, &reported{exports: exportsNamed(text)})[0]["file_url"]; got != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}
