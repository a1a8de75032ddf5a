//go:build unix

package disk_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// BenchmarkDelete10000 deletes 10,000 files in batches, in the random order
// that rows have, and beside it lets find delete the same tree.
func BenchmarkDelete10000(b *testing.B) {
	const files = 10_000
	for _, layout := range []struct {
		name    string
		folders int
	}{{"one_folder", 1}, {"100_folders", 100}, {"5000_folders", 5000}} {
		b.Run(layout.name, func(b *testing.B) {
			refs := make([]exportops.FileRef, files)
			for i := range refs {
				refs[i].Key = fmt.Sprintf("user-%04d/export-%05d.json", i%layout.folders, i)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			rng.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
			var ours, find time.Duration
			for b.Loop() {
				// The timer covers both, the metrics tell them apart.
				b.StopTimer()
				mine, theirs := tree(b, refs), tree(b, refs)
				b.StartTimer()
				ours += deleteAll(b, mine, refs)
				find += findDelete(b, theirs)
			}
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/ours")
			b.ReportMetric(float64(find.Milliseconds())/float64(b.N), "ms/find")
			b.ReportMetric(float64(ours)/float64(find), "ours/find")
		})
	}
}

func tree(b *testing.B, refs []exportops.FileRef) string {
	b.Helper()
	dir := b.TempDir()
	for _, ref := range refs {
		put(b, dir, ref.Key, make([]byte, 512))
	}
	return dir
}

func deleteAll(b *testing.B, dir string, refs []exportops.FileRef) time.Duration {
	b.Helper()
	s := open(b, dir)
	start := time.Now()
	for batch := range slices.Chunk(refs, s.MaxBatch()) {
		results, err := s.Delete(b.Context(), batch)
		check(b, err)
		for i, r := range results {
			if r.Removal != exportops.Removed {
				b.Fatalf("Delete(%q) = %s, %v", batch[i].Key, r.Removal, r.Err)
			}
		}
	}
	return time.Since(start)
}

func findDelete(b *testing.B, dir string) time.Duration {
	b.Helper()
	start := time.Now()
	if out, err := exec.Command("find", dir, "-delete").CombinedOutput(); err != nil {
		b.Fatalf("find -delete: %v: %s", err, out)
	}
	return time.Since(start)
}
