package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/telemetry"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

// receiver keeps the spans that are sent to it.
type receiver struct {
	mu    sync.Mutex
	raw   []byte
	spans map[string]*trace.Span
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var got collector.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(body, &got)); err != nil || q.URL.Path != "/v1/traces" {
		http.Error(w, "what is this?", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw = append(r.raw, body...)
	for _, resource := range got.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans[s.GetName()] = s
			}
		}
	}
}

// sending starts traces that go to a receiver.
func sending(t *testing.T) (*telemetry.Traces, *receiver) {
	t.Helper()
	r := &receiver{spans: map[string]*trace.Span{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	traces, err := telemetry.StartTraces(t.Context(), environment(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL}), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return traces, r
}

func attributes(s *trace.Span) map[string]any {
	all := map[string]any{}
	for _, a := range s.GetAttributes() {
		switch v := a.GetValue(); {
		case v.GetStringValue() != "":
			all[a.GetKey()] = v.GetStringValue()
		default:
			all[a.GetKey()] = v.GetIntValue()
		}
	}
	return all
}

// files deletes in memory.
type files struct{ exportops.FileStore }

func (files) Delete(_ context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	results := make([]exportops.FileResult, len(refs))
	for n := range results {
		results[n].Removal = exportops.Removed
	}
	results[0].Removal, results[0].Err = exportops.Unproven, errors.New("secret.csv is locked")
	return results, nil
}

func TestARequestIsPartOfItsCallersTrace(t *testing.T) {
	traces, got := sending(t)
	store := traces.Files(files{})
	h := traces.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := store.Delete(r.Context(), []exportops.FileRef{{Key: "secret.csv"}, {Key: "b"}, {Key: "c"}}); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusInternalServerError)
		traces.Answered(r.Context(), r.Method, "/api/v1/users/{user_id}", http.StatusInternalServerError, time.Second)
	}))
	r := httptest.NewRequest(http.MethodPost, "/api/v1/users/secret-user?q=secret-query", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("User-Agent", "secret-agent")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if err := traces.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	request, deletion := got.spans["POST /api/v1/users/{user_id}"], got.spans["delete files"]
	if request == nil || deletion == nil {
		t.Fatalf("got %v", got.spans)
	}
	if id := request.GetTraceId(); !bytes.Equal(id, deletion.GetTraceId()) || id[0] != 0x0a || id[15] != 0x9c {
		t.Errorf("the traces are %x and %x", id, deletion.GetTraceId())
	}
	if request.GetParentSpanId()[0] != 0xb7 || !bytes.Equal(deletion.GetParentSpanId(), request.GetSpanId()) {
		t.Error("the spans are not one in another")
	}
	if a := attributes(request); a["http.route"] != "/api/v1/users/{user_id}" || a["http.response.status_code"] != int64(500) {
		t.Errorf("of the request: %v", a)
	}
	if a := attributes(deletion); a["exportops.files"] != int64(3) || a["exportops.files.deleted"] != int64(2) || a["exportops.files.failed"] != int64(1) {
		t.Errorf("of the deletion: %v", a)
	}
	for _, s := range got.spans {
		if s.GetStatus().GetCode() != trace.Status_STATUS_CODE_ERROR {
			t.Errorf("%s was no failure", s.GetName())
		}
	}
	if bytes.Contains(got.raw, []byte("secret")) {
		t.Error("a span names what was asked for")
	}
	for _, part := range []string{"exportops", "1.2.3"} {
		if !bytes.Contains(got.raw, []byte(part)) {
			t.Errorf("the sender does not say %s", part)
		}
	}
}

func TestTracesAreSentWhereTheEnvironmentSaysSo(t *testing.T) {
	const endpoint, url = "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"
	for name, c := range map[string]struct {
		env   map[string]string
		sends bool
		field string
	}{
		"nothing":              {nil, false, ""},
		"an endpoint":          {map[string]string{endpoint: url}, true, ""},
		"one for traces":       {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url}, true, ""},
		"the exporter":         {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"disabled":             {map[string]string{endpoint: url, "OTEL_SDK_DISABLED": "TRUE"}, false, ""},
		"no exporter":          {map[string]string{endpoint: url, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		"another exporter":     {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "OTEL_TRACES_EXPORTER"},
		"another protocol":     {map[string]string{endpoint: url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"the protocol":         {map[string]string{endpoint: url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
		"another for traces":   {map[string]string{endpoint: url, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, false, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
		"disabled and strange": {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_SDK_DISABLED": "true"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			traces, err := telemetry.StartTraces(t.Context(), environment(c.env), "")
			var e *exportops.Error
			if errors.As(err, &e) != (c.field != "") || (e != nil && e.Field != c.field) {
				t.Fatalf("error %v, want one of %q", err, c.field)
			}
			if err != nil {
				return
			}
			store := exportops.FileStore(files{})
			if sends := traces.Files(store) != store; sends != c.sends {
				t.Errorf("it sends: %v", sends)
			}
			if err := traces.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
