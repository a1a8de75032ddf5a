package s3_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

// BenchmarkDelete10000 deletes 10,000 objects in batches, and beside it lets a
// bare loop of bulk requests do the same.
func BenchmarkDelete10000(b *testing.B) {
	bucket := newBucket(b)
	for _, x := range []struct {
		name    string
		options s3.Options
		guard   *exportops.FileGuard
	}{
		{"confirmed", s3.Options{}, nil},
		{"guarded", s3.Options{}, &exportops.FileGuard{Size: aws.Int64(512)}},
		{"verify_full", s3.Options{VerifyFull: true}, nil},
	} {
		b.Run(x.name, func(b *testing.B) {
			s := bucket.open(b, x.options)
			var ours, bare time.Duration
			for b.Loop() {
				b.StopTimer()
				keys := bucket.fill(b, 10_000)
				bare += bucket.bareDelete(b, keys)
				bucket.fill(b, len(keys))
				b.StartTimer()
				ours += storeDelete(b, s, keys, x.guard)
			}
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms/ours")
			b.ReportMetric(float64(bare.Milliseconds())/float64(b.N), "ms/bare")
			b.ReportMetric(float64(ours)/float64(bare), "ours/bare")
		})
	}
}

func (b bucket) fill(tb testing.TB, n int) []string {
	tb.Helper()
	keys := make([]string, n)
	var workers sync.WaitGroup
	errs := make(chan error, n)
	turns := make(chan struct{}, 8)
	content := bytes.Repeat([]byte("x"), 512)
	for i := range keys {
		keys[i] = fmt.Sprintf("user-%03d/export-%05d.json", i%100, i)
		turns <- struct{}{}
		workers.Go(func() {
			errs <- b.put(tb.Context(), keys[i], content)
			<-turns
		})
	}
	workers.Wait()
	close(errs)
	for err := range errs {
		check(tb, err)
	}
	return keys
}

func storeDelete(b *testing.B, s *s3.Store, keys []string, guard *exportops.FileGuard) time.Duration {
	b.Helper()
	start := time.Now()
	for batch := range slices.Chunk(keys, s.MaxBatch()) {
		r := refs(batch...)
		for i := range r {
			r[i].Guard = guard
		}
		results, err := s.Delete(b.Context(), r)
		check(b, err)
		for i, got := range results {
			if got.Removal != exportops.Removed {
				b.Fatalf("Delete(%q) = %s, %v", batch[i], got.Removal, got.Err)
			}
		}
	}
	return time.Since(start)
}

func (b bucket) bareDelete(tb testing.TB, keys []string) time.Duration {
	tb.Helper()
	start := time.Now()
	for batch := range slices.Chunk(keys, 1000) {
		in := &awss3.DeleteObjectsInput{Bucket: &b.name, Delete: &types.Delete{}}
		for _, key := range batch {
			in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &key})
		}
		out, err := b.client.DeleteObjects(tb.Context(), in)
		check(tb, err)
		if len(out.Errors) > 0 {
			tb.Fatalf("a bare request failed: %+v", out.Errors[0])
		}
	}
	return time.Since(start)
}

// BenchmarkDeleteAlone is what a batch costs beside the service: a service in
// memory that answers at once.
func BenchmarkDeleteAlone(b *testing.B) {
	f := newFake()
	f.fault = func(q request) *http.Response {
		var said bytes.Buffer
		for _, e := range q.entry {
			said.WriteString(deleted(e.Key))
		}
		return bulkAnswer(said.String())
	}
	s := f.open(b)
	r := refs(numbered(1000)...)
	b.ReportAllocs()
	for b.Loop() {
		results, err := s.Delete(b.Context(), r)
		check(b, err)
		if results[999].Removal != exportops.Removed {
			b.Fatalf("%+v", results[999])
		}
		f.asked = nil
	}
}
