package exportops

// EventType is the "type" of a structured log event.
type EventType string

// The events, one JSON object a line on standard output.
const (
	EventExportMetric        EventType = "export_metric"
	EventAggregatedMetrics   EventType = "aggregated_metrics"
	EventFailureAlert        EventType = "export_failure_alert"
	EventExportVolume        EventType = "export_volume"
	EventFileCleanupComplete EventType = "export_file_cleanup_complete"
	EventFileCleanupFailed   EventType = "export_file_cleanup_failed"
	EventLogCleanupComplete  EventType = "export_log_cleanup_complete"
	EventLogCleanupFailed    EventType = "export_log_cleanup_failed"
	EventLedgerLinked        EventType = "deletion_ledger_linked"
	EventReconcileComplete   EventType = "export_reconcile_complete"
	EventReconcileFailed     EventType = "export_reconcile_failed"
	EventUnknownComplete     EventType = "export_unknown_cleanup_complete"
	EventUnknownFailed       EventType = "export_unknown_cleanup_failed"
	EventRetentionApplied    EventType = "export_retention_applied"
	EventRetentionFailed     EventType = "export_retention_apply_failed"
	EventFilesMissing        EventType = "export_files_missing"
	EventAlert               EventType = "export_alert" // an incident fires, or is over
)

// Events takes structured log events. Emit puts the fields of v, a struct that
// marshals to a JSON object, beside the type at the top level. It never fails
// the caller.
type Events interface {
	Emit(t EventType, v any)
}

// NoEvents drops every event: for reads, which emit nothing, and for tests.
type NoEvents struct{}

// Emit does nothing.
func (NoEvents) Emit(EventType, any) {}
