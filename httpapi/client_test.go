package httpapi_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
)

// TestTheClientAndTheServerAgree runs our own client against the handler over a
// real connection.
func TestTheClientAndTheServerAgree(t *testing.T) {
	store := &memory{}
	o := withStore(t)
	o.Metrics = store
	server := httptest.NewServer(serve(t, o))
	defer server.Close()
	open := func(token string) *client.Client {
		c, err := client.New(server.URL, token)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, reader := open(ingestToken), open(readToken)
	defer func() {
		if err := reader.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()

	created, err := c.CreateExport(t.Context(), exportops.Export{ExportID: exportID, UserID: userID, Format: exportops.Markdown})
	if err != nil || created.Status != exportops.Queued || created.Timestamp != noon {
		t.Errorf("created %+v: %v", created, err)
	}
	if _, err = c.CreateExport(t.Context(), created); !exportops.IsKind(err, exportops.KindConflict) {
		t.Errorf("created twice: %v", err)
	}
	done := exportops.Completed
	updated, err := c.UpdateExport(t.Context(), exportID, exportops.ExportUpdate{Status: &done, FileURL: ptr("a.md"), FileSize: ptr(int64(9))})
	if err != nil || updated.Status != done || updated.ExpiresAt == nil {
		t.Errorf("updated %+v: %v", updated, err)
	}
	expired := exportops.Expired
	_, err = c.UpdateExport(t.Context(), exportID, exportops.ExportUpdate{Status: &expired})
	if !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("expired by hand: %v", err)
	}
	if _, err = c.Export(t.Context(), exportID); !exportops.IsKind(err, exportops.KindRefused) {
		t.Errorf("read with the token of another scope: %v", err)
	}
	page, next, err := reader.Exports(t.Context(), exportops.ExportFilter{UserID: userID, Format: exportops.Markdown, Status: done, To: exportops.At(noon.Add(1e9))})
	if err != nil || next != "" || cmp.Diff([]exportops.Export{updated}, page) != "" {
		t.Errorf("%v, next %q: %s", err, next, cmp.Diff([]exportops.Export{updated}, page))
	}

	for i := range 1200 {
		m := exportops.Metric{
			ExportID: exportops.NewID(), UserID: userID, Format: exportops.CSV, Status: exportops.Failed, DurationMS: ptr(int64(i)),
			ErrorMessage: ptr(fmt.Sprintf("line\n%d \u2028 \"quoted\" 🙂", i)),
		}
		if err := c.Log(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Recorded != 1200 || len(store.known) != 1200 {
		t.Errorf("%+v, and the store has %d", s, len(store.known))
	}
}
