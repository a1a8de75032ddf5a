package app

import (
	"errors"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/metrics"
)

// createExport adds a row that expired by the time of the test, and reads it
// back.
func (t *selfTest) createExport() error {
	size, expires := int64(524288), t.at(13, 0)
	t.export = exportops.Export{
		ExportID: exportops.NewID(), UserID: t.user, Timestamp: t.at(12, 45), Format: exportops.JSONL,
		Config: []byte(`{"scope":"selftest"}`), ConversationCount: 150, FileSize: &size, Status: exportops.Completed,
		ExpiresAt: &expires, CreatedAt: t.at(12, 45), UpdatedAt: t.at(12, 46),
	}
	if t.files != nil && !t.empty {
		// No such file exists. In an empty folder, naming one would look like a
		// volume that is not mounted.
		key := t.cfg.Storage.Prefix + strings.ReplaceAll(t.cfg.KeyPrefix, "{user_id}", t.user) +
			"exportops-selftest/" + t.export.ExportID + ".jsonl"
		t.export.FileURL = &key
	}
	if _, err := t.store.CreateExport(t.ctx, t.export); err != nil {
		return err
	}
	got, err := t.store.Export(t.ctx, t.export.ExportID)
	if err != nil {
		return err
	}
	var expiry exportops.Time
	if got.ExpiresAt != nil {
		expiry = *got.ExpiresAt
	}
	if err := errors.Join(
		differs("user_id", got.UserID, t.user), differs("status", got.Status, exportops.Completed),
		differs("format", got.Format, exportops.JSONL), differs("conversation_count", got.ConversationCount, 150),
		differs("timestamp", got.Timestamp.String(), t.export.Timestamp.String()),
		differs("expires_at", expiry.String(), expires.String()),
	); err != nil {
		return fmt.Errorf("the row reads back otherwise: %w", err)
	}
	if _, err := t.store.CreateExport(t.ctx, t.export); !exportops.IsKind(err, exportops.KindConflict) {
		return errors.New("the same export_id was accepted twice")
	}
	return nil
}

func (t *selfTest) metric(status exportops.Status, duration int64) exportops.Metric {
	size, name := duration*100, "SelfTestError"
	m := exportops.Metric{
		ExportID: exportops.NewID(), UserID: t.user, Format: exportops.JSONL, Status: status, ConversationCount: 150,
		DurationMS: &duration, Timestamp: t.at(12, 45),
	}
	if status == exportops.Failed {
		m.ErrorType = &name
	} else {
		m.FileSizeBytes = &size
	}
	return m
}

// logMetrics records a metric, the same again, and a contradiction.
func (t *selfTest) logMetrics() error {
	first := t.metric(exportops.Completed, 1000)
	first.ExportID = t.export.ExportID
	other := first
	duration := int64(1001)
	other.DurationMS = &duration
	for _, x := range []struct {
		what string
		m    exportops.Metric
		is   func(exportops.Receipt) bool
	}{
		{"a metric was not stored as a new one", first, func(r exportops.Receipt) bool { return r.New && r.Err == nil }},
		{"the same metric again was not recognized", first, func(r exportops.Receipt) bool { return !r.New && r.Err == nil }},
		{"a metric that contradicts another was accepted", other, func(r exportops.Receipt) bool { return exportops.IsKind(r.Err, exportops.KindConflict) }},
	} {
		receipts, err := t.metrics.Record(t.ctx, []exportops.Metric{x.m})
		if err != nil {
			return err
		}
		if len(receipts) == 1 && receipts[0].Err != nil && !x.is(receipts[0]) {
			return fmt.Errorf("%s: %w", x.what, receipts[0].Err)
		}
		if len(receipts) != 1 || !x.is(receipts[0]) {
			return errors.New(x.what)
		}
	}
	return differs("the number of export_metric events", t.events.count(exportops.EventExportMetric), 1)
}

// aggregate adds three more exports, one of them failed, and sums up four.
func (t *selfTest) aggregate() error {
	more := []exportops.Metric{t.metric(exportops.Completed, 2000), t.metric(exportops.Completed, 3000), t.metric(exportops.Failed, 4000)}
	receipts, err := t.metrics.Record(t.ctx, more)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		if r.Err != nil {
			return r.Err
		}
	}
	s, err := t.metrics.AnnounceAggregate(t.ctx, t.at(12, 0), t.at(13, 0), exportops.Hourly)
	if err != nil {
		return err
	}
	return errors.Join(
		differs("total_exports", s.TotalExports, 4), differs("successful_exports", s.SuccessfulExports, 3),
		differs("failed_exports", s.FailedExports, 1), differs("success_rate", s.SuccessRate, 0.75),
		differs("avg_duration_by_format.jsonl", s.AvgDurationByFormat[exportops.JSONL], 2000),
		differs("max_file_size_by_format.jsonl", s.MaxFileSizeByFormat[exportops.JSONL], 300000),
		differs("format_distribution.jsonl", s.FormatDistribution[exportops.JSONL], 4),
		differs("exports_per_user", s.ExportsPerUser[t.user], 4),
		differs("error_distribution.SelfTestError", s.ErrorDistribution["SelfTestError"], 1),
		differs("the number of aggregated_metrics events", t.events.count(exportops.EventAggregatedMetrics), 1),
	)
}

// failureRate wants an alert where one of four failed, and nothing where there
// was nothing.
func (t *selfTest) failureRate() error {
	r, err := t.metrics.AnnounceFailureRate(t.ctx, 60)
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("no finished export was found")
	}
	eve := exportops.At(t.day.AddDate(0, 0, -1))
	none, err := metrics.New(t.store, metrics.Options{Now: func() exportops.Time { return eve }}).FailureRate(t.ctx, 60)
	if err != nil {
		return err
	}
	if none != nil {
		return errors.New("there is a failure rate of nothing")
	}
	return errors.Join(
		differs("failed_count", r.FailedCount, 1), differs("total_count", r.TotalCount, 4),
		differs("failure_rate", r.FailureRate, 0.25), differs("alert", r.Alert, true),
		differs("the number of export_failure_alert events", t.events.count(exportops.EventFailureAlert), 1),
	)
}

// volume wants seven days, of which the last alone has exports.
func (t *selfTest) volume() error {
	v, err := t.metrics.AnnounceVolume(t.ctx, exportops.Daily, 7)
	if err != nil {
		return err
	}
	if len(v.VolumeData) != 7 {
		return fmt.Errorf("there are %d days, want 7", len(v.VolumeData))
	}
	last := v.VolumeData[6]
	return errors.Join(
		differs("the last period", last.Period, exportops.Daily.Key(t.day)), differs("its count", last.Count, 4),
		differs("total_exports", v.TotalExports, 4),
		differs("the number of export_volume events", t.events.count(exportops.EventExportVolume), 1),
	)
}

// fileCleanup wants a dry run to find the export that expired, to pass over one
// that is live, and to change neither; and the storage to be writable.
func (t *selfTest) fileCleanup() error {
	if t.noFiles != nil {
		return t.noFiles
	}
	if err := t.files.Probe(t.ctx); err != nil {
		return err
	}
	live := t.export
	live.ExportID, live.FileURL = exportops.NewID(), nil
	tomorrow := exportops.At(t.day.AddDate(0, 0, 1))
	live.ExpiresAt = &tomorrow
	if _, err := t.store.CreateExport(t.ctx, live); err != nil {
		return err
	}
	d := cleanup.DryRun{Store: t.store, Files: t.files, Locator: Locator(t.cfg)}
	r, err := d.CleanFiles(t.ctx, exportops.Selection{Mode: exportops.ByExpiry, Now: t.at(13, 30)})
	if err != nil {
		return err
	}
	if r.FailedCount > 0 && len(r.Errors) > 0 {
		return errors.New(r.Errors[0].Error)
	}
	after, err := t.store.Export(t.ctx, t.export.ExportID)
	if err != nil {
		return err
	}
	return errors.Join(
		differs("total_found", r.TotalFound, 1), differs("dry_run", r.DryRun, true),
		differs("the status after a dry run", after.Status, exportops.Completed),
	)
}

// logStatistics wants one old row to be found: a failed one. Rows that may
// still have a file are not for a log cleanup.
func (t *selfTest) logStatistics() error {
	cut := exportops.At(t.day.AddDate(0, 0, 1))
	before, err := t.store.LogStatistics(t.ctx, cut)
	if err != nil {
		return err
	}
	failed := t.export
	failed.ExportID, failed.Status, failed.Timestamp = exportops.NewID(), exportops.Failed, t.at(1, 0)
	failed.FileURL, failed.ExpiresAt, failed.FileSize = nil, nil, nil
	if _, err := t.store.CreateExport(t.ctx, failed); err != nil {
		return err
	}
	s, err := t.store.LogStatistics(t.ctx, cut)
	if err != nil {
		return err
	}
	oldest := exportops.Time{}
	if s.OldestLogDate != nil {
		oldest = *s.OldestLogDate
	}
	return errors.Join(
		differs("eligible_for_cleanup", s.EligibleForCleanup, before.EligibleForCleanup+1),
		differs("oldest_log_date", oldest.String(), failed.Timestamp.String()),
		differs("cutoff_date", s.CutoffDate.String(), cut.String()),
	)
}
