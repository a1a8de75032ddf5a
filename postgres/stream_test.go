package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestStreams(t *testing.T) {
	s := openStore(t, newDatabase(t))
	const n = 2*fetchMost + 1
	batch := make([]exportops.Metric, n)
	for i := range batch {
		batch[i] = metricOf(exportops.NewID(), exportops.Completed, 1)
	}
	_, err := s.RecordMetrics(t.Context(), batch)
	must(t, err)
	hour := exportops.Span{From: noon, To: after(noon, time.Hour)}
	count := func(s exportops.Store, most int, each func()) (n int) {
		for _, err := range s.Outcomes(t.Context(), hour) {
			must(t, err)
			each()
			if n++; n == most {
				break
			}
		}
		return n
	}
	t.Run("yield_every_row_once", func(t *testing.T) {
		if got := count(s, 0, func() {}); got != n {
			t.Fatalf("%d rows, want %d", got, n)
		}
	})
	t.Run("stop_where_the_reader_does", func(t *testing.T) {
		for range 2 * s.pool.Config().MaxConns { // none is kept
			if got := count(s, 3, func() {}); got != 3 {
				t.Fatalf("%d rows, want 3", got)
			}
		}
	})
	t.Run("let_a_rehearsal_ask_for_more_meanwhile", func(t *testing.T) {
		must(t, s.Rehearse(t.Context(), func(play exportops.Store) error {
			count(play, 3, func() {
				if got := count(play, 0, func() {}); got != n {
					t.Errorf("%d rows, want %d", got, n)
				}
			})
			return nil
		}))
	})
}
