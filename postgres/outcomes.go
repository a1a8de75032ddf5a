package postgres

import (
	"context"
	"iter"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// metricWins says of a row e and its outcome m that the metric decides: it says
// how the export ended, and either someone measured it or the row has not been
// given another end since.
const metricWins = `(m.id IS NOT NULL AND m.status IN ` + finished + `
	AND (m.source = 'measured' OR m.status = e.status OR e.status NOT IN ` + finished + `))`

// outcomeColumns read a row e with its outcome m, for scanOutcome. The times a
// duration lies between are taken as they are: to compute it here would take
// longer than all the rest.
const outcomeColumns = ` e.timestamp,
	CASE WHEN ` + metricWins + ` THEN m.user_id ELSE ` + rowUser + ` END,
	CASE WHEN ` + metricWins + ` THEN m.format ELSE ` + rowFormat + ` END,
	CASE WHEN ` + metricWins + ` THEN m.conversation_count ELSE ` + rowCount + ` END,
	CASE WHEN ` + metricWins + ` THEN m.status ELSE e.status::text END,
	CASE WHEN ` + metricWins + ` THEN m.duration_ms END,
	CASE WHEN NOT ` + metricWins + ` THEN e.created_at END,
	CASE WHEN NOT ` + metricWins + ` THEN e.updated_at END,
	CASE WHEN ` + metricWins + ` THEN m.file_size_bytes ELSE ` + rowSize + ` END,
	CASE WHEN ` + metricWins + ` THEN m.error_type WHEN e.status = 'failed' THEN ` + rowError + ` END`

// alone reads metrics m that are an outcome and whose export has no row, with
// the same columns.
var alone = `SELECT m.timestamp, m.user_id, m.format, m.conversation_count, m.status, m.duration_ms,
		NULL::timestamptz AS created_at, NULL::timestamptz AS updated_at, m.file_size_bytes, m.error_type
	FROM exportops.export_metrics m
	WHERE m.outcome AND m.timestamp >= $1::timestamptz AND m.timestamp < $2::timestamptz AND ` + rowless

var rowless = `NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND ` + readable(`e.timestamp`) + `)`

// Outcomes implements exportops.OutcomeStore.
func (s *Store) Outcomes(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	return s.outcomes(ctx, span, `SELECT`+outcomeColumns+withOutcome+`
		WHERE e.timestamp >= $1::timestamptz AND e.timestamp < $2::timestamptz
		UNION ALL `+alone)
}

// inProgress selects rows e that are under way and that no metric knows to have
// ended.
const inProgress = `e.status IN ` + running + ` AND (m.id IS NULL OR m.status IN ` + running + `)`

// InProgress implements exportops.OutcomeStore.
func (s *Store) InProgress(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	return s.outcomes(ctx, span, `SELECT`+outcomeColumns+withOutcome+`
		WHERE `+inProgress+` AND e.timestamp >= $1::timestamptz AND e.timestamp < $2::timestamptz
		UNION ALL `+alone+` AND m.status IN `+running)
}

func (s *Store) outcomes(ctx context.Context, span exportops.Span, query string) iter.Seq2[exportops.Outcome, error] {
	return stream(ctx, s, "read outcomes", query, []any{span.From.String(), span.To.String()}, scanOutcome)
}

// scanOutcome reads a row of outcomeColumns from the text it comes as. It is
// false for a row that says nothing: its time or status is none.
func scanOutcome(rows pgx.Rows) (o exportops.Outcome, says bool, err error) {
	v := rows.RawValues()
	at, ok := storedTime(string(v[0]))
	if !ok {
		return o, false, nil
	}
	o = exportops.Outcome{
		Time: at, UserID: string(v[1]), Format: formatOf(v[2]), CountRange: exportops.Small, Status: statusOf(v[4]),
	}
	conversations, err := countOf(v[3], err)
	if conversations != nil {
		o.CountRange = exportops.CountRangeOf(*conversations)
	}
	switch o.Status {
	case exportops.Expired:
		o.Status = exportops.Completed
	case exportops.Failed:
		if o.ErrorType = string(v[9]); o.ErrorType == "" {
			o.ErrorType = exportops.UnknownError
		}
		o.DurationMS = between(v[6], v[7])
	case exportops.Completed:
		o.DurationMS = between(v[6], v[7])
	case exportops.Queued, exportops.Processing:
		return o, true, err
	default:
		return o, false, err
	}
	if v[5] != nil {
		o.DurationMS, err = countOf(v[5], err)
	}
	o.SizeBytes, err = countOf(v[8], err)
	return o, true, err
}

// between returns the milliseconds between two times; nil where one cannot be
// read or the clock went backwards.
func between(from, to []byte) *int64 {
	a, ok1 := millisOf(from)
	b, ok2 := millisOf(to)
	if !ok1 || !ok2 || b < a {
		return nil
	}
	d := b - a
	return &d
}

// countOf reads a number, or null; it keeps an earlier error.
func countOf(text []byte, earlier error) (*int64, error) {
	if text == nil || earlier != nil {
		return nil, earlier
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return &n, err
}

// formatOf and statusOf do not make a new string of what is known.
func formatOf(text []byte) exportops.Format {
	for _, f := range exportops.Formats {
		if string(text) == string(f) {
			return f
		}
	}
	return exportops.Format(text)
}

func statusOf(text []byte) exportops.Status {
	for _, s := range exportops.Statuses {
		if string(text) == string(s) {
			return s
		}
	}
	return exportops.Status(text)
}
