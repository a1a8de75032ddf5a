package storetest

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// holdsOfRefused holds a row whose file_url is refused: it may mean the file that is
// being deleted because of another.
func holdsOfRefused(t *testing.T, f Fixture) {
	l := exportops.Locator{Bucket: "exports", Hosts: []string{"files.example.com"}}
	due := due(after(noon, -time.Hour), func(r *Row) { r.FileURL = ptr("u/a") })
	held := Row{FileURL: ptr("https://files.example.com/exports/u/a?versionId=1")}.Complete(noon)
	free := Row{FileURL: ptr("https://files.example.com/exports/u/b?versionId=1")}.Complete(noon)
	f.Insert(t, due, held, free)
	_, fence := begin(t, f, exportops.Started)
	claim(t, f, fence, toKey("u/a"), func(r *exportops.ClaimRequest) { r.ExportIDs = []string{due.ExportID} })
	for _, h := range []exportops.Hold{{Scope: exportops.HoldExport, Subject: held.ExportID}, {Scope: exportops.HoldUser, Subject: held.UserID}} {
		h.Reason, h.PlacedBy, h.PlacedAt = "a case", "counsel", noon
		_, err := f.Store.PlaceHold(t.Context(), h, l)
		wantKind(t, err, exportops.KindConflict, "")
	}
	_, err := f.Store.PlaceHold(t.Context(), exportops.Hold{
		Scope: exportops.HoldExport, Subject: free.ExportID, Reason: "a case", PlacedBy: "counsel", PlacedAt: noon,
	}, l)
	must(t, err)
}
