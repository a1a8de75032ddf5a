package sqlite

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// in joins a table by the spans of a list: the spans come first, so that each
// is one walk through an index. rows and rolled stand for the two lists.
const (
	rowsSpans   = `json_each(?1) s CROSS JOIN `
	rolledSpans = `json_each(?2) s CROSS JOIN `
)

func inSpan(column string) string {
	return column + ` >= s.value ->> 0 AND ` + column + ` < s.value ->> 1`
}

// aloneIn is alone with spans in place of bounds.
var aloneIn = `exportops_export_metrics m WHERE m.outcome = 1 AND ` + inSpan("m.timestamp") + ` AND ` + rowless

var withOutcomeIn = `{logs} e LEFT JOIN exportops_export_metrics m ON m.export_id = e.export_id AND m.outcome = 1
	WHERE ` + inSpan("e.timestamp") + ` AND e.timestamp GLOB '????-??-??T??:??:??.???Z' AND `

var topUsers = `SELECT user_id, sum(n), count(*) OVER () FROM (
	SELECT u.user_id, u.exports AS n FROM ` + rolledSpans + `exportops_rollup_users u WHERE ` + inSpan("u.start") + `
	UNION ALL
	SELECT coalesce(CASE WHEN ` + metricWins + ` THEN m.user_id ELSE e.user_id END, ''), 1
		FROM ` + rowsSpans + withOutcomeIn + `e.status IN ('queued', 'processing', 'completed', 'failed', 'expired')
	UNION ALL
	SELECT m.user_id, 1 FROM ` + rowsSpans + aloneIn + `
	UNION ALL
	SELECT coalesce(e.user_id, ''), 1 FROM {logs} e LEFT JOIN exportops_export_metrics m
			ON m.export_id = e.export_id AND m.outcome = 1
		WHERE ` + inProgress + ` AND EXISTS (SELECT 1 FROM json_each(?2) s WHERE ` + inSpan("+e.timestamp") + `)
			AND e.timestamp ` + readable + `
	UNION ALL
	SELECT m.user_id, 1 FROM ` + rolledSpans + aloneIn + ` AND m.status IN ` + running + `
) GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT ?3`

// TopUsers implements exportops.OutcomeStore.
func (s *Store) TopUsers(ctx context.Context, plan exportops.ReadPlan, limit int) ([]exportops.UserCount, int64, error) {
	inRows, inRolled, err := spanLists(plan)
	if err != nil {
		return nil, 0, err
	}
	rows, err := s.read.QueryContext(ctx, s.sql(topUsers), inRows, inRolled, limit)
	if err != nil {
		return nil, 0, s.explain(fmt.Errorf("rank users: %w", err))
	}
	var top []exportops.UserCount
	var distinct int64
	err = scanAll(rows, func() error {
		var user any
		var u exportops.UserCount
		err := rows.Scan(&user, &u.Count, &distinct)
		u.UserID = asText(user)
		top = append(top, u)
		return err
	})
	if err != nil {
		return nil, 0, s.explain(fmt.Errorf("rank users: %w", err))
	}
	return top, distinct, nil
}

var errorCounts = `SELECT error_type, sum(n) FROM (
	SELECT u.error_type, u.exports AS n FROM ` + rolledSpans + `exportops_rollup_errors u WHERE ` + inSpan("u.start") + `
	UNION ALL
	SELECT coalesce(nullif(CASE WHEN ` + metricWins + ` THEN m.error_type ELSE ` + rowError + ` END, ''), 'Unknown'), 1
		FROM ` + rowsSpans + withOutcomeIn + `CASE WHEN ` + metricWins + ` THEN m.status ELSE e.status END = 'failed'
	UNION ALL
	SELECT coalesce(nullif(m.error_type, ''), 'Unknown'), 1 FROM ` + rowsSpans + aloneIn + ` AND m.status = 'failed'
) GROUP BY error_type`

// Errors implements exportops.OutcomeStore.
func (s *Store) Errors(ctx context.Context, plan exportops.ReadPlan) (map[string]int64, error) {
	inRows, inRolled, err := spanLists(plan)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, s.sql(errorCounts), inRows, inRolled)
	if err != nil {
		return nil, s.explain(fmt.Errorf("count errors: %w", err))
	}
	counts := map[string]int64{}
	err = scanAll(rows, func() error {
		var name string
		var n int64
		err := rows.Scan(&name, &n)
		counts[name] = n
		return err
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("count errors: %w", err))
	}
	return counts, nil
}

// spanLists returns what a plan reads from rows, and what from rollups, as
// lists of pairs.
func spanLists(plan exportops.ReadPlan) (inRows, inRolled string, err error) {
	pairs := func(lists ...[]exportops.Span) (string, error) {
		out := [][2]exportops.Time{}
		for _, l := range lists {
			for _, s := range l {
				out = append(out, [2]exportops.Time{s.From, s.To})
			}
		}
		return jsonList(out)
	}
	if inRows, err = pairs(plan.Rows); err != nil {
		return "", "", err
	}
	inRolled, err = pairs(plan.Days, plan.Hours)
	return inRows, inRolled, err
}
