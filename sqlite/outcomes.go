package sqlite

import (
	"context"
	"fmt"
	"iter"

	"github.com/exportops/exportops"
)

// metricWins says of a row e and its outcome m that the metric decides: it says
// how the export ended, and either someone measured it or the row has not been
// given another end since.
const metricWins = `(m.id IS NOT NULL AND m.status IN ` + finished + ` AND (m.source = 'measured' OR m.status = e.status OR e.status NOT IN ` + finished + `))`

// outcomeColumns read a row e with its outcome m, for scanOutcome. The times a
// duration lies between are taken as they are: parsing them here would take
// longer than all the rest.
const outcomeColumns = ` CAST(e.timestamp AS TEXT),
	CASE WHEN ` + metricWins + ` THEN m.user_id ELSE e.user_id END,
	CASE WHEN ` + metricWins + ` THEN m.format ELSE e.format END,
	CASE WHEN ` + metricWins + ` THEN m.conversation_count ELSE e.conversation_count END,
	CASE WHEN ` + metricWins + ` THEN m.status ELSE e.status END,
	CASE WHEN ` + metricWins + ` THEN m.duration_ms WHEN e.status IN ` + finished + ` THEN e.created_at || e.updated_at END,
	CASE WHEN ` + metricWins + ` THEN m.file_size_bytes ELSE e.file_size END,
	CASE WHEN ` + metricWins + ` THEN m.error_type WHEN e.status = 'failed' THEN ` + rowError + ` END`

// alone reads metrics m that are an outcome and whose export has no row, with
// the same columns.
const alone = `SELECT m.timestamp, m.user_id, m.format, m.conversation_count, m.status,
		m.duration_ms, m.file_size_bytes, m.error_type
	FROM exportops_export_metrics m
	WHERE m.outcome = 1 AND m.timestamp >= ? AND m.timestamp < ? AND ` + rowless

const rowless = `NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND e.timestamp ` + readable + `)`

// Outcomes implements exportops.OutcomeStore.
func (s *Store) Outcomes(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	from, to := span.From.String(), span.To.String()
	return s.outcomes(ctx, `SELECT`+outcomeColumns+` `+withOutcome+`
		WHERE e.timestamp >= ? AND e.timestamp < ?
		UNION ALL `+alone, from, to, from, to)
}

// inProgress selects rows e that are under way and that no metric knows to have
// ended.
const inProgress = `e.status IN ` + running + ` AND (m.id IS NULL OR m.status IN ` + running + `)`

// InProgress implements exportops.OutcomeStore.
func (s *Store) InProgress(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	from, to := span.From.String(), span.To.String()
	return s.outcomes(ctx, `SELECT`+outcomeColumns+` `+withOutcome+`
		WHERE `+inProgress+` AND +e.timestamp >= ? AND +e.timestamp < ?
		UNION ALL `+alone+` AND m.status IN `+running, from, to, from, to)
}

func (s *Store) outcomes(ctx context.Context, query string, args ...any) iter.Seq2[exportops.Outcome, error] {
	return func(yield func(exportops.Outcome, error) bool) {
		rows, err := s.read.QueryContext(ctx, s.sql(query), args...)
		if err != nil {
			yield(exportops.Outcome{}, s.explain(fmt.Errorf("read outcomes: %w", err)))
			return
		}
		defer rows.Close()
		var r outcomeRow
		for rows.Next() {
			if err := rows.Scan(r.columns()...); err != nil {
				yield(exportops.Outcome{}, s.explain(fmt.Errorf("read outcomes: %w", err)))
				return
			}
			if o, ok := r.outcome(); ok && !yield(o, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(exportops.Outcome{}, s.explain(fmt.Errorf("read outcomes: %w", err)))
		}
	}
}

// outcomeRow is a row of outcomeColumns as it comes: any program may have
// written any type anywhere.
type outcomeRow struct {
	at, user, format, conversations, status, duration, size, failure any
	into                                                             [8]any
}

func (r *outcomeRow) columns() []any {
	r.into = [8]any{&r.at, &r.user, &r.format, &r.conversations, &r.status, &r.duration, &r.size, &r.failure}
	return r.into[:]
}

// outcome is false for a row that says nothing: its time or status is none.
func (r *outcomeRow) outcome() (exportops.Outcome, bool) {
	at, ok := storedTime(asText(r.at))
	if !ok {
		return exportops.Outcome{}, false
	}
	o := exportops.Outcome{
		Time: at, UserID: asText(r.user), Format: exportops.Format(asText(r.format)),
		CountRange: exportops.Small, Status: exportops.Status(asText(r.status)),
	}
	if n := asCount(r.conversations); n != nil {
		o.CountRange = exportops.CountRangeOf(*n)
	}
	switch o.Status {
	case exportops.Expired:
		o.Status = exportops.Completed
	case exportops.Failed:
		if o.ErrorType = asText(r.failure); o.ErrorType == "" {
			o.ErrorType = exportops.UnknownError
		}
	case exportops.Completed:
	case exportops.Queued, exportops.Processing:
		return o, true
	default:
		return o, false
	}
	o.SizeBytes = asCount(r.size)
	if between, ok := r.duration.(string); ok {
		o.DurationMS = durationOf(between)
	} else {
		o.DurationMS = asCount(r.duration)
	}
	return o, true
}

// durationOf returns the milliseconds between two stored times that stand
// behind each other; nil where one cannot be read or the clock went backwards.
func durationOf(between string) *int64 {
	const n = len(exportops.TimeLayout)
	if len(between) != 2*n {
		return nil
	}
	from, ok1 := millis(between[:n])
	to, ok2 := millis(between[n:])
	if !ok1 || !ok2 || to < from {
		return nil
	}
	d := to - from
	return &d
}

// asText returns what was stored as text, and "" for anything else.
func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// asCount returns what was stored as an integer that is not negative.
func asCount(v any) *int64 {
	n, ok := v.(int64)
	if !ok || n < 0 {
		return nil
	}
	return &n
}
