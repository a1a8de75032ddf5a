package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/exportops/exportops"
)

// NamedFiles implements exportops.ReconcileReader.
func (s *Store) NamedFiles(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error] {
	query := `SELECT ` + keyRowColumns + ` FROM {logs} e WHERE e.file_url > ''`
	var args []any
	if !since.IsZero() {
		query += ` AND e.timestamp >= ?`
		args = append(args, since.String())
	}
	return s.keyRows(ctx, s.read, query, args...)
}

// UnknownFiles implements exportops.ReconcileReader.
func (s *Store) UnknownFiles(ctx context.Context, f exportops.UnknownFilter) ([]exportops.UnknownFile, error) {
	where, args := []string{`store = ?`}, []any{f.Store}
	and := func(given bool, cond string, v any) {
		if given {
			where, args = append(where, cond), append(args, v)
		}
	}
	limit := exportops.PageSize(f.Limit)
	if f.Keys != nil {
		list, err := jsonList(f.Keys)
		if err != nil {
			return nil, err
		}
		and(true, `key IN (SELECT value FROM json_each(?))`, list)
		limit = max(len(f.Keys), 1)
	}
	and(true, `key > ?`, f.After)
	and(f.To != "", `key <= ?`, f.To)
	and(f.State != "", `state = ?`, f.State)
	and(!f.SeenBefore.IsZero(), `last_seen < ?`, f.SeenBefore.String())
	rows, err := s.read.QueryContext(ctx, `
		SELECT `+unknownColumns+` FROM exportops_unknown_files
		WHERE `+strings.Join(where, ` AND `)+` ORDER BY store, key LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, s.explain(err)
	}
	var out []exportops.UnknownFile
	err = scanAll(rows, func() error {
		u, err := scanUnknown(rows)
		out = append(out, u)
		return err
	})
	return out, s.explain(err)
}

const unknownColumns = `store, key, size, modified, version, state, first_seen, last_seen`

func scanUnknown(rows *sql.Rows) (u exportops.UnknownFile, err error) {
	var modified, from, to string
	err = rows.Scan(&u.Store, &u.Key, &u.Size, &modified, &u.Version, &u.State, &from, &to)
	u.Modified, u.FirstSeen, u.LastSeen = timeOf(modified), timeOf(from), timeOf(to)
	return u, err
}

// timeOf reads a time that we wrote.
func timeOf(s string) exportops.Time {
	t, _ := exportops.ParseStoredTime(s)
	return t
}

// MissingFiles implements exportops.ReconcileReader.
func (s *Store) MissingFiles(ctx context.Context, f exportops.MissingFilter) ([]exportops.MissingFile, error) {
	where, args := []string{`export_id > ?`}, []any{f.After}
	limit := exportops.PageSize(f.Limit)
	if f.ExportIDs != nil {
		list, err := jsonList(f.ExportIDs)
		if err != nil {
			return nil, err
		}
		where, args = append(where, `export_id IN (SELECT value FROM json_each(?))`), append(args, list)
		limit = max(len(f.ExportIDs), 1)
	}
	if !f.SeenBefore.IsZero() {
		where, args = append(where, `last_seen < ?`), append(args, f.SeenBefore.String())
	}
	rows, err := s.read.QueryContext(ctx, `
		SELECT export_id, store, key, file_url, expires_at, first_seen, last_seen FROM exportops_missing_files
		WHERE `+strings.Join(where, ` AND `)+` ORDER BY export_id LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, s.explain(err)
	}
	var out []exportops.MissingFile
	err = scanAll(rows, func() error {
		var m exportops.MissingFile
		var from, to string
		err := rows.Scan(&m.ExportID, &m.Store, &m.Key, &m.FileURL, &m.ExpiresAt, &from, &to)
		m.FirstSeen, m.LastSeen = timeOf(from), timeOf(to)
		out = append(out, m)
		return err
	})
	return out, s.explain(err)
}

// StuckExports implements exportops.ReconcileReader. Those in progress are few, and
// the index on status finds them.
func (s *Store) StuckExports(ctx context.Context, cut exportops.Time, after exportops.Cursor, limit int) (
	[]exportops.StuckExport, exportops.Cursor, error,
) {
	rows, err := s.read.QueryContext(ctx, s.sql(`
		SELECT export_id, coalesce(user_id, ''), status, CAST(timestamp AS TEXT), CAST(coalesce(updated_at, '') AS TEXT) FROM {logs}
		WHERE status IN ('queued', 'processing') AND +timestamp < ? AND +export_id > ?
		ORDER BY +export_id LIMIT ?`), cut.String(), string(after), limit)
	if err != nil {
		return nil, "", s.explain(err)
	}
	var out []exportops.StuckExport
	err = scanAll(rows, func() error {
		var e exportops.StuckExport
		err := rows.Scan(&e.ExportID, &e.UserID, &e.Status, &e.Timestamp, &e.UpdatedAt)
		out = append(out, e)
		return err
	})
	if err != nil || len(out) < limit {
		return out, "", s.explain(err)
	}
	return out, exportops.Cursor(out[len(out)-1].ExportID), nil
}

// RecordUnknown implements exportops.ReconcileStore.
func (s *Store) RecordUnknown(ctx context.Context, c exportops.Checkpoint, files []exportops.UnknownFile) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `
			INSERT INTO exportops_unknown_files (store, key, size, modified, version, state, first_seen, last_seen)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (store, key) DO UPDATE SET size = excluded.size, modified = excluded.modified, version = excluded.version,
				state = excluded.state, first_seen = excluded.first_seen, last_seen = excluded.last_seen`)
		if err != nil {
			return fmt.Errorf("prepare records: %w", err)
		}
		defer st.Close()
		for _, u := range files {
			_, err := st.ExecContext(ctx, u.Store, u.Key, u.Size, u.Modified.String(), u.Version, u.State, u.FirstSeen.String(), u.LastSeen.String())
			if err != nil {
				return fmt.Errorf("record the file %q: %w", u.Key, err)
			}
		}
		return nil
	})
}

// ForgetUnknown implements exportops.ReconcileStore.
func (s *Store) ForgetUnknown(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			DELETE FROM exportops_unknown_files WHERE (store, key) IN (SELECT store, key FROM exportops_unknown_files
				WHERE state IN ('adopted', 'gone') AND last_seen < ? LIMIT ?)`, before.String(), limit)
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	return n, err
}

// RecordMissing implements exportops.ReconcileStore.
func (s *Store) RecordMissing(ctx context.Context, c exportops.Checkpoint, files []exportops.MissingFile) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `
			INSERT INTO exportops_missing_files AS m (export_id, store, key, file_url, expires_at, first_seen, last_seen)
			VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (export_id) DO UPDATE SET store = excluded.store, key = excluded.key, file_url = excluded.file_url,
				expires_at = excluded.expires_at, last_seen = excluded.last_seen,
				first_seen = CASE WHEN m.file_url IS excluded.file_url AND m.expires_at IS excluded.expires_at
					THEN m.first_seen ELSE excluded.first_seen END`)
		if err != nil {
			return fmt.Errorf("prepare records: %w", err)
		}
		defer st.Close()
		for _, m := range files {
			_, err := st.ExecContext(ctx, m.ExportID, m.Store, m.Key, m.FileURL, m.ExpiresAt, m.FirstSeen.String(), m.LastSeen.String())
			if err != nil {
				return fmt.Errorf("record the missing file of export %q: %w", m.ExportID, err)
			}
		}
		return nil
	})
}

// ForgetMissing implements exportops.ReconcileStore.
func (s *Store) ForgetMissing(ctx context.Context, c exportops.Checkpoint, exportIDs []string) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error { return forgetMissing(ctx, tx, exportIDs) })
}

func forgetMissing(ctx context.Context, tx *sql.Tx, exportIDs []string) error {
	err := execList(ctx, tx, `DELETE FROM exportops_missing_files WHERE export_id IN (SELECT value FROM json_each(?))`, exportIDs)
	if err != nil {
		return fmt.Errorf("delete records of missing files: %w", err)
	}
	return nil
}

// FailStuck implements exportops.ReconcileStore.
func (s *Store) FailStuck(ctx context.Context, c exportops.Checkpoint, rows []exportops.StuckExport, reason string,
	progress func([]bool) (json.RawMessage, error),
) (failed []bool, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		if failed, err = s.failStuck(ctx, tx, c, rows, reason); err != nil || progress == nil {
			return err
		}
		result, err := progress(failed)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	return failed, err
}

func (s *Store) failStuck(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, rows []exportops.StuckExport, reason string) (
	[]bool, error,
) {
	st, err := tx.PrepareContext(ctx, s.sql(`
		UPDATE {logs} SET status = 'failed', error_message = ?, updated_at = ?
		WHERE export_id = ? AND +status = ? AND CAST(updated_at AS TEXT) IS ? RETURNING export_id`))
	if err != nil {
		return nil, fmt.Errorf("prepare updates: %w", err)
	}
	defer st.Close()
	failed := make([]bool, len(rows))
	var ids []string
	for i, e := range rows {
		var id string
		switch err := st.QueryRowContext(ctx, reason, c.Now.String(), e.ExportID, e.Status, e.UpdatedAt).Scan(&id); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, fmt.Errorf("fail export %q: %w", e.ExportID, err)
		default:
			failed[i], ids = true, append(ids, id)
		}
	}
	list, err := jsonList(ids)
	if err != nil || len(ids) == 0 {
		return failed, err
	}
	if _, err := s.observe(ctx, tx, c.Now, `e.export_id IN (SELECT value FROM json_each(?))`, list); err != nil {
		return nil, fmt.Errorf("count the failures: %w", err)
	}
	return failed, s.place(ctx, tx, ids)
}
