package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// enums are the values of the domain's text types, which know nothing of
// OpenAPI.
var enums = map[reflect.Type][]any{
	reflect.TypeFor[exportops.Format]():     values(exportops.Formats...),
	reflect.TypeFor[exportops.Status]():     values(exportops.Statuses...),
	reflect.TypeFor[exportops.CountRange](): values(exportops.CountRanges...),
	reflect.TypeFor[exportops.Period]():     values(exportops.Hourly, exportops.Daily),
	reflect.TypeFor[exportops.HoldScope]():  values(exportops.HoldScopes...),
	reflect.TypeFor[exportops.Job](): values(
		exportops.MetricsAggregate, exportops.FileCleanup, exportops.LogCleanup, exportops.UserLogCleanup, exportops.EraseUser,
		exportops.Reconcile, exportops.UnknownCleanup, exportops.RetentionApply, exportops.RegisterArchives),
	reflect.TypeFor[exportops.RunState](): values(
		exportops.RunRunning, exportops.RunDone, exportops.RunPartial, exportops.RunFailed, exportops.RunSkipped, exportops.RunMissed),
	reflect.TypeFor[exportops.ArchiveState](): values(exportops.ArchiveStates...),
	reflect.TypeFor[exportops.UnknownState](): values(
		exportops.UnknownSeen, exportops.UnknownQuarantined, exportops.UnknownAdopted, exportops.UnknownGone),
	reflect.TypeFor[exportops.DeletionState](): values(exportops.DeletionStates...),
	reflect.TypeFor[exportops.Mode](): values(
		exportops.ByExpiry, exportops.ByAge, exportops.ByLogCleanup, exportops.ByErasure, exportops.ByReconcile),
	reflect.TypeFor[exportops.AlertKind]():     values(exportops.AlertKinds...),
	reflect.TypeFor[exportops.Severity]():      values(exportops.Severities...),
	reflect.TypeFor[exportops.IncidentState](): values(exportops.IncidentPending, exportops.IncidentFiring, exportops.IncidentResolved),
	reflect.TypeFor[exportops.IncidentStep](): values(
		exportops.StepPending, exportops.StepFiring, exportops.StepReminder, exportops.StepResolved, exportops.StepAcknowledged),
	reflect.TypeFor[exportops.NotificationState](): values(exportops.NotificationStates...),
	reflect.TypeFor[exportops.MessageKind](): values(
		exportops.MessageFiring, exportops.MessageReminder, exportops.MessageResolved, exportops.MessageSummary, exportops.MessageTest),
	reflect.TypeFor[exportops.Trigger](): values(
		exportops.BySchedule, exportops.ByCatchUp, exportops.ByCron, exportops.ByCommand, exportops.ByAPI),
}

func values[T ~string](all ...T) []any {
	list := make([]any, len(all))
	for i, v := range all {
		list[i] = string(v)
	}
	return list
}

// complete adds to the schemas what the domain types do not say of themselves.
// An answer may gain fields; a body with a field too many is refused.
func (s *server) completeSchemas() error {
	registry := s.api.OpenAPI().Components.Schemas
	delete(registry.Map(), "ErrorModel") // huma's own errors, which are translated
	delete(registry.Map(), "ErrorDetail")
	for name, schema := range registry.Map() {
		if name != "NewExport" && name != "ExportUpdate" && name != "MetricBody" && name != "NewHold" && name != "NewSilence" &&
			name != "Acknowledgement" {
			schema.AdditionalProperties = nil
		}
		if t := registry.TypeFromRef(schemaPrefix + name); t.Kind() == reflect.Struct {
			completeProperties(t, schema)
		}
	}
	for path, text := range descriptions {
		name, field, _ := strings.Cut(path, ".")
		schema := registry.Map()[name]
		if schema == nil || schema.Properties[field] == nil {
			return fmt.Errorf("describe the API: there is no %s", path)
		}
		schema.Properties[field].Description = text
	}
	return nil
}

func completeProperties(t reflect.Type, schema *huma.Schema) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := schema.Properties[name]
		if p == nil {
			continue
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
			if p.Ref != "" && f.Tag.Get("nullable") != "false" {
				schema.Properties[name] = nullable(&huma.Schema{Ref: p.Ref})
			}
		}
		if ft == reflect.TypeFor[exportops.Time]() {
			p.Format = "date-time"
		}
		if len(p.Enum) == 0 {
			p.Enum = enums[ft]
		}
		if ft.Kind() == reflect.Slice || ft.Kind() == reflect.Map {
			p.Nullable = false // lists and maps are written empty, never as null
		}
	}
}

// Examples of bodies.
var (
	exampleNewExport = json.RawMessage(`{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b",` +
		`"user_id":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5","format":"jsonl","config":{"scope":"all"}}`)
	exampleExportUpdate = json.RawMessage(`{"status":"completed","conversation_count":150,"file_size":524288,` +
		`"file_url":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5/7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b.jsonl"}`)
	exampleMetric = json.RawMessage(`{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b",` +
		`"user_id":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5","format":"jsonl","status":"completed",` +
		`"conversation_count":150,"duration_ms":2500,"file_size_bytes":524288}`)
	exampleMetrics = string(exampleMetric) + "\n" + `{"export_id":"0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e",` +
		`"user_id":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5","format":"csv","status":"failed","conversation_count":0,` +
		`"duration_ms":310,"error_type":"TimeoutError","error_message":"no answer within 300 ms"}` + "\n"
)

// examplePlans are plans of one entry, byte for byte.
var examplePlans = map[exportops.Job]string{
	exportops.FileCleanup: `{"exportops_plan":1,"job":"file-cleanup","mode":"expiry","now":"2025-10-31T12:00:00.000Z","cut":null,` +
		`"database":"sqlite:///srv/exportops.db","store":"file:///srv/exports","entries":[` + "\n" +
		`{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b","do":"delete","key":"u1/a.csv","file_url":"u1/a.csv",` +
		`"expires_at":"2025-10-30T12:00:00.000Z","status":"completed","bytes":512}` + "\n" + `],` + "\n" +
		`"totals":{"delete":1,"no_file":0,"keep":0,"bytes":512,"complete":true},` + "\n" +
		`"sha256":"f835862ab0041bcc6cf1b2af522b4ba499e0b553c7b4890ad72a5322bf3ebd49"}` + "\n",
	exportops.LogCleanup: `{"exportops_plan":1,"job":"log-cleanup","mode":"log_cleanup","now":"2025-10-31T12:00:00.000Z",` +
		`"cut":"2025-10-01T12:00:00.000Z","database":"sqlite:///srv/exportops.db","store":"file:///srv/exports","entries":[` + "\n" +
		`{"id":"0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e","export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b","do":"delete",` +
		`"timestamp":"2025-09-30T12:00:00.000Z","status":"failed","seen":"5d1f0c1e2b3a4c5d8e6f7081"}` + "\n" + `],` + "\n" +
		`"totals":{"delete":1,"no_file":0,"keep":0,"bytes":0,"complete":true},` + "\n" +
		`"sha256":"bd9bff02e352e89349343cea2773cce67af5ff8dd2f0fa0b54fde469de102ff0"}` + "\n",
	exportops.UnknownCleanup: `{"exportops_plan":1,"job":"unknown-cleanup","mode":"unknown","now":"2025-10-31T12:00:00.000Z","cut":null,` +
		`"database":"sqlite:///srv/exportops.db","store":"file:///srv/exports","entries":[` + "\n" +
		`{"key":"stray/b.csv","do":"delete","bytes":512,"modified":"2025-10-01T12:00:00.000Z","unknown_since":"2025-10-20T12:00:00.000Z"}` + "\n" + `],` + "\n" +
		`"totals":{"delete":1,"no_file":0,"keep":0,"bytes":512,"complete":true},` + "\n" +
		`"sha256":"e8d65bddf58ca28cd50aa66ee410533c1120ad81feca44f180d5c01e2f3743a6"}` + "\n",
}

// descriptions say what is not plain from a field's name.
var descriptions = map[string]string{
	"Incident.subject":                          "Tells incidents of a rule apart: a job; empty where there is one",
	"Incident.value":                            "As it was read last; its unit is that of the rule's kind",
	"Incident.started_at":                       "First beyond the threshold",
	"Incident.seen_at":                          "Last known not to be over",
	"Incident.reminded_at":                      "When it was last told of",
	"IncidentEvent.by":                          "A person, for what a person did",
	"Silence.rule":                              "Empty for every rule",
	"Silence.subject":                           "Empty for every subject",
	"Silence.ended_at":                          "Before its time; null otherwise",
	"ObjectiveState.target":                     "Not met at it",
	"ObjectiveState.budget_left":                "Over 30 days: 1 for all, below 0 where more was used than there was; null without data",
	"ObjectiveWindow.value":                     "null where nothing happened that it could be told from",
	"ObjectiveWindow.sample":                    "Exports, or files, that it rests on",
	"Export.id":                                 "Of the row; export_id is the one used everywhere else",
	"Export.export_id":                          "The identifier in URLs, logs and answers",
	"Export.timestamp":                          "When the export was asked for",
	"Export.config":                             "Scope, filters and what is included, as the application wrote it",
	"Export.file_size":                          "Bytes; null until completed",
	"Export.file_url":                           "Where the file is; null until completed",
	"Export.expires_at":                         "When the file may be deleted; null means never",
	"Export.error_message":                      "Set when failed; by habit ErrorType: detail",
	"Export.downloaded_count":                   "0 where the table does not count downloads",
	"Export.file_missing_since":                 "When storage was first found not to have the file; left out where it has it, as far as is known",
	"Hold.id":                                   "A later hold has a greater one",
	"Hold.subject":                              "An export, a user, or empty for all",
	"Hold.released_at":                          "null while it is active",
	"Hold.row_only":                             "The file was gone when the hold was placed",
	"Hold.under_way":                            "Files claimed before a hold on everything; their deletion may still come to its end",
	"DeletionEntry.mode":                        "Why a run claimed the file",
	"DeletionEntry.key":                         "Empty where the location was refused, and after an erasure",
	"DeletionEntry.expires_at":                  "As the row said when it was claimed",
	"DeletionEntry.file_size":                   "As the row said when it was claimed",
	"DeletionEntry.row_status":                  "When it was claimed",
	"DeletionEntry.run_id":                      "The run that claimed it last",
	"DeletionEntry.attempts":                    "How often it was claimed",
	"DeletionEntry.failures":                    "Failed runs in a row; after five it is quarantined",
	"DeletionEntry.bytes":                       "That the deletion freed",
	"DeletionEntry.evidence":                    "How storage confirmed that the file is gone",
	"DeletionEntry.retried_at":                  "When somebody had it tried again",
	"Run.cancelled_at":                          "When somebody asked it to stop",
	"DeletionEntry.next_step":                   "What becomes of it, or who has to do something",
	"Notification.id":                           "The message's, the same at each attempt to deliver it",
	"Notification.attempts":                     "How often it was begun to be sent",
	"Notification.failures":                     "Since it was made, or was last tried again on request; after twelve it is dead",
	"Notification.next_at":                      "When it is due, while it is pending",
	"Notification.lease_until":                  "Set while it is being sent",
	"Notification.last_error":                   "What the channel said last against it",
	"Notification.settled_at":                   "When it was delivered or given up on",
	"Message.text":                              "Plain text",
	"Incident.acknowledged_at":                  "When somebody said to look at it: no reminders",
	"Run.slot":                                  "The scheduled time that the run stands for",
	"Run.params":                                "What was asked for beside the defaults; users appear as digests",
	"Run.forced":                                "A guard was overridden",
	"Run.holder":                                "The process that runs it",
	"Run.takeovers":                             "How often a dead holder was replaced",
	"Run.lease_until":                           "Until when the run is its holder's without a sign of life",
	"Run.result":                                "So far, while it is running; null before the first batch",
	"Run.error":                                 "Why it failed",
	"Summary.period":                            "A label; the summary is one object over the whole interval",
	"Summary.period_start":                      "Start of the interval that was summed up",
	"Summary.period_end":                        "End of the interval, not part of it",
	"Summary.total_exports":                     "Successful, failed and in progress",
	"Summary.success_rate":                      "Of those finished, 0 to 1; 0 of none",
	"Summary.exports_per_user":                  "The top 100 by count",
	"Summary.distinct_users":                    "All users, not only the top 100",
	"Summary.error_distribution":                "Failures by error type; Unknown where none was given",
	"Summary.avg_duration_by_format":            "Milliseconds, of completed exports",
	"Summary.avg_file_size_by_format":           "Bytes, of completed exports",
	"Summary.max_file_size_by_format":           "Bytes, of completed exports",
	"Summary.duration_ms_percentiles_by_format": "Milliseconds, within 1 %",
	"Summary.file_size_percentiles_by_format":   "Bytes, within 1 %",
	"FailureRate.alert":                         "The rate is above the threshold",
	"FailureRate.failure_rate":                  "failed ÷ (completed + failed), 0 to 1",
	"FailureRate.total_count":                   "completed + failed",
	"Volume.peak_period":                        "The earliest of the largest; null when all are zero",
	"Volume.volume_data":                        "Oldest first, empty periods as zero",
	"PeriodCount.period":                        "YYYY-MM-DDTHH or YYYY-MM-DD, UTC",
	"FileCleanupResult.total_found":             "The sum of all outcomes and remaining",
	"FileCleanupResult.deleted_count":           "Storage confirms that these are gone because of the run",
	"FileCleanupResult.already_absent":          "Gone before; their rows expire too",
	"FileCleanupResult.no_file":                 "Exports that never had a file; their rows expire too",
	"FileCleanupResult.logs_updated":            "Rows that now say expired",
	"FileCleanupResult.changed":                 "Row or file was changed meanwhile; left alone",
	"FileCleanupResult.kept_shared":             "A live export names the same file",
	"FileCleanupResult.kept_held":               "A hold covers it, or another row that names its file",
	"FileCleanupResult.implausible":             "Expire before they were created; left alone",
	"FileCleanupResult.quarantined":             "Failed five runs in a row; no longer counted as failed",
	"FileCleanupResult.in_flight":               "Claimed by another run",
	"FileCleanupResult.remaining":               "Left for the next run",
	"FileCleanupResult.recovered":               "Of these, begun by a run that died",
	"FileCleanupResult.errors":                  "The first 100",
	"FileCleanupResult.errors_total":            "All errors",
	"FileCleanupResult.complete":                "false when the time budget ended first",
	"LogCleanupResult.total_found":              "The sum of all outcomes and remaining",
	"LogCleanupResult.deleted_count":            "Rows deleted",
	"LogCleanupResult.kept_in_progress":         "Exports that are not finished",
	"LogCleanupResult.kept_file_may_exist":      "Rows whose file is not confirmed gone",
	"LogCleanupResult.kept_held":                "A hold covers them",
	"LogCleanupResult.remaining":                "Left for the next run",
	"LogCleanupResult.files_deleted":            "Files of rows that said expired without a confirmation",
	"LogCleanupResult.errors":                   "The first 100",
	"LogCleanupResult.errors_total":             "All errors",
	"LogCleanupResult.complete":                 "false when the time budget ended first",
	"ErasureResult.left":                        "Rows, metrics and other records that still name the user",
	"ErasureResult.receipt":                     "null unless nothing is left",
	"Erasure.user_hash":                         "Keyed: it says nothing to whoever does not hold the database and the id",
	"Erasure.digest":                            "SHA-256 of the rest of the receipt",
	"LogCleanupResult.changed":                  "Not what the plan saw, or not due any more; left alone",
	"LogCleanupResult.archives_left":            "Archives that dead runs began and that hold rows which the plan does not list: a run without a plan finishes them",
	"LogCleanupResult.plan":                     "SHA-256 of the plan that was applied",
	"Plan.exportops_plan":                       "The version of the format",
	"Plan.now":                                  "When it was made: what became due since is not in it",
	"Plan.cut":                                  "Of exports created, or rows whose timestamp lies, before",
	"Plan.database":                             "Where it was made, and may be applied",
	"Plan.archive":                              "Where log rows are kept before they are deleted; missing where nowhere",
	"Plan.policy":                               "The hash of the retention policy that decided, where there is one",
	"PlanTotals.files":                          "Of a plan of log rows: files that go before their rows do",
	"PlanTotals.complete":                       "Whether it lists everything that was due",
	"LogStatistics.eligible_for_cleanup":        "Finished exports before the cutoff, those aside that say completed and name a file",
	"LogStatistics.oldest_log_date":             "null when there are none",
	"AggregateDone.metrics":                     "Of the sixty minutes before the call",
	"AggregateDone.failure_alert":               "null when nothing finished",
	"AggregateDone.hours_closed":                "Hours that were rolled up",
	"AggregateDone.observed":                    "Exports seen finished that no metric had been recorded for",
	"AggregateDone.complete":                    "false when the time budget ended first",
}
