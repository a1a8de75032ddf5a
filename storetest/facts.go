package storetest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// FactKeys are the keys of configs that a store under test is opened with.
var FactKeys = []string{"scope", "full"}

// testFacts tests that rows come with what a retention policy asks for.
func testFacts(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	asked := after(noon, -1)
	type facts struct {
		Format exportops.Format
		Size   *int64
		Config exportops.ConfigValues
	}
	rows, want := map[string]Row{}, map[string]facts{}
	add := func(name string, r Row, c exportops.ConfigValues) {
		r.Status, r.FileURL, r.ExpiresAt = "completed", ptr(name), ptr(noon.String())
		r = r.Complete(asked)
		rows[r.ExportID], want[name] = r, facts{exportops.Format(r.Format), r.FileSize, c}
		f.Insert(t, r)
	}
	add("all", Row{Format: "csv", FileSize: ptr(int64(7)), Config: `{"scope": "all", "full": true, "other": 1}`},
		exportops.ConfigValues{"scope": "all", "full": true})
	add("none", Row{Format: "json", Config: `{}`}, exportops.ConfigValues{})
	add("a_number", Row{Config: `{"scope": 1.50}`}, exportops.ConfigValues{"scope": 1.5})
	add("nested", Row{Config: `{"scope": {"all": true}, "full": null}`}, exportops.ConfigValues{})
	add("no_object", Row{Config: `["scope"]`}, nil)
	add("too_large", Row{Config: `{"scope": "all", "other": "` + strings.Repeat("x", exportops.MaxConfigBytes) + `"}`}, nil)
	if !f.Typed {
		add("no_json", Row{Config: `{"scope": "all"`}, nil)
	}
	same := func(what string, page []exportops.Candidate) {
		t.Helper()
		got := map[string]facts{}
		for _, c := range page {
			got[*c.FileURL] = facts{c.Format, c.FileSize, c.Config}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	var ids []string
	for id := range rows {
		ids = append(ids, id)
	}
	page, err := f.Store.CandidatesByID(t.Context(), ids)
	must(t, err)
	same("by id", page)
	for _, sel := range []exportops.Selection{{Mode: exportops.ByExpiry, Now: noon}, {Mode: exportops.ByPolicy}} {
		page, _, err := f.Store.Candidates(t.Context(), sel, "", 100)
		must(t, err)
		same(string(sel.Mode), page)
	}
	logs, _, err := f.Store.LogRows(t.Context(), old, "", 100)
	must(t, err)
	same("log rows", candidates(logs))
}

// testEveryRow tests the selection that reads the whole table.
func testEveryRow(t *testing.T, open func(testing.TB) Fixture) {
	sel := exportops.Selection{Mode: exportops.ByPolicy}
	i := 0
	w := walked{row: func(n int) Row {
		i++
		return Row{Status: string(exportops.Statuses[i%len(exportops.Statuses)])}.Complete(after(noon, 0))
	}}
	f := open(t)
	sees(t, f, w, func(after exportops.Cursor, limit int) ([]exportops.Candidate, exportops.Cursor) {
		page, next, err := f.Store.Candidates(t.Context(), sel, after, limit)
		must(t, err)
		for _, c := range page {
			if j := sel.Judge(c); j != exportops.NotDue && j != exportops.StillRunning {
				t.Fatalf("a row that is read for a policy is %s", j)
			}
		}
		return page, next
	})
}

// testChangedFacts tests that a row stays whose facts changed since it was read:
// the policy may keep it now.
func testChangedFacts(t *testing.T, open func(testing.TB) Fixture) {
	for name, change := range map[string]string{
		"config": `UPDATE {logs} SET config = '{"scope":"all"}'`,
		"format": `UPDATE {logs} SET format = 'json'`,
		"size":   `UPDATE {logs} SET file_size = 5000`,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.Insert(t, Row{Format: "csv", Config: `{"scope":"one"}`, FileSize: ptr(int64(1))}.Complete(after(noon, -1)))
			rollUp(t, f)
			_, fence := begin(t, f, exportops.Started)
			page, _, err := f.Store.LogRows(t.Context(), old, "", 10)
			must(t, err)
			f.Exec(t, change)
			deleteRows(t, f, fence, page, 0)
		})
	}
}
