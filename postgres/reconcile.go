package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// NamedFiles implements exportops.ReconcileReader.
func (s *Store) NamedFiles(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error] {
	query := `SELECT ` + keyRowColumns + ` FROM {logs} e WHERE e.file_url > ''`
	var args []any
	if !since.IsZero() {
		query += ` AND e.timestamp >= $1::timestamptz`
		args = append(args, since.String())
	}
	return stream(ctx, s, "read keys", query, args, scanKeyRow)
}

// filter gathers conditions and their arguments.
type filter struct {
	where []string
	args  []any
}

func (f *filter) and(given bool, cond string, v any) {
	if given {
		f.args = append(f.args, v)
		f.where = append(f.where, strings.ReplaceAll(cond, "?", fmt.Sprintf("$%d", len(f.args))))
	}
}

func (f *filter) page(query, order string, limit int) (string, []any) {
	f.args = append(f.args, limit)
	return query + ` WHERE ` + strings.Join(f.where, ` AND `) + fmt.Sprintf(` ORDER BY %s LIMIT $%d`, order, len(f.args)), f.args
}

// UnknownFiles implements exportops.ReconcileReader.
func (s *Store) UnknownFiles(ctx context.Context, f exportops.UnknownFilter) (out []exportops.UnknownFile, err error) {
	var q filter
	limit := exportops.PageSize(f.Limit)
	if f.Keys != nil {
		limit = max(len(f.Keys), 1)
	}
	q.and(true, `u.store = ?`, f.Store)
	q.and(f.Keys != nil, `u.key = ANY(?::text[])`, f.Keys)
	q.and(true, `u.key > ?`, f.After)
	q.and(f.To != "", `u.key <= ?`, f.To)
	q.and(f.State != "", `u.state = ?`, string(f.State))
	q.and(!f.SeenBefore.IsZero(), `u.last_seen < ?::timestamptz`, f.SeenBefore.String())
	query, args := q.page(`SELECT `+unknownColumns+`
		FROM exportops.unknown_files u`, `u.store, u.key`, limit)
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanUnknown)
		return err
	})
	return out, err
}

const unknownColumns = `u.store, u.key, u.size, u.modified, u.version, u.state, u.first_seen, u.last_seen`

func scanUnknown(row pgx.CollectableRow) (u exportops.UnknownFile, err error) {
	var modified, from, to time.Time
	err = row.Scan(&u.Store, &u.Key, &u.Size, &modified, &u.Version, (*string)(&u.State), &from, &to)
	u.Modified, u.FirstSeen, u.LastSeen = exportops.At(modified), exportops.At(from), exportops.At(to)
	return u, err
}

// MissingFiles implements exportops.ReconcileReader.
func (s *Store) MissingFiles(ctx context.Context, f exportops.MissingFilter) (out []exportops.MissingFile, err error) {
	var q filter
	limit := exportops.PageSize(f.Limit)
	if f.ExportIDs != nil {
		limit = max(len(f.ExportIDs), 1)
	}
	q.and(true, `m.export_id > ?::uuid`, afterID(f.After))
	q.and(f.ExportIDs != nil, `m.export_id = ANY(?::uuid[])`, known(f.ExportIDs))
	q.and(!f.SeenBefore.IsZero(), `m.last_seen < ?::timestamptz`, f.SeenBefore.String())
	query, args := q.page(`SELECT m.export_id::text, m.store, m.key, m.file_url, m.expires_at::text, m.first_seen, m.last_seen
		FROM exportops.missing_files m`, `m.export_id`, limit)
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m exportops.MissingFile, err error) {
			var from, to time.Time
			err = row.Scan(&m.ExportID, &m.Store, &m.Key, &m.FileURL, &m.ExpiresAt, &from, &to)
			m.ExpiresAt, m.FirstSeen, m.LastSeen = canonicalPtr(m.ExpiresAt), exportops.At(from), exportops.At(to)
			return m, err
		})
		return err
	})
	return out, err
}

// afterID is an id that stands before all others where none is given.
func afterID(id string) string {
	if id == "" {
		return "00000000-0000-0000-0000-000000000000"
	}
	return id
}

// StuckExports implements exportops.ReconcileReader. Those in progress are few, and
// the index on status finds them; the order of ids is not one of an index to walk.
func (s *Store) StuckExports(ctx context.Context, cut exportops.Time, after exportops.Cursor, limit int) (
	out []exportops.StuckExport, next exportops.Cursor, err error,
) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(`
			SELECT e.export_id::text, coalesce(e.user_id::text, ''), e.status::text, e.timestamp::text, coalesce(e.updated_at::text, '')
			FROM {logs} e
			WHERE e.status IN ('queued', 'processing') AND e.timestamp < $1::timestamptz AND e.export_id > $2::uuid
			ORDER BY e.export_id LIMIT $3`), cut.String(), afterID(string(after)), limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e exportops.StuckExport, err error) {
			err = row.Scan(&e.ExportID, &e.UserID, (*string)(&e.Status), &e.Timestamp, &e.UpdatedAt)
			e.Timestamp, e.UpdatedAt = canonical(e.Timestamp), canonical(e.UpdatedAt)
			return e, err
		})
		return err
	})
	if err != nil || len(out) < limit {
		return out, "", err
	}
	return out, exportops.Cursor(out[len(out)-1].ExportID), nil
}

// RecordUnknown implements exportops.ReconcileStore.
func (s *Store) RecordUnknown(ctx context.Context, c exportops.Checkpoint, files []exportops.UnknownFile) error {
	n := len(files)
	stores, keys, versions, states := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	modified, from, to := make([]string, n), make([]string, n), make([]string, n)
	sizes := make([]int64, n)
	for i, u := range files {
		stores[i], keys[i], versions[i], states[i], sizes[i] = u.Store, u.Key, u.Version, string(u.State), u.Size
		modified[i], from[i], to[i] = u.Modified.String(), u.FirstSeen.String(), u.LastSeen.String()
	}
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		if n == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO exportops.unknown_files (store, key, size, modified, version, state, first_seen, last_seen)
			SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[],
				$7::timestamptz[], $8::timestamptz[])
			ON CONFLICT (store, key) DO UPDATE SET size = excluded.size, modified = excluded.modified, version = excluded.version,
				state = excluded.state, first_seen = excluded.first_seen, last_seen = excluded.last_seen`,
			stores, keys, sizes, modified, versions, states, from, to)
		return err
	})
}

// ForgetUnknown implements exportops.ReconcileStore.
func (s *Store) ForgetUnknown(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			DELETE FROM exportops.unknown_files u USING (SELECT store, key FROM exportops.unknown_files
				WHERE state IN ('adopted', 'gone') AND last_seen < $1::timestamptz LIMIT $2) d
			WHERE u.store = d.store AND u.key = d.key`, before.String(), limit)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// RecordMissing implements exportops.ReconcileStore.
func (s *Store) RecordMissing(ctx context.Context, c exportops.Checkpoint, files []exportops.MissingFile) error {
	n := len(files)
	exports, stores, keys := make([]string, n), make([]string, n), make([]string, n)
	urls, expires := make([]*string, n), make([]*string, n)
	from, to := make([]string, n), make([]string, n)
	for i, m := range files {
		exports[i], stores[i], keys[i], urls[i], expires[i] = m.ExportID, m.Store, m.Key, m.FileURL, m.ExpiresAt
		from[i], to[i] = m.FirstSeen.String(), m.LastSeen.String()
	}
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		if n == 0 {
			return nil
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO exportops.missing_files AS m (export_id, store, key, file_url, expires_at, first_seen, last_seen)
			SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[])
			ON CONFLICT (export_id) DO UPDATE SET store = excluded.store, key = excluded.key, file_url = excluded.file_url,
				expires_at = excluded.expires_at, last_seen = excluded.last_seen,
				first_seen = CASE WHEN m.file_url IS NOT DISTINCT FROM excluded.file_url
					AND m.expires_at IS NOT DISTINCT FROM excluded.expires_at THEN m.first_seen ELSE excluded.first_seen END`,
			exports, stores, keys, urls, expires, from, to)
		return err
	})
}

// ForgetMissing implements exportops.ReconcileStore.
func (s *Store) ForgetMissing(ctx context.Context, c exportops.Checkpoint, exportIDs []string) error {
	return s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error { return forgetMissing(ctx, tx, known(exportIDs)) })
	})
}

func forgetMissing(ctx context.Context, tx pgx.Tx, exportIDs []string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM exportops.missing_files WHERE export_id = ANY($1::uuid[])`, exportIDs); err != nil {
		return fmt.Errorf("delete records of missing files: %w", err)
	}
	return nil
}

// FailStuck implements exportops.ReconcileStore. Rows are locked first and in one
// order, as everywhere; an update that is under way is waited for, and then seen.
func (s *Store) FailStuck(ctx context.Context, c exportops.Checkpoint, rows []exportops.StuckExport, reason string,
	progress func([]bool) (json.RawMessage, error),
) (failed []bool, err error) {
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			if failed, err = s.failStuck(ctx, tx, c, rows, reason); err != nil || progress == nil {
				return err
			}
			result, err := progress(failed)
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
	return failed, err
}

func (s *Store) failStuck(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, rows []exportops.StuckExport, reason string) (
	[]bool, error,
) {
	same, err := s.lockStuck(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	failed := make([]bool, len(rows))
	var ids []string
	for i, e := range rows {
		if failed[i] = same[e.ExportID]; failed[i] {
			ids = append(ids, e.ExportID)
		}
	}
	if len(ids) == 0 {
		return failed, nil
	}
	tag, err := tx.Exec(ctx, s.sql(`UPDATE {logs} AS e SET status = 'failed', error_message = $2, updated_at = $3::timestamptz
		WHERE e.export_id = ANY($1::uuid[])`), ids, reason, c.Now.String())
	switch {
	case err != nil:
		return nil, refused(err)
	case tag.RowsAffected() != int64(len(ids)):
		return nil, s.unpassed(fmt.Sprintf("of %d rows that were to fail %d did", len(ids), tag.RowsAffected()))
	}
	return failed, s.freeze(ctx, tx, c.Now, ids)
}

// lockStuck locks those rows that still are what was read.
func (s *Store) lockStuck(ctx context.Context, tx pgx.Tx, list []exportops.StuckExport) (map[string]bool, error) {
	ids, statuses, updated := make([]string, len(list)), make([]string, len(list)), make([]*string, len(list))
	for i, e := range list {
		ids[i], statuses[i], updated[i] = e.ExportID, string(e.Status), nullText(e.UpdatedAt)
	}
	rows, err := tx.Query(ctx, s.sql(`
		SELECT e.export_id::text FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g (export_id, status, updated_at)
			JOIN {logs} e ON e.export_id = g.export_id
		WHERE e.status::text = g.status AND e.updated_at IS NOT DISTINCT FROM g.updated_at
		ORDER BY e.id FOR NO KEY UPDATE OF e`), ids, statuses, updated)
	if err != nil {
		return nil, fmt.Errorf("lock rows: %w", err)
	}
	same := make(map[string]bool, len(list))
	var id string
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error { same[id] = true; return nil })
	return same, err
}
