package exporter_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

const good = `{"id":"a","topic":"t","messages":[{"role":"user","content":"Hi"}]}` + "\n"

// wantFailure checks the error, and that row, metric and folder agree with it.
func wantFailure(t *testing.T, err error, o *ops, dir string, kind exporter.ErrorType, status int, detail string) {
	t.Helper()
	var e *exporter.ExportError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an ExportError", err)
	}
	row, metric := o.only(t)
	message := string(kind) + ": " + detail
	if e.ExportID != row.ExportID || e.Type != kind || e.Status() != status || e.Error() != message {
		t.Errorf("got export %q, status %d, %q\nwant export %q, status %d, %q",
			e.ExportID, e.Status(), e, row.ExportID, status, message)
	}
	if row.Status != exportops.Failed || row.ErrorMessage == nil || *row.ErrorMessage != message ||
		row.FileURL != nil || row.FileSize != nil || row.ExpiresAt != nil {
		t.Errorf("row %+v, want it failed with %q", row, message)
	}
	if metric.Status != exportops.Failed || metric.ExportID != row.ExportID || metric.FileSizeBytes != nil ||
		metric.ErrorType == nil || *metric.ErrorType != string(kind) || metric.ErrorMessage == nil || *metric.ErrorMessage != detail {
		t.Errorf("metric %+v, want a failure of type %s", metric, kind)
	}
	if _, err := os.Stat(dir); err == nil {
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

type failure struct {
	data   string
	change func(*exporter.Request)
	kind   exporter.ErrorType
	status int
	detail string
}

func TestFailures(t *testing.T) {
	asIs := func(*exporter.Request) {}
	tests := map[string]failure{
		"unknown_format": {
			good, func(r *exporter.Request) { r.Format = "xml" },
			exporter.UnsupportedFormat, 422, `"xml" is not one of json, jsonl, csv, markdown`,
		},
		"long_format": {
			good, func(r *exporter.Request) { r.Format = exportops.Format(strings.Repeat("x", 20_000)) },
			exporter.UnsupportedFormat, 422, `"` + strings.Repeat("x", 40) + `" is not one of json, jsonl, csv, markdown`,
		},
		"unknown_scope": {
			good, func(r *exporter.Request) { r.Scope = "mine" },
			exporter.InvalidRequest, 422, `scope "mine" is not one of all, topic, ids, limit`,
		},
		"field_of_another_scope": {
			good, func(r *exporter.Request) { r.Topic = "t" },
			exporter.InvalidRequest, 422, "scope all and field topic do not go together",
		},
		"scope_without_its_field": {
			good, func(r *exporter.Request) { r.Scope = "limit" },
			exporter.InvalidRequest, 422, "scope limit and field limit do not go together",
		},
		"negative_limit": {
			good, func(r *exporter.Request) { r.Scope, r.Limit = "limit", -1 },
			exporter.InvalidRequest, 422, "limit -1 is negative",
		},
		"no_such_topic": {
			good, func(r *exporter.Request) { r.Scope, r.Topic = "topic", "T" },
			exporter.EmptySelection, 422, `no conversation matches the topic "T"`,
		},
		"no_such_id": {
			good, func(r *exporter.Request) { r.Scope, r.IDs = "ids", []string{"b"} },
			exporter.EmptySelection, 422, "no conversation matches any of the ids",
		},
		"one_of_two_ids": {
			good, func(r *exporter.Request) { r.Scope, r.IDs = "ids", []string{"a", "b"} },
			exporter.UnknownConversation, 422, `no conversation has the id "b"`,
		},
		"empty_data_set": {
			"\n \n", asIs, exporter.EmptySelection, 422, "no conversation matches the request",
		},
		"only_system_messages": {
			`{"messages":[{"role":"system","content":"Be kind."}]}`, func(r *exporter.Request) { r.IncludeSystem = false },
			exporter.EmptySelection, 422, "no conversation matches the request",
		},
		"cut_line":          damage(`{"messages":[{"role":"us`, "it ends in the middle of a value"),
		"no_json":           damage(`hello`, "invalid character 'h' looking for beginning of value"),
		"two_values":        damage(strings.TrimSpace(good)+` {}`, "there is more after its end"),
		"no_messages":       damage(`{"messages":[]}`, "it has no messages"),
		"unknown_role":      damage(`{"messages":[{"role":"bot","content":"x"}]}`, `message 1 has the role "bot", want system, user or assistant`),
		"empty_message":     damage(`{"messages":[{"role":"user","content":" \n"}]}`, "message 1 is empty"),
		"unknown_field":     damage(`{"messages":[{"role":"user","content":"x"}],"weight":1}`, `json: unknown field "weight"`),
		"wrong_encoding":    damage("{\"messages\":[{\"role\":\"user\",\"content\":\"caf\xe9\"}]}", "it is not valid UTF-8"),
		"line_without_end":  damage(`{"topic":"`+strings.Repeat("x", 5<<20), "it is longer than 4194304 bytes"),
		"wrong_time":        damage(`{"created_at":"yesterday","messages":[]}`, `"yesterday" is not an RFC 3339 time such as 2026-01-31T12:00:00.000Z`),
		"wrong_kind_of_row": damage(`[1]`, "json: cannot unmarshal array into Go value of type exporter.Conversation"),
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x, o, dir := setUp(t, lines(tt.data))
			req := request(exportops.JSONL)
			tt.change(&req)
			_, err := x.Export(t.Context(), req)
			wantFailure(t, err, o, dir, tt.kind, tt.status, tt.detail)
		})
	}
}

// damage is the case of a data set whose third line, after a blank one, is bad.
func damage(line, why string) failure {
	return failure{
		good + "\n" + line + "\n" + good, func(*exporter.Request) {},
		exporter.DamagedRecord, 500, "line 3 of the data set: " + why,
	}
}

func TestRequestsThatGetNoRow(t *testing.T) {
	for name, change := range map[string]func(*exporter.Request){
		"no_user":       func(r *exporter.Request) { r.UserID = "" },
		"hostile_user":  func(r *exporter.Request) { r.UserID = "../../etc" },
		"nul_character": func(r *exporter.Request) { r.Scope, r.Topic = "topic", "a\x00b" },
		"too_long":      func(r *exporter.Request) { r.Scope, r.Topic = "topic", strings.Repeat("x", 70_000) },
	} {
		t.Run(name, func(t *testing.T) {
			x, o, dir := setUp(t, nil)
			req := request(exportops.CSV)
			change(&req)
			_, err := x.Export(t.Context(), req)
			var e *exporter.ExportError
			if !errors.As(err, &e) || e.Type != exporter.InvalidRequest || e.ExportID != "" || e.Status() != 422 {
				t.Errorf("got %v, want InvalidRequest without a row", err)
			}
			if len(o.rows)+len(o.metrics)+len(files(t, dir)) > 0 {
				t.Errorf("%d rows, %d metrics and %d files, want none", len(o.rows), len(o.metrics), len(files(t, dir)))
			}
		})
	}
}

func TestMissingFolderIsNotMadeAgain(t *testing.T) {
	x, o, dir := setUp(t, nil)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	_, err := x.Export(t.Context(), request(exportops.JSON))
	wantFailure(t, err, o, dir, exporter.MissingFolder, 503, "the folder of the exports cannot be opened: no such file or directory")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is back: %v", err)
	}
}

func TestMissingDataSet(t *testing.T) {
	x, o, dir := setUp(t, exporter.File(filepath.Join(t.TempDir(), "none.jsonl")))
	_, err := x.Export(t.Context(), request(exportops.JSON))
	wantFailure(t, err, o, dir, exporter.DataSetMissing, 500, "the data set cannot be opened: no such file or directory")
}

func TestFullDisk(t *testing.T) {
	for _, format := range exportops.Formats {
		t.Run(string(format), func(t *testing.T) {
			x, o, dir := setUp(t, nil)
			x.Wrap(func(w io.Writer) io.Writer { return &limited{w: w, left: 70_000} })
			_, err := x.Export(t.Context(), request(format))
			wantFailure(t, err, o, dir, exporter.DiskFull, 507, "there is no space left for the file")
		})
	}
}

// limited is a disk that holds so many bytes and no more.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) <= l.left {
		l.left -= len(p)
		return l.w.Write(p)
	}
	n, err := l.w.Write(p[:l.left])
	l.left -= n
	if err == nil {
		err = &fs.PathError{Op: "write", Path: "/secret/place", Err: syscall.ENOSPC}
	}
	return n, err
}

func TestUserFolderThatIsAFile(t *testing.T) {
	x, o, dir := setUp(t, nil)
	if err := os.WriteFile(filepath.Join(dir, user), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := x.Export(t.Context(), request(exportops.JSON))
	if err := os.Remove(filepath.Join(dir, user)); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, err, o, dir, exporter.WriteFailed, 500, "the file could not be written: not a directory")
}

func TestUserFolderThatLeadsElsewhere(t *testing.T) {
	x, o, dir := setUp(t, nil)
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, user)); err != nil {
		t.Fatal(err)
	}
	_, err := x.Export(t.Context(), request(exportops.JSON))
	if left := files(t, elsewhere); len(left) > 0 {
		t.Errorf("written outside the folder: %q", left)
	}
	if err := os.Remove(filepath.Join(dir, user)); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, err, o, dir, exporter.WriteFailed, 500, "the file could not be written: path escapes from parent")
}

func TestRegisterThatFails(t *testing.T) {
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "down"}
	tests := map[exportops.Status][]exportops.Status{ // refused once → what the row went through
		exportops.Queued:     nil,
		exportops.Processing: {"queued", "failed"},
		exportops.Completed:  {"queued", "processing", "failed"},
	}
	for refused, history := range tests {
		t.Run(string(refused), func(t *testing.T) {
			x, o, dir := setUp(t, nil)
			o.refuse = func(s exportops.Status) error {
				if s == refused {
					return down
				}
				return nil
			}
			_, err := x.Export(t.Context(), request(exportops.CSV))
			var e *exporter.ExportError
			if !errors.As(err, &e) || e.Type != exporter.NotReported || e.Status() != 503 || !errors.Is(err, down) {
				t.Errorf("got %v, want NotReported", err)
			}
			if diff := cmp.Diff(history, o.history); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("a file that no row lets expire: %q", left)
			}
			if len(o.metrics) != 1 || *o.metrics[0].ErrorType != "NotReported" {
				t.Errorf("metrics %+v, want the one failure", o.metrics)
			}
		})
	}
}

func TestFailureIsReportedThoughTheCallerHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	x, o, dir := setUp(t, func() (io.ReadCloser, error) {
		cancel()
		return exporter.Embedded()
	})
	_, err := x.Export(ctx, request(exportops.JSON))
	wantFailure(t, err, o, dir, exporter.Canceled, 503, "the request was given up")
}
