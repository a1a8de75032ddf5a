package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

// What the settings file says of log rows reaches the report that is asked for over HTTP.
func TestTheServedReportGoesByThePolicy(t *testing.T) {
	const token = secret + "-read"
	c := settings(t, func(s *config.Settings) { s.ReadToken = token })
	policy, err := exportops.NewPolicy(exportops.KeepFor(24*time.Hour), exportops.KeepFor(48*time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Policy = policy
	s := open(t, c)
	defer s.close()
	at := exportops.At(time.Now())
	_, err = s.Store.CreateExport(t.Context(), exportops.Export{
		ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: at, Format: exportops.CSV, Config: []byte(`{}`), Status: exportops.Queued,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.serve()
	code, body, err := s.call(http.MethodGet, "/api/v1/exports/report", token, "")
	if until := exportops.At(at.Add(48 * time.Hour)).String(); err != nil || code != http.StatusOK || !strings.HasSuffix(string(body), ","+until+"\r\n") {
		t.Errorf("%d %s %v, want until %s", code, body, err, until)
	}
	s.stops(stopSoon)
}
