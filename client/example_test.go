package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
	"github.com/exportops/exportops/recorder"
)

// An export reports what it measured and goes on; the server sees it soon
// after.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := strings.Count(string(body), "\n")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, `{"accepted":%d,"new":%[1]d,"repeated":0,"refused":0,"errors":[]}`, n)
	}))
	defer server.Close()

	ops, err := client.New(server.URL, "ingest-token", client.WithRecorder(recorder.Options{
		OnLoss: func(loss *recorder.LossError) { fmt.Println("metrics:", loss) },
	}))
	if err != nil {
		fmt.Println(err)
		return
	}

	started := time.Now()
	size := int64(524288) // … the export itself …
	took := time.Since(started).Milliseconds()
	_ = ops.Log(exportops.Metric{ // an export does not fail because it was not measured
		ExportID:          "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b",
		UserID:            "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10",
		Format:            exportops.JSONL,
		Status:            exportops.Completed,
		ConversationCount: 150,
		DurationMS:        &took,
		FileSizeBytes:     &size,
	})

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := ops.Close(ctx); err != nil { // at the end of the program
		fmt.Println(err)
	}
	fmt.Println("recorded:", ops.Stats().Recorded)
	// Output: recorded: 1
}
