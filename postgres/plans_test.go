package postgres

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// spy keeps each statement that the store executes, under the name of the call
// that is being made.
type spy struct {
	name string
	seen map[string][]pgx.TraceQueryStartData
}

func (s *spy) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	q.SQL = strings.TrimPrefix(q.SQL, "DECLARE stream NO SCROLL CURSOR FOR ")
	verb, _, _ := strings.Cut(strings.TrimSpace(q.SQL), " ")
	same := func(o pgx.TraceQueryStartData) bool { return o.SQL == q.SQL }
	if s.name != "" && slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, strings.TrimSpace(verb)) &&
		!slices.ContainsFunc(s.seen[s.name], same) {
		s.seen[s.name] = append(s.seen[s.name], q)
	}
	return ctx
}

func (*spy) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// plans explains what the calls execute, on tables that the planner knows to be
// large.
func plans(t *testing.T, fill []string, calls func(s *Store, name func(string))) map[string]string {
	t.Helper()
	url := newDatabase(t)
	run(t, url, append(fill, `VACUUM ANALYZE`)...)
	watch := &spy{seen: map[string][]pgx.TraceQueryStartData{}}
	s, err := open(t.Context(), Options{URL: url}, watch)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	calls(s, func(n string) { watch.name = n })
	watch.name = ""
	out := map[string]string{}
	for name, all := range watch.seen {
		for _, q := range all {
			must(t, s.tx(t.Context(), func(tx pgx.Tx) error {
				rows, err := tx.Query(t.Context(), "EXPLAIN (COSTS OFF) "+q.SQL, q.Args...)
				must(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				out[name] += strings.Join(lines, "\n") + "\n"
				return err
			}))
		}
	}
	return out
}

// usual are 200,000 exports of 70 days, half of them measured, the newest under
// way, and the rollups of all hours but the last.
var usual = []string{
	`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, error_message,
			created_at, updated_at)
		SELECT gen_random_uuid(), md5((i % 5000)::text)::uuid, t.at, (ARRAY['json', 'jsonl', 'csv', 'markdown'])[1 + i % 4], '{}', i % 1500,
			CASE WHEN i <= 100 THEN 'queued' WHEN i % 20 = 0 THEN 'failed' WHEN i % 3 = 0 THEN 'expired' ELSE 'completed' END,
			CASE WHEN i % 20 = 0 THEN 'TimeoutError: x' END, t.at, t.at + interval '2 seconds'
		FROM generate_series(1, 200000) i
			CROSS JOIN LATERAL (SELECT '2025-10-31 12:00:00+00'::timestamptz - i * interval '30 seconds' AS at) t`,
	`INSERT INTO exportops.export_metrics (export_id, user_id, format, status, attempt, source, conversation_count, duration_ms,
			timestamp, received_at, outcome, counted_hour)
		SELECT e.export_id, e.user_id, e.format, CASE e.status WHEN 'failed' THEN 'failed' ELSE 'completed' END, 1,
			CASE WHEN ascii(e.export_id::text) % 2 = 0 THEN 'measured' ELSE 'observed' END, 10, 2000, e.timestamp, e.created_at, true,
			date_trunc('hour', e.timestamp, 'UTC') FROM public.export_logs e WHERE e.status <> 'queued'`,
	`INSERT INTO exportops.rollup_hours (start, version, clean)
		SELECT DISTINCT date_trunc('hour', e.timestamp, 'UTC'), 1, true FROM public.export_logs e`,
	`INSERT INTO exportops.rollups (period, start, format, count_range, completed, failed, duration_count, duration_sum, duration_max,
			size_count, size_sum, size_max)
		SELECT 'hourly', h.start, f, r, 1, 0, 1, 1, 1, 0, 0, 0 FROM exportops.rollup_hours h, unnest('{json,jsonl,csv,markdown}'::text[]) f,
			unnest('{small,medium,large,xlarge}'::text[]) r`,
	`INSERT INTO exportops.rollup_users (start, user_id, exports)
		SELECT date_trunc('hour', e.timestamp, 'UTC'), e.user_id, count(*) FROM public.export_logs e GROUP BY 1, 2`,
}

// countingCalls are those that exports, metrics and rollups take.
func countingCalls(t *testing.T, s *Store, name func(string)) {
	ctx, hour := t.Context(), exportops.Span{From: after(noon, -3*time.Hour), To: after(noon, -2*time.Hour)}
	page, _, err := s.Exports(ctx, exportops.ExportFilter{Limit: 100})
	must(t, err)
	some := page[99]
	for what, f := range map[string]exportops.ExportFilter{
		"": {}, " of a user": {UserID: some.UserID}, " of a user that failed": {UserID: some.UserID, Status: exportops.Failed},
		" under way": {Status: exportops.Queued}, " completed": {Status: exportops.Completed}, " csv": {Format: exportops.CSV},
		" of an hour": {From: hour.From, To: hour.To},
	} {
		f.Limit = 5
		name("Exports" + what)
		_, next, err := s.Exports(ctx, f)
		must(t, err)
		f.Cursor = next
		name("Exports" + what + ", next page")
		_, _, err = s.Exports(ctx, f)
		must(t, err)
	}
	name("Export")
	_, err = s.Export(ctx, some.ExportID)
	must(t, err)
	name("UpdateExport")
	done := exportops.Completed
	_, err = s.UpdateExport(ctx, some.ExportID, exportops.ExportUpdate{Status: &done}, noon, noon)
	must(t, err)
	name("RecordMetrics")
	var batch []exportops.Metric
	for _, e := range page {
		batch = append(batch, metricOf(e.ExportID, exportops.Completed, 1))
	}
	_, err = s.RecordMetrics(ctx, batch)
	must(t, err)
	each := func(what string, errs func(func(error))) {
		name(what)
		errs(func(err error) { must(t, err) })
	}
	each("Outcomes", func(ok func(error)) {
		for _, err := range s.Outcomes(ctx, hour) {
			ok(err)
		}
	})
	each("InProgress", func(ok func(error)) {
		for _, err := range s.InProgress(ctx, exportops.Span{To: noon}) {
			ok(err)
		}
	})
	each("Counted", func(ok func(error)) {
		for _, err := range s.Counted(ctx, hour) {
			ok(err)
		}
	})
	each("Cells", func(ok func(error)) {
		for _, err := range s.Cells(ctx, exportops.Hourly, hour) {
			ok(err)
		}
	})
	plan := exportops.ReadPlan{
		Hours: []exportops.Span{{From: after(noon, -100*time.Hour), To: hour.From}}, Rows: []exportops.Span{hour},
	}
	name("TopUsers")
	_, _, err = s.TopUsers(ctx, plan, 100)
	must(t, err)
	name("Errors")
	_, err = s.Errors(ctx, plan)
	must(t, err)
	name("Observe")
	_, err = s.Observe(ctx, hour, noon)
	must(t, err)
	name("FirstActivity")
	_, _, err = s.FirstActivity(ctx, exportops.Time{})
	must(t, err)
	name("StaleHours")
	_, err = s.StaleHours(ctx, noon, 10)
	must(t, err)
	name("WriteHour")
	_, err = s.WriteHour(ctx, exportops.Rollup{Start: hour.From, Users: []exportops.UserCount{{UserID: some.UserID, Count: 1}}}, 1)
	must(t, err)
}

// countingIndexes says by which index each call comes to the rows it is about.
var countingIndexes = map[string]string{
	"Export": "export_logs_export_id_key", "UpdateExport": "export_logs_export_id_key",
	"Exports": "export_logs_timestamp", "Exports of a user": "export_logs_user_id",
	"Exports of a user that failed": "export_logs_user_id", "Exports under way": "export_logs_status",
	"Exports completed": "export_logs_timestamp", "Exports csv": "export_logs_timestamp", "Exports of an hour": "export_logs_timestamp",
	"RecordMetrics": "export_metrics_export_id_status_attempt_key", "Outcomes": "export_logs_timestamp",
	"InProgress": "export_logs_status", "Counted": "export_metrics_counted", "Cells": "rollups_pkey",
	"TopUsers": "export_logs_timestamp", "Errors": "export_logs_timestamp", "Observe": "export_logs_timestamp",
	"FirstActivity": "export_logs_timestamp", "StaleHours": "rollup_hours_stale", "WriteHour": "rollup_hours_pkey",
}

func TestCountingUsesTheIndexes(t *testing.T) {
	found := plans(t, usual, func(s *Store, name func(string)) { countingCalls(t, s, name) })
	for call := range countingIndexes {
		if found[call] == "" {
			t.Errorf("nothing is known of %s", call)
		}
	}
	for name, plan := range found {
		call, _, _ := strings.Cut(name, ",")
		if index := countingIndexes[call]; index == "" || !strings.Contains(plan, index) {
			t.Errorf("%s does not use %q:\n%s", name, index, plan)
		}
		for _, table := range []string{"export_logs", "export_metrics", "rollups", "rollup_users"} {
			if strings.Contains(plan, "Seq Scan on "+table+" ") || strings.Contains(plan, "Seq Scan on "+table+"\n") {
				t.Errorf("%s walks through %s:\n%s", name, table, plan)
			}
		}
	}
}
