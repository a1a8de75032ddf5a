package main

import (
	"errors"
	"slices"

	"github.com/exportops/exportops"
)

// kind is what a record of an import is.
type kind string

const (
	kindAuto   kind = "auto"
	kindLog    kind = "logs"
	kindMetric kind = "metrics"
	kindOther  kind = "other" // another log event: nothing to import
)

var (
	logNames = []string{
		"id", "export_id", "user_id", "timestamp", "format", "config", "conversation_count", "file_size",
		"file_size_bytes", "status", "file_url", "expires_at", "error_message", "created_at", "updated_at", "downloaded_count",
	}
	metricNames = []string{
		"type", "export_id", "user_id", "format", "status", "conversation_count", "count_range", "duration_ms",
		"file_size_bytes", "file_size", "error_type", "error_message", "attempt", "timestamp",
	}
)

// kind tells what the record is where want leaves it open.
func (f *fields) kind(want kind) (kind, error) {
	if t := f.text("type"); t != nil && want != kindLog {
		if *t == string(exportops.EventExportMetric) {
			return kindMetric, nil
		}
		return kindOther, nil
	}
	switch {
	case want != kindAuto:
		return want, nil
	case f.has("duration_ms"):
		return kindMetric, nil
	case f.has("config"):
		return kindLog, nil
	}
	return "", &lineError{errors.New("it is neither an export log (config is missing) nor a metric (duration_ms is missing); say which with --kind")}
}

// unknown lists the names that mean nothing to a record of kind k.
func (f *fields) unknown(k kind) []string {
	known := logNames
	if k == kindMetric {
		known = metricNames
	}
	var names []string
	for name := range f.values {
		if !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	return names
}

// metric reads an export_metric event.
func (f *fields) metric() (exportops.Metric, error) {
	m := exportops.Metric{
		ExportID: f.needText("export_id"), UserID: f.needText("user_id"),
		Format: exportops.Format(f.needText("format")), Status: exportops.Status(f.needText("status")),
		ConversationCount: f.needInteger("conversation_count"),
		DurationMS:        f.integer("duration_ms"),
		FileSizeBytes:     f.integer(f.first("file_size_bytes", "file_size")),
		ErrorType:         f.text("error_type"), ErrorMessage: f.text("error_message"),
		Timestamp: f.needInstant("timestamp"), // without one it would count as now
	}
	if n := f.integer("attempt"); n != nil {
		if m.Attempt = *n; *n < 1 {
			f.wrong("attempt", "%d is below 1", *n)
		}
	}
	if len(f.errs) > 0 {
		return m, errors.Join(f.errs...)
	}
	m.Normalize(m.Timestamp)
	return m, m.Validate()
}

// export reads a row of export_logs.
func (f *fields) export() (exportops.Export, error) {
	e := exportops.Export{
		ExportID: f.needText("export_id"), UserID: f.needText("user_id"),
		Timestamp: f.needInstant("timestamp"), Format: exportops.Format(f.needText("format")),
		Config: f.object("config"), ConversationCount: f.needInteger("conversation_count"),
		FileSize: f.integer(f.first("file_size", "file_size_bytes")),
		Status:   exportops.Status(f.needText("status")), FileURL: f.text("file_url"),
		ExpiresAt: f.instant("expires_at"), ErrorMessage: f.text("error_message"),
	}
	if id := f.text("id"); id != nil {
		e.ID = *id
	}
	if n := f.integer("downloaded_count"); n != nil {
		e.DownloadedCount = *n
	}
	e.CreatedAt = e.Timestamp
	if t := f.instant("created_at"); t != nil {
		e.CreatedAt = *t
	}
	e.UpdatedAt = e.CreatedAt
	if t := f.instant("updated_at"); t != nil {
		e.UpdatedAt = *t
	} else if e.Status == exportops.Completed || e.Status == exportops.Failed {
		f.wrong("updated_at", "missing; it tells how long a finished export took")
	}
	if len(f.errs) > 0 {
		return e, errors.Join(f.errs...)
	}
	for _, id := range []struct {
		name string
		at   *string
	}{{"export_id", &e.ExportID}, {"user_id", &e.UserID}} {
		lower, err := exportops.ParseID(id.name, *id.at)
		if err != nil {
			return e, err
		}
		*id.at = lower
	}
	return e, e.Validate()
}
