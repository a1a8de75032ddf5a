package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/eventlog"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/metrics"
)

var _ httpapi.Metrics = (*metrics.Service)(nil)

// TestAMetricIsDurableCountedAndLoggedOnce goes through every layer: the
// server, the metrics service, a database and the event log.
func TestAMetricIsDurableCountedAndLoggedOnce(t *testing.T) {
	var events bytes.Buffer
	log, err := eventlog.New(&events, eventlog.Options{Clock: options().Clock})
	if err != nil {
		t.Fatal(err)
	}
	o := withStore(t)
	o.Metrics = metrics.New(o.Exports.(metrics.Store), metrics.Options{Events: log, Now: func() exportops.Time { return noon }})
	h := serve(t, o)
	late := `,"timestamp":"2025-10-31T11:30:00Z"`
	body := strings.Join([]string{
		strings.Replace(oneMetric, `}`, late+`}`, 1), metricOf(otherExport, late+`,"error_type":"MailError","error_message":"no mailbox jane@example.com\n"`), "broken",
	}, "\n")
	golden(t, "end_to_end/recorded", postLines(body).send(h))
	golden(t, "end_to_end/repeated", postLines(body).send(h))
	wantProblem(t, postMetric(strings.Replace(oneMetric, "2500", "2501", 1)).send(h), http.StatusUnprocessableEntity, "body.attempt")
	var sum exportops.Summary
	w := request{method: http.MethodGet, path: "/api/v1/metrics/aggregate", token: readToken}.send(h)
	if err := json.Unmarshal(w.Body.Bytes(), &sum); err != nil || sum.TotalExports != 2 || sum.FailedExports != 1 ||
		sum.AvgDurationByFormat[exportops.JSONL] != 2500 || sum.ErrorDistribution["MailError"] != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	golden(t, "end_to_end/failure_rate", request{method: http.MethodGet, path: "/api/v1/metrics/failure-rate", token: readToken}.send(h))
	golden(t, "end_to_end/volume", request{method: http.MethodGet, path: "/api/v1/metrics/volume?days=1", token: readToken}.send(h))

	logged := strings.Split(strings.TrimSuffix(events.String(), "\n"), "\n")
	if len(logged) != 2 {
		t.Fatalf("%d events:\n%s", len(logged), &events)
	}
	for i, want := range []string{`"status":"completed"`, `"error_message":"no mailbox [email]\n"`} {
		if !json.Valid([]byte(logged[i])) || !strings.HasPrefix(logged[i], `{"type":"export_metric",`) || !strings.Contains(logged[i], want) {
			t.Errorf("event %d: %s", i, logged[i])
		}
		// A logged event can be sent back as it is. Its text was scrubbed, so
		// only the first is the same.
		if w := postMetric(logged[i]).send(h); (i == 0) != (w.Code == http.StatusAccepted) {
			t.Errorf("event %d sent back: %d %s", i, w.Code, w.Body)
		}
	}
}
