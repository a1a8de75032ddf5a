package exporter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/exportops/exportops"
)

// maxBody bounds a request, in bytes.
const maxBody = 32 << 10

// Handler serves POST /api/export, GET /api/export/download/{export_id} and
// GET /healthz. Errors are RFC 9457 problems with error_type and, where the
// failure was recorded, export_id.
func (x *Exporter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/export", x.serveExport)
	mux.HandleFunc("GET /api/export/download/{export_id}", x.serveDownload)
	mux.HandleFunc("GET /healthz", x.serveHealth)
	return mux
}

func (x *Exporter) serveExport(w http.ResponseWriter, r *http.Request) {
	req := NewRequest()
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields() // a misspelled field would export something else
	err := dec.Decode(&req)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("there is more after the object")
		}
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, http.StatusRequestEntityTooLarge, fail(InvalidRequest, err, "it is longer than %d bytes", maxBody))
		return
	case err != nil:
		writeProblem(w, http.StatusBadRequest, fail(InvalidRequest, err, "want a JSON object: %v", err))
		return
	}
	result, err := x.Export(r.Context(), req)
	if err != nil {
		e := asExportError(err)
		writeProblem(w, e.Status(), e)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", result)
}

// serveDownload sends a file. Its name is made from the row's ids: file_url is
// data that others may edit.
func (x *Exporter) serveDownload(w http.ResponseWriter, r *http.Request) {
	gone := func(status int, detail string) {
		writeJSON(w, status, "application/problem+json", problemBody{
			Title: http.StatusText(status), Status: status, Detail: detail,
		})
	}
	id, err := exportops.ParseID("export_id", r.PathValue("export_id"))
	var row exportops.Export
	if err == nil {
		row, err = x.cfg.Rows.Export(r.Context(), id)
	}
	switch {
	case exportops.IsKind(err, exportops.KindNotFound), exportops.IsKind(err, exportops.KindInvalid):
		gone(http.StatusNotFound, "there is no such export")
		return
	case err != nil:
		x.cfg.Log.Error("an export cannot be looked up", "export_id", id, "error", err)
		gone(http.StatusServiceUnavailable, "exports cannot be looked up now")
		return
	case row.Status == exportops.Expired, row.ExpiresAt != nil && !x.cfg.Clock().Before(row.ExpiresAt.Time):
		gone(http.StatusGone, "the export has expired")
		return
	case row.Status != exportops.Completed:
		gone(http.StatusNotFound, fmt.Sprintf("the export is %s", row.Status))
		return
	}
	f, modified, err := x.openFile(row)
	if err != nil {
		x.cfg.Log.Error("the file of an export cannot be opened", "export_id", id, "error", err)
		gone(http.StatusGone, "the file of the export is not there")
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", contentType(row.Format))
	w.Header().Set("Content-Disposition", `attachment; filename="export-`+id+extension(row.Format)+`"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, no-store")
	http.ServeContent(w, r, "", modified, f)
}

// openFile opens the file of a row, a regular one below the export folder.
func (x *Exporter) openFile(row exportops.Export) (f *os.File, modified time.Time, err error) {
	root, err := os.OpenRoot(x.cfg.Dir)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer root.Close()
	key := fileKey(row)
	info, err := root.Lstat(key)
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, time.Time{}, fmt.Errorf("%s is no regular file", key)
	}
	f, err = root.Open(key)
	return f, info.ModTime(), err
}

func (x *Exporter) serveHealth(w http.ResponseWriter, _ *http.Request) {
	if err := x.Check(); err != nil {
		writeProblem(w, http.StatusServiceUnavailable, asExportError(err))
		return
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"status": "ok"})
}

// Check reports whether the export folder and the data set are there. The
// error is an *ExportError.
func (x *Exporter) Check() error {
	root, err := os.OpenRoot(x.cfg.Dir)
	if err != nil {
		return fail(MissingFolder, err, "the folder of the exports cannot be opened: %v", reason(err))
	}
	defer root.Close()
	data, err := x.cfg.Source()
	if err != nil {
		return fail(DataSetMissing, err, "the data set cannot be opened: %v", reason(err))
	}
	return data.Close()
}

type problemBody struct {
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail"`
	ErrorType ErrorType `json:"error_type,omitempty"`
	ExportID  string    `json:"export_id,omitempty"`
}

func writeProblem(w http.ResponseWriter, status int, e *ExportError) {
	writeJSON(w, status, "application/problem+json", problemBody{
		Title: http.StatusText(status), Status: status, Detail: e.Detail, ErrorType: e.Type, ExportID: e.ExportID,
	})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // plain structs; what fails is a reader who has gone
}
