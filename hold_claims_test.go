package exportops_test

import (
	"iter"
	"testing"

	"github.com/exportops/exportops"
)

// A row whose URL is not read may mean the file that is being deleted.
func TestAHoldIsTooLateForWhatItsRowMayName(t *testing.T) {
	const export = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a01"
	l := exportops.Locator{Bucket: "b", Prefix: "p", Hosts: []string{"h.example"}}
	open := []exportops.Deletion{{ExportID: "another", Bucket: "b", Key: "p/a b"}}
	h := exportops.Hold{Scope: exportops.HoldExport, Subject: export}
	for url, late := range map[string]bool{
		"p/a%20b": true, "https://cdn.example/p/a%20b#1": true, "https://cdn.example/p/c": false, "s3://other/p/a b": false,
	} {
		rows := iter.Seq2[exportops.KeyRow, error](func(yield func(exportops.KeyRow, error) bool) {
			yield(exportops.KeyRow{ExportID: export, FileURL: url}, nil)
		})
		claim, err := h.ClaimOver(open, l, rows)
		if err != nil || (claim != nil) != late {
			t.Errorf("%s: %+v, %v", url, claim, err)
		}
	}
}
