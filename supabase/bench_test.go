package supabase_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/supabase"
)

// BenchmarkDelete removes objects in batches from the server that the
// environment names, and beside it lets a bare loop of bulk removals do the
// same.
func BenchmarkDelete(b *testing.B) {
	p := thePeer(b)
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			keys, _ := many(n)
			bucket := p.newBucket(b)
			store := p.open(b, supabase.Options{Bucket: bucket})
			var ours, bare time.Duration
			for b.Loop() {
				// The timer covers both, the metrics tell them apart.
				ours += p.timed(b, bucket, keys, func(batch []string) error {
					results, err := store.Delete(b.Context(), refs(batch...))
					for i, r := range results {
						if r.Removal != exportops.Removed {
							b.Fatalf("Delete(%q) = %s, %v", batch[i], r.Removal, r.Err)
						}
					}
					return err
				})
				bare += p.timed(b, bucket, keys, func(batch []string) error { return p.bareRemoval(bucket, batch) })
			}
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/ours")
			b.ReportMetric(float64(bare.Milliseconds())/float64(b.N), "ms/bare")
			b.ReportMetric(float64(ours)/float64(bare), "ours/bare")
		})
	}
}

// timed writes objects, and measures how long removing them in batches takes.
func (p peer) timed(b *testing.B, bucket string, keys []string, remove func(batch []string) error) time.Duration {
	b.Helper()
	b.StopTimer()
	p.fill(b, bucket, keys)
	b.StartTimer()
	began := time.Now()
	for batch := range slices.Chunk(keys, 1000) {
		check(b, remove(batch))
	}
	took := time.Since(began)
	if left, err := p.keys(bucket, ""); err != nil || len(left) != 0 {
		b.Fatalf("%d objects are left, %v", len(left), err)
	}
	return took
}

func (p peer) fill(b *testing.B, bucket string, keys []string) {
	b.Helper()
	var wg sync.WaitGroup
	for part := range slices.Chunk(keys, (len(keys)+3)/4) {
		wg.Go(func() {
			for _, key := range part {
				u := url.URL{Path: "/object/" + bucket + "/" + key}
				if err := p.ask(http.MethodPost, u.EscapedPath(), []byte("an export"), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func (p peer) bareRemoval(bucket string, keys []string) error {
	body, err := json.Marshal(map[string]any{"prefixes": keys})
	if err != nil {
		return err
	}
	return p.ask(http.MethodDelete, "/object/"+bucket, body, nil)
}

// BenchmarkDeleteOverhead removes objects from a server in this process that
// takes no time of its own to speak of: what is left is ours.
func BenchmarkDeleteOverhead(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStorage()
			server := httptest.NewServer(s)
			b.Cleanup(server.Close)
			store := open(b, supabase.Options{URL: server.URL})
			keys, _ := many(n)
			for b.Loop() {
				b.StopTimer()
				s.put(keys...)
				b.StartTimer()
				for batch := range slices.Chunk(keys, store.MaxBatch()) {
					results, err := store.Delete(b.Context(), refs(batch...))
					check(b, err)
					for i, r := range results {
						if r.Removal != exportops.Removed {
							b.Fatalf("Delete(%q) = %s, %v", batch[i], r.Removal, r.Err)
						}
					}
				}
			}
		})
	}
}
