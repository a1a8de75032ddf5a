package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// quarantine records files that may be deleted.
func quarantine(t testing.TB, f Fixture, c exportops.Checkpoint, keys ...string) (files []exportops.UnknownFile) {
	t.Helper()
	for _, key := range keys {
		u := unknownFile(key)
		u.State = exportops.UnknownQuarantined
		files = append(files, u)
	}
	must(t, f.Store.RecordUnknown(t.Context(), c, files))
	return files
}

// claimsOf says what became of each file: "claim", or why there is none.
func claimsOf(t testing.TB, f Fixture, c exportops.Checkpoint, files []exportops.UnknownFile) (out []exportops.UnknownClaim, said []string) {
	t.Helper()
	out, err := f.Store.ClaimUnknown(t.Context(), c, "b", files)
	must(t, err)
	for i, x := range out {
		switch {
		case x.Claim == nil:
			said = append(said, string(x.Kept))
		case x.Claim.Key != files[i].Key || x.Claim.ID == 0 || x.Kept != "":
			t.Fatalf("of %q: %+v", files[i].Key, x)
		default:
			said = append(said, "claim")
		}
	}
	return out, said
}

func claimUnknown(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	files := quarantine(t, f, c, "a", "changed", "seen", "adopted", "gone", "z")
	must(t, f.Store.RecordUnknown(t.Context(), c, func() []exportops.UnknownFile {
		now := slices.Clone(files[1:5])
		now[0].Modified = after(now[0].Modified, time.Minute)
		now[1].State, now[2].State, now[3].State = exportops.UnknownSeen, exportops.UnknownAdopted, exportops.UnknownGone
		return now
	}()))
	never := unknownFile("never recorded")
	asked := append(slices.Clone(files), never)
	out, said := claimsOf(t, f, c, asked)
	if d := cmp.Diff([]string{"claim", "changed", "in_grace", "named", "gone", "claim", "changed"}, said); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	d := out[0].Claim
	if d.Mode != exportops.ByReconcile || d.State != exportops.DeletionClaimed || d.Bucket != "b" || d.Store != "s" || d.Attempts != 1 ||
		d.FileSize == nil || *d.FileSize != 1 || d.RunID != c.RunID {
		t.Fatalf("%+v", d)
	}
	if _, said := claimsOf(t, f, c, files[:1]); said[0] != "claimed" {
		t.Fatalf("claimed twice: %s", said)
	}
	if out, _ := claimsOf(t, f, c, nil); len(out) != 0 {
		t.Fatalf("of nothing: %+v", out)
	}
	settled, err := f.Store.Settle(t.Context(), c, []exportops.Settlement{
		{Claim: out[0].Claim, State: exportops.DeletionDone, Bytes: 1, Evidence: "e"}, {Claim: out[5].Claim, State: exportops.DeletionFailed, Error: "why"},
	})
	must(t, err)
	if settled[0].RowExpired || settled[0].RowUnlike {
		t.Fatalf("%+v", settled)
	}
	if got := unknownKeys(t, f, exportops.UnknownFilter{Store: "s", State: exportops.UnknownGone}); !slices.Equal(got, []string{"a", "gone"}) {
		t.Fatalf("gone are %q", got)
	}
	again, said := claimsOf(t, f, c, []exportops.UnknownFile{files[0], files[5]})
	if d := cmp.Diff([]string{"gone", "claim"}, said); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if x := again[1].Claim; x.ID != out[5].Claim.ID || x.Attempts != 2 || x.Failures != 1 {
		t.Fatalf("claimed again: %+v", x)
	}
	list, err := f.Store.Deletions(t.Context(), exportops.DeletionFilter{})
	must(t, err)
	if len(list) != 2 || list[1].Bytes != 1 || list[1].ExportID != "" || list[0].State != exportops.DeletionClaimed {
		t.Fatalf("%+v", list)
	}
}

func reclaimUnknown(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	files := quarantine(t, f, c, "a", "b")
	_, said := claimsOf(t, f, c, files)
	if !slices.Equal(said, []string{"claim", "claim"}) {
		t.Fatal(said)
	}
	none, err := f.Store.ReclaimUnknown(t.Context(), c, 9)
	must(t, err)
	if len(none) != 0 {
		t.Fatalf("of its own: %+v", none)
	}
	_, fence = begin(t, f, exportops.TookOver, at(dead))
	c = check(fence, dead)
	open, _, err := f.Store.Reclaim(t.Context(), c, 9, func(exportops.OpenClaim) bool { return false })
	must(t, err)
	if len(open) != 0 {
		t.Fatalf("a file cleanup recovered %+v", open)
	}
	for _, key := range []string{"a", "b"} {
		got, err := f.Store.ReclaimUnknown(t.Context(), c, 1)
		must(t, err)
		if len(got) != 1 || got[0].Key != key || got[0].Attempts != 2 || got[0].RunID != c.RunID {
			t.Fatalf("%s: %+v", key, got)
		}
		_, err = f.Store.Settle(t.Context(), c, []exportops.Settlement{{Claim: &got[0], State: exportops.DeletionChanged}})
		must(t, err)
	}
	none, err = f.Store.ReclaimUnknown(t.Context(), c, 9)
	must(t, err)
	if len(none) != 0 {
		t.Fatalf("again: %+v", none)
	}
	if got := unknownKeys(t, f, exportops.UnknownFilter{Store: "s", State: exportops.UnknownQuarantined}); len(got) != 2 {
		t.Fatalf("quarantined are %q", got)
	}
}

func heldUnknown(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	user, other := exportops.NewID(), exportops.NewID()
	files := quarantine(t, f, c, "x/"+strings.ToUpper(user)+".csv", other+"/a", "free")
	h := exportops.Hold{Scope: exportops.HoldUser, Subject: user, Reason: "r", PlacedBy: "p", PlacedAt: noon}
	h, err := f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
	must(t, err)
	_, said := claimsOf(t, f, c, files)
	if d := cmp.Diff([]string{"held", "claim", "claim"}, said); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	late := h
	late.Subject = other
	_, err = f.Store.PlaceHold(t.Context(), late, exportops.Locator{})
	wantKind(t, err, exportops.KindConflict, "")
	_, err = f.Store.ReleaseHold(t.Context(), h.ID, "p", noon)
	must(t, err)
	all, err := f.Store.PlaceHold(t.Context(), exportops.Hold{Scope: exportops.HoldAll, Reason: "r", PlacedBy: "p", PlacedAt: noon}, exportops.Locator{})
	must(t, err)
	if all.UnderWay != 2 {
		t.Fatalf("%d are under way", all.UnderWay)
	}
	if _, said := claimsOf(t, f, c, files[:1]); said[0] != "held" {
		t.Fatal(said)
	}
	_, err = f.Store.ReleaseHold(t.Context(), all.ID, "p", noon)
	must(t, err)
	if _, said := claimsOf(t, f, c, files[:1]); said[0] != "claim" {
		t.Fatal(said)
	}
}

// heldExportsUnknown: a file whose key holds the id of an export is that of its user.
func heldExportsUnknown(t *testing.T, f Fixture) {
	one := Row{Status: "completed", FileURL: ptr("again")}.Complete(noon)
	bare := Row{Status: "failed", UserID: one.UserID}.Complete(noon)
	free := Row{Status: "failed"}.Complete(noon)
	f.Insert(t, one, bare, free)
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	files := quarantine(t, f, c, one.ExportID+".csv", "x/"+strings.ToUpper(bare.ExportID)+".csv", free.ExportID+".csv", "-"+one.ExportID[1:])
	h := place(t, f, exportops.HoldUser, one.UserID)
	_, said := claimsOf(t, f, c, files)
	if d := cmp.Diff([]string{"held", "held", "claim", "claim"}, said); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	release(t, f, h)
	for _, file := range files[:2] {
		if _, said := claimsOf(t, f, c, []exportops.UnknownFile{file}); said[0] != "claim" {
			t.Fatal(said)
		}
		_, err := f.Store.PlaceHold(t.Context(), exportops.Hold{
			Scope: exportops.HoldUser, Subject: one.UserID, Reason: "r", PlacedBy: "p", PlacedAt: noon,
		}, exportops.Locator{})
		wantKind(t, err, exportops.KindConflict, "")
		list, err := f.Store.Deletions(t.Context(), exportops.DeletionFilter{Limit: 1})
		must(t, err)
		_, err = f.Store.Settle(t.Context(), c, []exportops.Settlement{{Claim: &list[0], State: exportops.DeletionChanged}})
		must(t, err)
	}
}
