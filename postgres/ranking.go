package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ranking is a query over the parts of a plan. Bounds stand in it one by one:
// where they come out of a list, the planner takes each for a ninth of the table.
type ranking struct{ rows, rolled []exportops.Span }

func rankingOf(plan exportops.ReadPlan) ranking {
	return ranking{merge(plan.Rows), merge(plan.Days, plan.Hours)}
}

// merge puts spans in order, and makes one of those that touch.
func merge(lists ...[]exportops.Span) (out []exportops.Span) {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b exportops.Span) int { return a.From.Compare(b.From.Time) })
	for _, s := range all {
		if n := len(out); n > 0 && out[n-1].To.Equal(s.From.Time) {
			out[n-1].To = s.To
			continue
		}
		out = append(out, s)
	}
	return out
}

// within says of a column that it lies in one of the spans. The times are ours,
// and hold nothing that would need quoting.
func within(column string, spans []exportops.Span) string {
	list := make([]string, 0, len(spans)+1)
	for _, s := range spans {
		list = append(list, fmt.Sprintf(`%s >= '%s'::timestamptz AND %[1]s < '%[3]s'::timestamptz`, column, s.From, s.To))
	}
	return `(` + strings.Join(append(list, `false`), ` OR `) + `)`
}

// rolledUp reads one of our tables of counts.
func (r ranking) rolledUp(t countsTable) string {
	return `SELECT u.` + t.name + `, u.exports AS n FROM ` + t.table + ` u WHERE ` + within("u.start", r.rolled)
}

// alone reads metrics whose export has no row.
func (r ranking) alone(spans []exportops.Span) string {
	return ` FROM exportops.export_metrics m WHERE m.outcome AND ` + within("m.timestamp", spans) + ` AND ` + rowless
}

func (r ranking) users() string {
	return `SELECT user_id::text, sum(n)::bigint, count(*) OVER () FROM (
	` + r.rolledUp(usersTable) + `
	UNION ALL
	SELECT CASE WHEN ` + metricWins + ` THEN m.user_id ELSE ` + rowUser + ` END, 1` + withOutcome + `
		WHERE ` + within("e.timestamp", r.rows) + ` AND e.status IN ('queued', 'processing', 'completed', 'failed', 'expired')
	UNION ALL
	SELECT m.user_id, 1` + r.alone(r.rows) + `
	UNION ALL
	SELECT ` + rowUser + `, 1` + withOutcome + ` WHERE ` + inProgress + ` AND ` + within("e.timestamp", r.rolled) + `
	UNION ALL
	SELECT m.user_id, 1` + r.alone(r.rolled) + ` AND m.status IN ` + running + `
) x GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT $1`
}

func (r ranking) failures() string {
	return `SELECT error_type, sum(n)::bigint FROM (
	` + r.rolledUp(errorsTable) + `
	UNION ALL
	SELECT coalesce(nullif(CASE WHEN ` + metricWins + ` THEN m.error_type ELSE ` + rowError + ` END, ''), 'Unknown'), 1` + withOutcome + `
		WHERE ` + within("e.timestamp", r.rows) + ` AND CASE WHEN ` + metricWins + ` THEN m.status ELSE e.status::text END = 'failed'
	UNION ALL
	SELECT coalesce(nullif(m.error_type, ''), 'Unknown'), 1` + r.alone(r.rows) + ` AND m.status = 'failed'
) x GROUP BY error_type`
}

// TopUsers implements exportops.OutcomeStore.
func (s *Store) TopUsers(ctx context.Context, plan exportops.ReadPlan, limit int) (
	top []exportops.UserCount, distinct int64, err error,
) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(rankingOf(plan).users()), limit)
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

// Errors implements exportops.OutcomeStore.
func (s *Store) Errors(ctx context.Context, plan exportops.ReadPlan) (map[string]int64, error) {
	counts := map[string]int64{}
	err := s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(rankingOf(plan).failures()))
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
