package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// trace is how one kind of traces is found and erased.
type trace struct {
	kind  exportops.TraceKind
	table string // beside the export logs, of exportops.TraceBeside
	// find yields at most ?3 keys after ?2 that name the user ?1.
	find string
	// erase takes the user as ?1 and the keys as a JSON array, ?2.
	erase string
	// before, where set, comes before erase, and takes the same.
	before []string
}

// named says that a text names the user, in whichever case.
func named(column string) string { return `instr(lower(coalesce(` + column + `, '')), ?1) > 0` }

// without is a text without the user, in whichever case: one place after the other.
func without(column string) string {
	return `(WITH RECURSIVE r (t) AS (SELECT ` + column + `
		UNION ALL SELECT substr(t, 1, instr(lower(t), ?1) - 1) || '` + exportops.Erased + `' || substr(t, instr(lower(t), ?1) + length(?1))
			FROM r WHERE instr(lower(t), ?1) > 0)
		SELECT t FROM r WHERE instr(lower(t), ?1) = 0)`
}

// uncounted says of a metric m that no rollup holds it, and no row stands for its
// export.
const uncounted = `m.counted_hour IS NULL AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id)`

// told says of a metric m that it is of the user, and the row of its export of another:
// it becomes that one's, and so does what counts it, in a sealed hour at once.
const told = `lower(m.user_id) = ?1 AND EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND lower(e.user_id) <> ?1)`

// ofUsers says of an export id that it is one of the user's exports.
func ofUsers(export string) string {
	return `(EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = ` + export + ` AND lower(e.user_id) = ?1)
		OR EXISTS (SELECT 1 FROM exportops_deletions d WHERE d.export_id = ` + export + ` AND lower(d.user_id) = ?1))`
}

// namesExport says of a result that it names an export of the user's.
var namesExport = `EXISTS (SELECT 1 FROM json_tree(result) j WHERE j.type = 'text' AND (j.key = 'export_id' OR j.path = '$.stuck')
	AND ` + ofUsers("j.value") + `)`

// othersIn is a list of a result without the user's exports, for json_replace.
func othersIn(list string) string {
	return `, '$.` + list + `', json((SELECT json_group_array(json(j.value)) FROM json_each(result, '$.` + list + `') j
		WHERE j.type = 'object' AND NOT ` + ofUsers("json_extract(j.value, '$.export_id')") + `))`
}

// withoutExports is a result without what it lists of the user's exports.
var withoutExports = `json_replace(result` + othersIn("missing") + othersIn("errors") + `,
	'$.stuck', json((SELECT json_group_array(j.value) FROM json_each(result, '$.stuck') j
		WHERE j.type = 'text' AND NOT ` + ofUsers("j.value") + `)))`

const (
	oneOf    = ` IN (SELECT value FROM json_each(?2))`
	oneOfIDs = ` IN (SELECT CAST(value AS INTEGER) FROM json_each(?2))`
)

var traces = []trace{
	{
		exportops.TraceTold, "",
		`SELECT m.id FROM exportops_export_metrics m WHERE m.id > CAST(?2 AS INTEGER) AND ` + told + ` ORDER BY m.id LIMIT ?3`,
		`UPDATE exportops_export_metrics AS m SET user_id = (SELECT lower(e.user_id) FROM {logs} e WHERE e.export_id = m.export_id)
			WHERE ` + told + ` AND m.id` + oneOfIDs,
		[]string{
			`INSERT INTO exportops_rollup_users (start, user_id, exports)
				SELECT m.counted_hour, lower(e.user_id), count(*) FROM exportops_export_metrics m
					JOIN exportops_rollup_hours h ON h.start = m.counted_hour AND h.sealed = 1 JOIN {logs} e ON e.export_id = m.export_id
				WHERE ` + told + ` AND m.id` + oneOfIDs + ` GROUP BY 1, 2
				ON CONFLICT DO UPDATE SET exports = exports + excluded.exports`,
			`UPDATE exportops_rollup_hours SET version = version + 1, clean = min(clean, sealed) WHERE start IN (
				SELECT m.counted_hour FROM exportops_export_metrics m WHERE ` + told + ` AND m.id` + oneOfIDs + `)`,
			`DELETE FROM exportops_rollup_days WHERE start IN (SELECT substr(m.counted_hour, 1, 10) || 'T00:00:00.000Z'
				FROM exportops_export_metrics m WHERE ` + told + ` AND m.id` + oneOfIDs + `)`,
		},
	},
	{
		exportops.TraceCounter, "",
		`SELECT start || user_id FROM exportops_rollup_users WHERE start >= substr(?2, 1, 24) AND start || user_id > ?2 AND lower(user_id) = ?1
			ORDER BY start, user_id LIMIT ?3`,
		// An hour may count thousands of others, and all wait for this.
		`DELETE FROM exportops_rollup_users WHERE ?1 <> '' AND (start, user_id) IN (SELECT substr(value, 1, 24), substr(value, 25) FROM json_each(?2))`, nil,
	},
	{
		exportops.TraceMetric, "",
		`SELECT m.id FROM exportops_export_metrics m WHERE m.id > CAST(?2 AS INTEGER) AND lower(m.user_id) = ?1 AND ` + uncounted + ` ORDER BY m.id LIMIT ?3`,
		`DELETE FROM exportops_export_metrics AS m WHERE lower(m.user_id) = ?1 AND ` + uncounted + ` AND m.id` + oneOfIDs + `
			AND NOT (` + heldBy("m.export_id", "m.user_id") + `)`, nil,
	},
	{
		exportops.TraceRun, "",
		`SELECT id FROM exportops_runs WHERE id > ?2 AND (` + named("result") + ` OR ` + named("error") + ` OR ` + named("cancelled_by") + `)
			ORDER BY id LIMIT ?3`,
		`UPDATE exportops_runs SET result = ` + without("result") + `, error = ` + without("error") + `, cancelled_by = ` + without("cancelled_by") + `
			WHERE state <> 'running' AND id` + oneOf, nil,
	},
	{
		exportops.TraceWorker, "",
		`SELECT DISTINCT run_id FROM exportops_workers WHERE run_id > ?2 AND ` + named("result") + ` ORDER BY run_id LIMIT ?3`,
		`UPDATE exportops_workers AS w SET result = ` + without("result") + ` WHERE ` + named("result") + ` AND run_id` + oneOf + `
			AND NOT EXISTS (SELECT 1 FROM exportops_runs r WHERE r.id = w.run_id AND r.state = 'running')`, nil,
	},
	{
		exportops.TraceFile, "",
		`SELECT store || char(10) || key FROM exportops_unknown_files WHERE store || char(10) || key > ?2 AND ` + named("key") + `
			ORDER BY store || char(10) || key LIMIT ?3`,
		`DELETE FROM exportops_unknown_files WHERE state IN ('adopted', 'gone') AND ` + named("key") + ` AND store || char(10) || key` + oneOf, nil,
	},
	{
		exportops.TraceExport, "",
		`SELECT id FROM exportops_runs WHERE id > ?2 AND ` + namesExport + ` ORDER BY id LIMIT ?3`,
		`UPDATE exportops_runs SET result = ` + withoutExports + ` WHERE state <> 'running' AND ` + namesExport + ` AND id` + oneOf, nil,
	},
	{
		exportops.TraceHelped, "",
		`SELECT DISTINCT run_id FROM exportops_workers WHERE run_id > ?2 AND ` + namesExport + ` ORDER BY run_id LIMIT ?3`,
		`UPDATE exportops_workers AS w SET result = ` + withoutExports + ` WHERE ` + namesExport + ` AND run_id` + oneOf + `
			AND NOT EXISTS (SELECT 1 FROM exportops_runs r WHERE r.id = w.run_id AND r.state = 'running')`, nil,
	},
	{
		exportops.TraceMissing, "",
		`SELECT f.export_id FROM exportops_missing_files f WHERE export_id > ?2 AND (` + named("key") + ` OR ` + named("file_url") + ` OR ` + ofUsers("f.export_id") + `)
			ORDER BY export_id LIMIT ?3`,
		`DELETE FROM exportops_missing_files WHERE ?1 <> '' AND export_id` + oneOf, nil,
	},
	{
		exportops.TraceHold, "",
		`SELECT id FROM exportops_holds WHERE id > CAST(?2 AS INTEGER) AND ` + released + ` ORDER BY id LIMIT ?3`,
		`DELETE FROM exportops_holds WHERE ?1 <> '' AND released_at IS NOT NULL AND id` + oneOfIDs, nil,
	},
	{
		exportops.TraceCall, "",
		`SELECT key FROM exportops_run_keys WHERE key > ?2 AND ` + named("key") + ` ORDER BY key LIMIT ?3`,
		`DELETE FROM exportops_run_keys WHERE ?1 <> '' AND key` + oneOf, nil,
	},
	{
		exportops.TraceText, "",
		`SELECT id FROM exportops_export_metrics WHERE id > CAST(?2 AS INTEGER) AND (` + named("error_type") + ` OR ` + named("error_message") + `)
			ORDER BY id LIMIT ?3`,
		`UPDATE exportops_export_metrics SET error_type = ` + without("error_type") + `,
			error_message = ` + without("error_message") + ` WHERE id` + oneOfIDs,
		// Whoever is computing an hour has read the error as it was.
		[]string{`UPDATE exportops_rollup_hours SET version = version + 1 WHERE ?1 <> '' AND start IN (
			SELECT m.counted_hour FROM exportops_export_metrics m WHERE m.id` + oneOfIDs + `)`},
	},
	{
		exportops.TraceError, "",
		`SELECT DISTINCT start FROM exportops_rollup_errors WHERE start > ?2 AND ` + named("error_type") + ` ORDER BY start LIMIT ?3`,
		`DELETE FROM exportops_rollup_errors WHERE ` + named("error_type") + ` AND start` + oneOf,
		[]string{`INSERT INTO exportops_rollup_errors (start, error_type, exports)
			SELECT start, ` + without("error_type") + `, sum(exports) FROM exportops_rollup_errors
				WHERE ` + named("error_type") + ` AND start` + oneOf + ` GROUP BY 1, 2
			ON CONFLICT DO UPDATE SET exports = exports + excluded.exports`},
	},
	// Last, as it tells whose exports other traces are about.
	{
		exportops.TraceEntry, "",
		`SELECT id FROM exportops_deletions WHERE id > CAST(?2 AS INTEGER)
			AND (lower(user_id) = ?1 OR ` + named("key") + ` OR ` + named("file_url") + ` OR ` + named("error") + `) ORDER BY id LIMIT ?3`,
		// The user is not asked for: what found the entry may be any of these.
		`UPDATE exportops_deletions SET export_id = NULL, user_id = NULL, key = NULL, file_url = NULL, error = '', salt = NULL
			WHERE state <> 'claimed' AND ?1 <> '' AND id` + oneOfIDs, nil,
	},
}

// place says in a cursor where the traces are.
func (t trace) place() string {
	if t.table == "" {
		return string(t.kind)
	}
	return string(t.kind) + ":" + t.table
}

// everyTrace is about all places that may name a user.
func everyTrace(ctx context.Context, q queryer) ([]trace, error) {
	beside, err := besideTraces(ctx, q)
	return slices.Concat(nameTraces, traces, beside), err
}

// Traces implements exportops.ErasureStore.
func (s *Store) Traces(ctx context.Context, userID string, of func(exportops.TraceKind) bool, after exportops.Cursor, limit int) (
	page []exportops.Trace, next exportops.Cursor, err error,
) {
	all, err := everyTrace(ctx, s.read)
	if err != nil {
		return nil, "", s.explain(err)
	}
	place, from, _ := strings.Cut(string(after), "/")
	for _, t := range all {
		if (of != nil && !of(t.kind)) || (place != "" && t.place() != place) {
			continue
		}
		rows, err := s.read.QueryContext(ctx, s.sql(t.find), userID, from, limit-len(page))
		if err != nil {
			return nil, "", s.explain(fmt.Errorf("look for a user's traces: %w", err))
		}
		err = scanAll(rows, func() error {
			page = append(page, exportops.Trace{Kind: t.kind, Table: t.table})
			return rows.Scan(&page[len(page)-1].Key)
		})
		if err != nil {
			return nil, "", s.explain(fmt.Errorf("look for a user's traces: %w", err))
		}
		if len(page) == limit {
			return page, exportops.Cursor(t.place() + "/" + page[limit-1].Key), nil
		}
		place, from = "", ""
	}
	return page, "", nil
}

// EraseTraces implements exportops.ErasureStore.
func (s *Store) EraseTraces(ctx context.Context, c exportops.Checkpoint, userID string, found []exportops.Trace,
	progress exportops.TraceProgress,
) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		n = 0
		all, err := everyTrace(ctx, tx)
		if err != nil {
			return err
		}
		if err := endDead(ctx, tx, found, c.Now); err != nil {
			return err
		}
		for _, t := range all {
			var keys []string
			for _, f := range found {
				if f.Kind == t.kind && f.Table == t.table {
					keys = append(keys, f.Key)
				}
			}
			if len(keys) == 0 {
				continue
			}
			list, err := jsonList(keys)
			if err != nil {
				return err
			}
			for _, query := range t.before {
				if _, err := tx.ExecContext(ctx, s.sql(query), userID, list); err != nil {
					return fmt.Errorf("erase a user's traces: %w", err)
				}
			}
			res, err := tx.ExecContext(ctx, s.sql(t.erase), userID, list)
			if err != nil {
				return fmt.Errorf("erase a user's traces: %w", err)
			}
			erased, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += erased
		}
		if progress == nil {
			return nil
		}
		result, err := progress(n)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	return n, err
}

// endDead ends those runs among traces whose holders are dead: one that woke up would
// write its record again.
func endDead(ctx context.Context, tx *sql.Tx, found []exportops.Trace, now exportops.Time) error {
	list, err := jsonList(exportops.RunsOf(found))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET `+asDead+`
		WHERE state = 'running' AND (lease_until IS NULL OR lease_until <= ?1) AND id`+oneOf, now.String(), list)
	if err != nil {
		return fmt.Errorf("end dead runs: %w", err)
	}
	return nil
}

// UserLeft implements exportops.ErasureStore. It reads every row: a receipt relies on
// nothing that could look past one.
func (s *Store) UserLeft(ctx context.Context, userID string) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT (SELECT count(*) FROM {logs} e WHERE lower(e.user_id) = lower(?1))
		+ (SELECT count(*) FROM exportops_export_metrics m WHERE lower(m.user_id) = lower(?1))`), userID).Scan(&n)
	if err != nil {
		return 0, s.explain(fmt.Errorf("count what is left of a user: %w", err))
	}
	return n, nil
}
