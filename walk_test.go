package exportops_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

// In passes of a few, everything comes in order, once.
func TestLeastSortsInPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.StringN(0, 3, 6), rapid.ID[string]).Draw(t, "keys")
		most := rapid.IntRange(1, 5).Draw(t, "most")
		var got []string
		for begun, more := false, true; more; begun = true {
			least := exportops.NewLeast[int](most)
			for i, k := range keys {
				if !begun || k > got[len(got)-1] {
					least.Add(k, i)
				}
			}
			var page []exportops.Keyed[int]
			page, more = least.Sorted()
			for _, e := range page {
				if keys[e.Value] != e.Key {
					t.Fatalf("the value of %q is that of %q", e.Key, keys[e.Value])
				}
				got = append(got, e.Key)
			}
			if len(page) > most || (more && len(page) < most) {
				t.Fatalf("a pass of %d, of which most is %d", len(page), most)
			}
		}
		slices.Sort(keys)
		if d := cmp.Diff(keys, got, cmp.Transformer("all", func(s []string) []string { return append([]string{}, s...) })); d != "" {
			t.Fatal(d)
		}
	})
}
