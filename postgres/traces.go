package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// trace is how one kind of traces is found and erased.
type trace struct {
	kind  exportops.TraceKind
	table string // beside the export logs, of exportops.TraceBeside
	// find yields at most $3 keys after $2, a text, that name the user $1, a uuid
	// as text. The first page is after zero.
	find, zero string
	// erase takes the user as $1 and the keys, as texts, as $2.
	erase string
	// before, where set, comes before erase, and takes the same.
	before []string
}

// named says that a text names the user, in whichever case.
func named(column string) string {
	return `position($1::text in lower(coalesce(` + column + `::text, ''))) > 0`
}

// without is a text without the user. An id has no letter that means anything in
// a pattern.
func without(column string) string {
	return `regexp_replace(` + column + `::text, $1::text, '` + exportops.Erased + `', 'gi')`
}

// uncounted says of a metric m that no rollup holds it, and no row stands for its
// export.
const uncounted = `m.counted_hour IS NULL AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id)`

// told says of a metric m that it is of the user, and the row of its export of another:
// it becomes that one's, and so does what counts it, in a sealed hour at once.
const told = `m.user_id = $1::text::uuid AND EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND e.user_id <> $1::text::uuid)`

// ofUsers says of an export id that it is one of the user's exports.
func ofUsers(export string) string {
	return `(EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = ` + export + ` AND e.user_id = $1::text::uuid)
		OR EXISTS (SELECT 1 FROM exportops.deletions d WHERE d.export_id = ` + export + ` AND d.user_id = $1::text::uuid))`
}

// parsed is a result that can be looked into: jsonb has no NUL, for which U+FFFD stands
// then. A backslash before it may be one of a pair, and be about nothing that follows.
func parsed(result string) string {
	return `regexp_replace(` + result + `::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb`
}

// listed is the export that an element x of a list is about, null for none.
const listed = `CASE WHEN coalesce(x ->> 'export_id', x #>> '{}') ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$'
	THEN coalesce(x ->> 'export_id', x #>> '{}')::uuid END`

// namesExport says of a result that it names an export of the user's.
func namesExport(result string) string {
	return `EXISTS (SELECT 1 FROM jsonb_path_query(` + parsed(result) + `, '$.*[*]') x WHERE ` + ofUsers(listed) + `)`
}

// withoutExports is a result without what it lists of the user's exports.
func withoutExports(result string) string {
	without := parsed(result)
	for _, list := range []string{"missing", "errors", "stuck"} {
		without = `jsonb_set(` + without + `, '{` + list + `}', coalesce((SELECT jsonb_agg(x)
			FROM jsonb_path_query(` + parsed(result) + `, '$.` + list + `[*]') x
			WHERE jsonb_typeof(x) <> 'null' AND NOT ` + ofUsers(listed) + `), '[]'), false)`
	}
	return without + `::json`
}

var traces = []trace{
	{
		exportops.TraceTold, "",
		`SELECT m.id::text FROM exportops.export_metrics m WHERE m.id > $2::text::bigint AND ` + told + ` ORDER BY m.id LIMIT $3`, `0`,
		`UPDATE exportops.export_metrics AS m SET user_id = (SELECT e.user_id FROM {logs} e WHERE e.export_id = m.export_id LIMIT 1)
			WHERE ` + told + ` AND m.id = ANY($2::text[]::bigint[])`,
		[]string{
			`UPDATE exportops.rollup_hours AS h SET version = h.version + 1, clean = h.clean AND h.sealed WHERE h.start IN (
				SELECT m.counted_hour FROM exportops.export_metrics m WHERE ` + told + ` AND m.id = ANY($2::text[]::bigint[]))`,
			`INSERT INTO exportops.rollup_users AS u (start, user_id, exports)
				SELECT m.counted_hour, e.user_id, count(*) FROM exportops.export_metrics m
					JOIN exportops.rollup_hours h ON h.start = m.counted_hour AND h.sealed JOIN {logs} e ON e.export_id = m.export_id
				WHERE ` + told + ` AND m.id = ANY($2::text[]::bigint[]) GROUP BY 1, 2
				ON CONFLICT (start, user_id) DO UPDATE SET exports = u.exports + excluded.exports`,
			`DELETE FROM exportops.rollup_days d WHERE d.start IN (SELECT date_trunc('day', m.counted_hour, 'UTC')
				FROM exportops.export_metrics m WHERE ` + told + ` AND m.id = ANY($2::text[]::bigint[]))`,
		},
	},
	{
		exportops.TraceCounter, "",
		`SELECT u.start::text FROM exportops.rollup_users u WHERE u.user_id = $1::text::uuid AND u.start > $2::text::timestamptz
			ORDER BY u.start LIMIT $3`, `-infinity`,
		`DELETE FROM exportops.rollup_users u WHERE u.user_id = $1::text::uuid AND u.start = ANY($2::text[]::timestamptz[])`, nil,
	},
	{
		exportops.TraceMetric, "",
		`SELECT m.id::text FROM exportops.export_metrics m WHERE m.id > $2::text::bigint AND m.user_id = $1::text::uuid AND ` + uncounted + `
			ORDER BY m.id LIMIT $3`, `0`,
		`DELETE FROM exportops.export_metrics m WHERE m.user_id = $1::text::uuid AND ` + uncounted + ` AND m.id = ANY($2::text[]::bigint[])
			AND NOT (` + heldBy("m.export_id", "m.user_id") + `)`, nil,
	},
	{
		exportops.TraceRun, "",
		`SELECT r.id FROM exportops.runs r WHERE r.id > $2::text AND (` + named("r.result") + ` OR ` + named("r.error") + ` OR ` + named("r.cancelled_by") + `)
			ORDER BY r.id LIMIT $3`, ``,
		`UPDATE exportops.runs AS r SET result = ` + without("result") + `::json, error = ` + without("error") + `,
			cancelled_by = ` + without("cancelled_by") + `
			WHERE r.state <> 'running' AND r.id = ANY($2::text[])`, nil,
	},
	{
		exportops.TraceWorker, "",
		`SELECT DISTINCT w.run_id FROM exportops.workers w WHERE w.run_id > $2::text AND ` + named("w.result") + ` ORDER BY w.run_id LIMIT $3`, ``,
		`UPDATE exportops.workers AS w SET result = ` + without("result") + `::json
			WHERE ` + named("w.result") + ` AND w.run_id = ANY($2::text[])
				AND NOT EXISTS (SELECT 1 FROM exportops.runs r WHERE r.id = w.run_id AND r.state = 'running')`, nil,
	},
	{
		exportops.TraceFile, "",
		`SELECT f.store || chr(10) || f.key FROM exportops.unknown_files f WHERE f.store || chr(10) || f.key > $2::text AND ` + named("f.key") + `
			ORDER BY f.store || chr(10) || f.key LIMIT $3`, ``,
		`DELETE FROM exportops.unknown_files f WHERE f.state IN ('adopted', 'gone') AND ` + named("f.key") + ` AND f.store || chr(10) || f.key = ANY($2::text[])`, nil,
	},
	{
		exportops.TraceExport, "",
		`SELECT r.id FROM exportops.runs r WHERE r.id > $2::text AND ` + namesExport("r.result") + ` ORDER BY r.id LIMIT $3`, ``,
		`UPDATE exportops.runs AS r SET result = ` + withoutExports("r.result") + `
			WHERE r.state <> 'running' AND ` + namesExport("r.result") + ` AND r.id = ANY($2::text[])`, nil,
	},
	{
		exportops.TraceHelped, "",
		`SELECT DISTINCT w.run_id FROM exportops.workers w WHERE w.run_id > $2::text AND ` + namesExport("w.result") + `
			ORDER BY w.run_id LIMIT $3`, ``,
		`UPDATE exportops.workers AS w SET result = ` + withoutExports("w.result") + `
			WHERE ` + namesExport("w.result") + ` AND w.run_id = ANY($2::text[])
				AND NOT EXISTS (SELECT 1 FROM exportops.runs r WHERE r.id = w.run_id AND r.state = 'running')`, nil,
	},
	{
		exportops.TraceMissing, "",
		`SELECT f.export_id::text FROM exportops.missing_files f WHERE f.export_id > $2::text::uuid AND (` + named("f.key") + ` OR ` + named("f.file_url") + ` OR ` + ofUsers("f.export_id") + `)
			ORDER BY f.export_id LIMIT $3`, `00000000-0000-0000-0000-000000000000`,
		`DELETE FROM exportops.missing_files f WHERE $1::text <> '' AND f.export_id = ANY($2::text[]::uuid[])`, nil,
	},
	{
		exportops.TraceHold, "",
		`SELECT h.id::text FROM exportops.holds h WHERE h.id > $2::text::bigint AND ` + released + ` ORDER BY h.id LIMIT $3`, `0`,
		`DELETE FROM exportops.holds h WHERE $1::text <> '' AND h.released_at IS NOT NULL AND h.id = ANY($2::text[]::bigint[])`, nil,
	},
	{
		exportops.TraceCall, "",
		`SELECT k.key FROM exportops.run_keys k WHERE k.key > $2::text AND ` + named("k.key") + ` ORDER BY k.key LIMIT $3`, ``,
		`DELETE FROM exportops.run_keys k WHERE $1::text <> '' AND k.key = ANY($2::text[])`, nil,
	},
	{
		exportops.TraceText, "",
		`SELECT m.id::text FROM exportops.export_metrics m WHERE m.id > $2::text::bigint
			AND (` + named("m.error_type") + ` OR ` + named("m.error_message") + `) ORDER BY m.id LIMIT $3`, `0`,
		`UPDATE exportops.export_metrics AS m SET error_type = ` + without("error_type") + `, error_message = ` + without("error_message") + `
			WHERE m.id = ANY($2::text[]::bigint[])`,
		// Whoever is computing an hour has read the error as it was.
		[]string{`UPDATE exportops.rollup_hours AS h SET version = h.version + 1 WHERE $1::text <> '' AND h.start IN (
			SELECT m.counted_hour FROM exportops.export_metrics m WHERE m.id = ANY($2::text[]::bigint[]))`},
	},
	{
		exportops.TraceError, "",
		`SELECT c.start::text FROM exportops.rollup_errors c WHERE c.start > $2::text::timestamptz AND ` + named("c.error_type") + `
			GROUP BY c.start ORDER BY c.start LIMIT $3`, `-infinity`,
		`DELETE FROM exportops.rollup_errors c WHERE ` + named("c.error_type") + ` AND c.start = ANY($2::text[]::timestamptz[])`,
		[]string{
			// Until the transaction ends nothing more is counted there.
			`SELECT 1 FROM exportops.rollup_hours h WHERE $1::text <> '' AND h.start = ANY($2::text[]::timestamptz[])
				ORDER BY h.start FOR UPDATE`,
			`INSERT INTO exportops.rollup_errors AS c (start, error_type, exports)
				SELECT o.start, ` + without("o.error_type") + `, sum(o.exports) FROM exportops.rollup_errors o
					WHERE ` + named("o.error_type") + ` AND o.start = ANY($2::text[]::timestamptz[]) GROUP BY 1, 2
				ON CONFLICT (start, error_type) DO UPDATE SET exports = c.exports + excluded.exports`,
		},
	},
	// Last, as it tells whose exports other traces are about.
	{
		exportops.TraceEntry, "",
		`SELECT d.id::text FROM exportops.deletions d WHERE d.id > $2::text::bigint
			AND (d.user_id = $1::text::uuid OR ` + named("d.key") + ` OR ` + named("d.file_url") + ` OR ` + named("d.error") + `)
			ORDER BY d.id LIMIT $3`, `0`,
		// The user is not asked for: what found the entry may be any of these.
		`UPDATE exportops.deletions AS d SET export_id = NULL, user_id = NULL, key = NULL, file_url = NULL, error = '', salt = NULL
			WHERE d.state <> 'claimed' AND $1::text <> '' AND d.id = ANY($2::text[]::bigint[])`, nil,
	},
}

// counts says that the keys are of metrics, which hours may count by what changes.
func (t trace) counts() bool {
	return t.kind == exportops.TraceTold || t.kind == exportops.TraceText
}

// place says in a cursor where the traces are.
func (t trace) place() string {
	if t.table == "" {
		return string(t.kind)
	}
	return string(t.kind) + ":" + t.table
}

// everyTrace is about all places that may name a user.
func everyTrace(ctx context.Context, tx pgx.Tx) ([]trace, error) {
	beside, err := besideTraces(ctx, tx)
	return slices.Concat(nameTraces, traces, beside), err
}

// Traces implements exportops.ErasureStore.
func (s *Store) Traces(ctx context.Context, userID string, of func(exportops.TraceKind) bool, after exportops.Cursor, limit int) (
	page []exportops.Trace, next exportops.Cursor, err error,
) {
	err = s.streaming(ctx, func(tx pgx.Tx) error {
		page, next = nil, ""
		all, err := everyTrace(ctx, tx)
		if err != nil {
			return err
		}
		place, from, _ := strings.Cut(string(after), "/")
		for _, t := range all {
			if (of != nil && !of(t.kind)) || (place != "" && t.place() != place) {
				continue
			}
			if place == "" {
				from = t.zero
			}
			place = ""
			rows, err := tx.Query(ctx, s.sql(t.find), userID, from, limit-len(page))
			if err != nil {
				return fmt.Errorf("look for a user's traces: %w", err)
			}
			var key string
			_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
				page = append(page, exportops.Trace{Kind: t.kind, Table: t.table, Key: key})
				return nil
			})
			if err != nil {
				return fmt.Errorf("look for a user's traces: %w", err)
			}
			if len(page) == limit {
				next = exportops.Cursor(t.place() + "/" + key)
				return nil
			}
		}
		return nil
	})
	return page, next, err
}

// EraseTraces implements exportops.ErasureStore.
func (s *Store) EraseTraces(ctx context.Context, c exportops.Checkpoint, userID string, found []exportops.Trace,
	progress exportops.TraceProgress,
) (n int64, err error) {
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			n = 0
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
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
				if t.counts() {
					if err := takeTurnsOf(ctx, tx, keys); err != nil {
						return err
					}
				}
				for _, query := range t.before {
					if _, err := tx.Exec(ctx, s.sql(query), userID, keys); err != nil {
						return fmt.Errorf("erase a user's traces: %w", err)
					}
				}
				tag, err := tx.Exec(ctx, s.sql(t.erase), userID, keys)
				if err != nil {
					return fmt.Errorf("erase a user's traces: %w", err)
				}
				n += tag.RowsAffected()
			}
			if progress == nil {
				return nil
			}
			result, err := progress(n)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE exportops.runs SET result = $2::json WHERE id = $1`, c.RunID, nullJSON(result))
			if err != nil {
				return fmt.Errorf("keep the result: %w", err)
			}
			return nil
		})
	})
	return n, err
}

// takeTurnsOf takes the turns of the exports that metrics are of: whoever decides what
// one counts as has read what is about to change.
func takeTurnsOf(ctx context.Context, tx pgx.Tx, metrics []string) error {
	rows, err := tx.Query(ctx, `SELECT m.export_id::text FROM exportops.export_metrics m WHERE m.id = ANY($1::text[]::bigint[])`, metrics)
	if err != nil {
		return fmt.Errorf("look for a user's exports: %w", err)
	}
	exports, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for a user's exports: %w", err)
	}
	return takeTurns(ctx, tx, exports)
}

// endDead ends those runs among traces whose holders are dead: one that woke up would
// write its record again.
func endDead(ctx context.Context, tx pgx.Tx, found []exportops.Trace, now exportops.Time) error {
	rows, err := tx.Query(ctx, endRunQuery+` r.state = 'running' AND `+leaseOver(`$1`)+` AND r.id = ANY($2::text[]) RETURNING r.id`,
		now.String(), exportops.RunsOf(found))
	if err != nil {
		return fmt.Errorf("end dead runs: %w", err)
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("end dead runs: %w", err)
	}
	for _, id := range ended {
		if err := dismiss(ctx, tx, id, now); err != nil {
			return err
		}
	}
	return nil
}

// UserLeft implements exportops.ErasureStore.
func (s *Store) UserLeft(ctx context.Context, userID string) (n int64, err error) {
	err = s.streaming(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, s.sql(`SELECT (SELECT count(*) FROM {logs} e WHERE e.user_id = $1::text::uuid)
			+ (SELECT count(*) FROM exportops.export_metrics m WHERE m.user_id = $1::text::uuid)`), userID).Scan(&n)
		if err != nil {
			return fmt.Errorf("count what is left of a user: %w", err)
		}
		return nil
	})
	return n, err
}
