package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// The groups of operations.
const (
	tagCron     = "cron"
	tagMetrics  = "metrics"
	tagExports  = "exports"
	tagRuns     = "runs"
	tagPlans    = "plans"
	tagUsers    = "users"
	tagHolds    = "holds"
	tagArchives = "archives"
	tagAlerts   = "alerts"
	tagHealth   = "health"
)

const schemaPrefix = "#/components/schemas/"

// apiConfig leaves out what huma would serve by itself: its documentation page
// comes from a CDN, and its links to schemas carry whatever Host was sent.
func (s *server) apiConfig() huma.Config {
	registry := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	bearer := func(does string) *huma.SecurityScheme {
		return &huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: does}
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "exportops", Version: s.Version, Description: introduction},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					scopeCron:   bearer("CRON_SECRET: the cron endpoints, and nothing else"),
					scopeIngest: bearer("EXPORTOPS_INGEST_TOKEN: records metrics, registers and updates exports"),
					scopeRead:   bearer("EXPORTOPS_READ_TOKEN: reads"),
					scopeAdmin:  bearer("EXPORTOPS_ADMIN_TOKEN: deletes, and reads"),
				},
			},
			Tags: []*huma.Tag{
				{Name: tagCron, Description: "For an external scheduler."},
				{Name: tagMetrics, Description: "Record what exports measured, and sum it up."},
				{Name: tagExports, Description: "The export log, for applications that do not write the table themselves."},
				{Name: tagRuns, Description: "What the jobs did and would do."},
				{Name: tagPlans, Description: "See what would be deleted, and then delete exactly that."},
				{Name: tagUsers, Description: "What concerns one person."},
				{Name: tagHolds, Description: "Legal holds: what must not be deleted."},
				{Name: tagArchives, Description: "Archived log rows: where they are, and whether they are as they were written."},
				{Name: tagAlerts, Description: "Incidents of alert rules, silences, what channels are told, and the objectives."},
				{Name: tagHealth, Description: "For load balancers and supervisors; no credential is needed."},
			},
		},
		Formats:       map[string]huma.Format{jsonType: {Marshal: writeJSON}, "json": {Marshal: writeJSON}}, // the latter for problem+json
		DefaultFormat: jsonType,
		Transformers:  []huma.Transformer{s.transform},
	}
}

const introduction = `Looks after exports: measures them, removes their files when they expire, and keeps their log as long as promised.

Times are RFC 3339 in UTC with milliseconds. Errors are RFC 9457 problems; request_id names the request in the server's log. Names in bodies and queries are matched exactly, and one that is not known is an error. A JSON object may have 1 MiB; a batch of metrics 32 MiB and 50,000 lines of at most 128 KiB.`

// writeJSON escapes what a browser could take for markup.
func writeJSON(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	_, err = w.Write(append(body, '\n'))
	return err
}

func schemaOf[T any](s *server) *huma.Schema {
	t := reflect.TypeFor[T]()
	return s.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

func jsonResponse(description string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{jsonType: {Schema: schema}}}
}

func nullable(schema *huma.Schema) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{schema, {Type: "null"}}}
}

// problems says which problems an operation answers with, beside 500.
func (s *server) problems(op *huma.Operation, statuses ...int) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	for _, status := range append(statuses, http.StatusInternalServerError) {
		code := strconv.Itoa(status)
		if op.Responses[code] == nil {
			op.Responses[code] = &huma.Response{
				Description: http.StatusText(status),
				Content:     map[string]*huma.MediaType{problemType: {Schema: schemaOf[problem](s)}},
			}
		}
	}
}

// takesObject describes the body of a registered operation. Had it been
// described before, huma would read the body itself.
func (s *server) takesObject(op huma.Operation, schema *huma.Schema, example any) {
	s.registered(op).RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{jsonType: {Schema: schema, Example: example}},
	}
}

func (s *server) takesMetrics(op huma.Operation) {
	s.registered(op).RequestBody = &huma.RequestBody{
		Required: true,
		Content: map[string]*huma.MediaType{
			jsonType: {Schema: schemaOf[metricBody](s), Example: exampleMetric},
			ndjsonType: {
				Schema:  &huma.Schema{Type: huma.TypeString, Description: "One MetricBody a line"},
				Example: exampleMetrics,
			},
		},
	}
}

func (s *server) registered(op huma.Operation) *huma.Operation {
	item := s.api.OpenAPI().Paths[op.Path]
	for _, o := range []*huma.Operation{item.Post, item.Patch} {
		if o != nil && o.OperationID == op.OperationID {
			return o
		}
	}
	panic("httpapi: no operation " + op.OperationID)
}
