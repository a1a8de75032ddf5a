package exporter

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// Result is what a completed export answers.
type Result struct {
	ExportID          string         `json:"export_id"`
	FileURL           string         `json:"file_url"` // the key below the export folder
	ConversationCount int64          `json:"conversation_count"`
	FileSize          int64          `json:"file_size"` // bytes
	ExpiresAt         exportops.Time `json:"expires_at"`
}

// reportTime bounds the calls that end an export, which are made even when the
// one who asked for it has gone.
const reportTime = 10 * time.Second

// attempt is one export under way.
type attempt struct {
	x       *Exporter
	req     Request
	started time.Time
	row     exportops.Export
	picked  *selection
}

// Export exports what req asks for. The error is an *ExportError; where it has
// an ExportID, the failure stands in that export's row and metric. Without one
// there is no row: the request named no user or could not be kept as config, or
// the row could not be written.
func (x *Exporter) Export(ctx context.Context, req Request) (Result, error) {
	a := &attempt{x: x, req: req, started: x.cfg.Clock(), picked: req.selection()}
	if err := a.register(ctx); err != nil {
		return Result{}, err
	}
	result, err := a.export(ctx)
	if err != nil {
		return Result{}, a.failed(ctx, asExportError(err))
	}
	a.measure(exportops.Completed, &result.FileSize, nil)
	return result, nil
}

// register puts the export into export_logs, before there is a file that
// somebody must remember to delete.
func (a *attempt) register(ctx context.Context) error {
	user, err := exportops.ParseID("user_id", a.req.UserID)
	if err != nil {
		return fail(InvalidRequest, err, "%v", err)
	}
	config, err := a.req.config()
	if err != nil {
		return err
	}
	// A row must have one of the four formats. A request for another one is
	// counted as one for JSON; its config says what was asked.
	format := a.req.Format
	if !slices.Contains(exportops.Formats, format) {
		format = exportops.JSON
	}
	a.row = exportops.Export{
		ExportID: exportops.NewID(), UserID: user, Timestamp: exportops.At(a.started),
		Format: format, Config: config, Status: exportops.Queued,
	}
	if _, err := a.x.cfg.Ops.CreateExport(ctx, a.row); err != nil {
		e := fail(NotReported, err, "the export could not be registered")
		a.measure(exportops.Failed, nil, e) // needs no row, and waits for nobody
		return e
	}
	return nil
}

func (a *attempt) export(ctx context.Context) (Result, error) {
	if err := a.req.check(); err != nil {
		return Result{}, err
	}
	processing := exportops.Processing
	if err := a.update(ctx, exportops.ExportUpdate{Status: &processing}); err != nil {
		return Result{}, err
	}
	key := fileKey(a.row)
	size, err := a.x.writeFile(key, func(w io.Writer) error { return a.write(ctx, w) })
	if err != nil {
		return Result{}, err
	}
	result := Result{
		ExportID: a.row.ExportID, FileURL: key, ConversationCount: a.picked.count, FileSize: size,
		ExpiresAt: exportops.At(a.x.cfg.Clock().Add(a.x.cfg.Lifetime)),
	}
	completed := exportops.Completed
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	err = a.update(ctx, exportops.ExportUpdate{
		Status: &completed, ConversationCount: &result.ConversationCount,
		FileSize: &result.FileSize, FileURL: &result.FileURL, ExpiresAt: &result.ExpiresAt,
	})
	if err != nil { // a file whose row has no expiry would stay for good
		return Result{}, errors.Join(err, a.x.removeFile(key))
	}
	return result, nil
}

// fileKey is where the file of a row lives.
func fileKey(e exportops.Export) string {
	return e.UserID + "/" + e.ExportID + extension(e.Format)
}

// write copies the selection from the data set to w, one conversation in
// memory at a time.
func (a *attempt) write(ctx context.Context, w io.Writer) error {
	data, err := a.x.cfg.Source()
	if err != nil {
		return fail(DataSetMissing, err, "the data set cannot be opened: %v", reason(err))
	}
	defer data.Close()
	enc := newEncoder(w, a.row.Format, a.req.IncludeMetadata)
	for c, err := range Conversations(data) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fail(Canceled, ctx.Err(), "the request was given up")
		}
		if !a.picked.take(&c) {
			continue
		}
		if err := enc.add(c); err != nil {
			return err
		}
		if a.picked.done() {
			break
		}
	}
	if err := a.picked.complete(); err != nil {
		return err
	}
	return enc.end()
}

func (a *attempt) update(ctx context.Context, u exportops.ExportUpdate) error {
	if _, err := a.x.cfg.Ops.UpdateExport(ctx, a.row.ExportID, u); err != nil {
		return fail(NotReported, err, "the state of the export could not be written")
	}
	return nil
}

// failed puts the failure into row and metric. That the row cannot be written
// does not hide why the export failed.
func (a *attempt) failed(ctx context.Context, e *ExportError) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	e.ExportID = a.row.ExportID
	status, message := exportops.Failed, e.Error()
	if err := a.update(ctx, exportops.ExportUpdate{Status: &status, ErrorMessage: &message}); err != nil {
		a.x.cfg.Log.Error("a failed export still counts as processing",
			"export_id", e.ExportID, "failure", message, "error", errors.Unwrap(err))
	}
	a.measure(exportops.Failed, nil, e)
	return e
}

// measure logs the metric of the export, whose outcome does not depend on it.
func (a *attempt) measure(status exportops.Status, size *int64, e *ExportError) {
	took := max(0, a.x.cfg.Clock().Sub(a.started).Milliseconds())
	m := exportops.Metric{
		ExportID: a.row.ExportID, UserID: a.row.UserID, Format: a.row.Format, Status: status,
		ConversationCount: a.picked.count, DurationMS: &took, FileSizeBytes: size,
	}
	if e != nil {
		kind := string(e.Type)
		m.ErrorType, m.ErrorMessage = &kind, &e.Detail
	}
	if err := a.x.cfg.Ops.Log(m); err != nil {
		a.x.cfg.Log.Warn("the metric of an export is lost", "export_id", m.ExportID, "error", err)
	}
}
