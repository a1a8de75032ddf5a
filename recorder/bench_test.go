package recorder_test

import (
	"context"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

func BenchmarkLog(b *testing.B) {
	sink := recorder.SinkFunc(func(_ context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
		return make([]exportops.Receipt, len(batch)), nil
	})

	b.Run("queued", func(b *testing.B) {
		const room = 1 << 14
		r := recorder.New(sink, recorder.Options{Capacity: room, BatchSize: room, Delay: time.Hour})
		defer closeBench(b, r)
		m := metric()
		b.ReportAllocs()
		for i := range b.N {
			if i%(room/2) == room/2-1 {
				b.StopTimer()
				if err := r.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			if err := r.Log(m); err != nil {
				b.Fatal(err)
			}
		}
	})

	b.Run("full", func(b *testing.B) {
		hang := recorder.SinkFunc(func(ctx context.Context, _ []exportops.Metric) ([]exportops.Receipt, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		r := recorder.New(hang, recorder.Options{Capacity: 1})
		m := metric()
		b.ReportAllocs()
		for b.Loop() {
			_ = r.Log(m) // full from the second on, which is what is measured
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if r.Close(ended) == nil {
			b.Fatal("nothing was lost")
		}
	})

	b.Run("callers_side_by_side", func(b *testing.B) {
		r := recorder.New(sink, recorder.Options{})
		defer closeBench(b, r)
		m := metric()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = r.Log(m) // may be full: the sender is one goroutine
			}
		})
	})
}

func closeBench(b *testing.B, r *recorder.Recorder) {
	b.Helper()
	_ = r.Close(context.Background()) // a full queue is part of the measurement
}
