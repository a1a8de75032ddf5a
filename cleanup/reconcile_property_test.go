package cleanup_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// Of random rows and files, exactly those are unknown that no row names in any
// form, and exactly those missing that a live row names.
func TestReconcileFindsExactlyWhatDiffers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := testworld.New(rt, t.TempDir())
		key := rapid.SampledFrom([]string{"a", "b c", "c%d", "u/a", "u/b", "v/é", "v/w/x"})
		files := rapid.SliceOfDistinct(key, rapid.ID[string]).Draw(rt, "files")
		w.Write("always", "x") // or the folder may be empty
		for _, k := range files {
			w.Write(k, "x")
		}
		named, live := map[string]bool{"always": true}, map[string]string{}
		w.Insert(row{ExportID: id(1000), URL: "always", Expires: never})
		for i := range rapid.IntRange(0, 8).Draw(rt, "rows") {
			k := key.Draw(rt, "key")
			status := rapid.SampledFrom(exportops.Statuses).Draw(rt, "status")
			expires := rapid.SampledFrom([]string{never, w.Ago(-day), w.Ago(time.Hour)}).Draw(rt, "expires")
			form := rapid.SampledFrom([]string{"s3://exports/%s", "https://files.example.com/storage/v1/object/public/exports/%s"}).Draw(rt, "form")
			w.Insert(row{ExportID: id(i), URL: fmt.Sprintf(form, escape(k)), Status: status, Expires: expires})
			named[k] = true
			if status == exportops.Completed && expires != w.Ago(time.Hour) {
				live[id(i)] = k
			}
		}
		reconcile(t, w)
		var wantUnknown, wantMissing []string
		for _, k := range files {
			if !named[k] {
				wantUnknown = append(wantUnknown, k+": seen")
			}
		}
		for export, k := range live {
			if !slices.Contains(files, k) {
				wantMissing = append(wantMissing, export)
			}
		}
		slices.Sort(wantUnknown)
		slices.Sort(wantMissing)
		if got := unknown(w); !slices.Equal(got, wantUnknown) {
			rt.Fatalf("unknown %q, want %q", got, wantUnknown)
		}
		if got := missing(w); !slices.Equal(got, wantMissing) {
			rt.Fatalf("missing %q, want %q", got, wantMissing)
		}
	})
}

// escape writes a key as it stands in a URL.
func escape(key string) (out string) {
	for _, c := range []byte(key) {
		switch {
		case c == '/' || 'a' <= c && c <= 'z':
			out += string(c)
		default:
			out += fmt.Sprintf("%%%02X", c)
		}
	}
	return out
}
