package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// BenchmarkIngest sends metrics over HTTP, 500 lines a request, to a server on a
// database; each request is answered once its lines are durable.
func BenchmarkIngest(b *testing.B) {
	const lines = 500
	o := withStore(b)
	o.Metrics = metrics.New(o.Exports.(metrics.Store), metrics.Options{Now: func() exportops.Time { return noon }})
	h := serve(b, o)
	b.ReportAllocs()
	for b.Loop() {
		var body strings.Builder
		for range lines {
			body.WriteString(strings.Replace(oneMetric, exportID, exportops.NewID(), 1) + "\n")
		}
		w := postLines(body.String()).send(h)
		if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), fmt.Sprintf(`"new":%d`, lines)) {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
