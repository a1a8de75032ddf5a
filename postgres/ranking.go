package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// The lists of spans that a plan reads from rows and from rollups, to be joined
// by: each span is one walk through an index.
const (
	rowsSpans   = `unnest($1::timestamptz[], $2::timestamptz[]) AS s (a, b) JOIN `
	rolledSpans = `unnest($3::timestamptz[], $4::timestamptz[]) AS s (a, b) JOIN `
)

func inSpan(column string) string { return column + ` >= s.a AND ` + column + ` < s.b` }

// withOutcomeIn and aloneIn are withOutcome and alone by a list of spans.
var (
	withOutcomeIn = `{logs} e ON ` + inSpan("e.timestamp") + `
		LEFT JOIN exportops.export_metrics m ON m.export_id = e.export_id AND m.outcome WHERE `
	aloneIn = `exportops.export_metrics m ON ` + inSpan("m.timestamp") + ` WHERE m.outcome AND ` + rowless
)

var topUsers = `SELECT user_id::text, sum(n)::bigint, count(*) OVER () FROM (
	SELECT u.user_id, u.exports AS n FROM ` + rolledSpans + `exportops.rollup_users u ON ` + inSpan("u.start") + `
	UNION ALL
	SELECT CASE WHEN ` + metricWins + ` THEN m.user_id ELSE ` + rowUser + ` END, 1
		FROM ` + rowsSpans + withOutcomeIn + `e.status IN ('queued', 'processing', 'completed', 'failed', 'expired')
	UNION ALL
	SELECT m.user_id, 1 FROM ` + rowsSpans + aloneIn + `
	UNION ALL
	SELECT ` + rowUser + `, 1` + withOutcome + `
		WHERE ` + inProgress + ` AND EXISTS (SELECT 1 FROM unnest($3::timestamptz[], $4::timestamptz[]) AS s (a, b)
			WHERE ` + inSpan("e.timestamp") + `)
	UNION ALL
	SELECT m.user_id, 1 FROM ` + rolledSpans + aloneIn + ` AND m.status IN ` + running + `
) x GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT $5`

// TopUsers implements exportops.OutcomeStore.
func (s *Store) TopUsers(ctx context.Context, plan exportops.ReadPlan, limit int) (
	top []exportops.UserCount, distinct int64, err error,
) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(topUsers), append(spanLists(plan), limit)...)
		if err != nil {
			return fmt.Errorf("rank users: %w", err)
		}
		var u exportops.UserCount
		_, err = pgx.ForEachRow(rows, []any{&u.UserID, &u.Count, &distinct}, func() error {
			top = append(top, u)
			return nil
		})
		if err != nil {
			return fmt.Errorf("rank users: %w", err)
		}
		return nil
	})
	return top, distinct, err
}

var errorCounts = `SELECT error_type, sum(n)::bigint FROM (
	SELECT u.error_type, u.exports AS n FROM ` + rolledSpans + `exportops.rollup_errors u ON ` + inSpan("u.start") + `
	UNION ALL
	SELECT coalesce(nullif(CASE WHEN ` + metricWins + ` THEN m.error_type ELSE ` + rowError + ` END, ''), 'Unknown'), 1
		FROM ` + rowsSpans + withOutcomeIn + `CASE WHEN ` + metricWins + ` THEN m.status ELSE e.status::text END = 'failed'
	UNION ALL
	SELECT coalesce(nullif(m.error_type, ''), 'Unknown'), 1 FROM ` + rowsSpans + aloneIn + ` AND m.status = 'failed'
) x GROUP BY error_type`

// Errors implements exportops.OutcomeStore.
func (s *Store) Errors(ctx context.Context, plan exportops.ReadPlan) (map[string]int64, error) {
	counts := map[string]int64{}
	err := s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(errorCounts), spanLists(plan)...)
		if err != nil {
			return fmt.Errorf("count errors: %w", err)
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { counts[name] = n; return nil }); err != nil {
			return fmt.Errorf("count errors: %w", err)
		}
		return nil
	})
	return counts, err
}

// spanLists returns what a plan reads from rows, and what from rollups, as
// lists of where spans begin and where they end.
func spanLists(plan exportops.ReadPlan) []any {
	lists := func(all ...[]exportops.Span) (from, to []string) {
		from, to = []string{}, []string{}
		for _, spans := range all {
			for _, s := range spans {
				from, to = append(from, s.From.String()), append(to, s.To.String())
			}
		}
		return from, to
	}
	rowsFrom, rowsTo := lists(plan.Rows)
	from, to := lists(plan.Days, plan.Hours)
	return []any{rowsFrom, rowsTo, from, to}
}
