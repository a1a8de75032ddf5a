package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// archivable says of a row e that an archive can give back what it holds: any
// program may have written a value of another type.
const archivable = `typeof(e.export_id) = 'text' AND typeof(e.user_id) = 'text' AND typeof(e.timestamp) = 'text'
	AND typeof(e.format) = 'text' AND typeof(e.config) = 'text' AND typeof(e.conversation_count) = 'integer'
	AND typeof(e.file_size) IN ('integer', 'null') AND typeof(e.status) = 'text' AND typeof(e.file_url) IN ('text', 'null')
	AND typeof(e.expires_at) IN ('text', 'null') AND typeof(e.error_message) IN ('text', 'null')
	AND typeof(e.created_at) = 'text' AND typeof(e.updated_at) = 'text' AND typeof({downloads}) IN ('integer', 'null')`

// errEnough says that whoever reads wants no more.
var errEnough = errors.New("enough was read")

// archivedRows reads rows by their ids, each with the place of its id. The casts keep the driver from parsing
// what was declared as a time.
func (s *Store) archivedRows(ctx context.Context, q queryer, ids []string, fn func(at int, r *exportops.ArchivedRow) error) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := jsonList(ids)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, s.sql(`SELECT j.key, CAST(e.id AS TEXT), CAST(e.export_id AS TEXT), CAST(e.user_id AS TEXT),
			CAST(e.timestamp AS TEXT), CAST(e.format AS TEXT), CAST(e.config AS TEXT), e.conversation_count, e.file_size,
			CAST(e.status AS TEXT), CAST(e.file_url AS TEXT), CAST(e.expires_at AS TEXT), CAST(e.error_message AS TEXT),
			CAST(e.created_at AS TEXT), CAST(e.updated_at AS TEXT), {downloads},
			m.id IS NOT NULL, coalesce(m.status, ''), coalesce(m.source, ''), coalesce(m.attempt, 0), coalesce(m.format, ''),
			coalesce(m.conversation_count, 0), m.duration_ms, m.file_size_bytes, m.error_type, m.error_message,
			coalesce(m.timestamp, ''), m.counted_hour
		FROM json_each(?) j CROSS JOIN {logs} e ON e.id = j.value
			LEFT JOIN exportops_export_metrics m ON m.export_id = e.export_id AND m.outcome = 1
		WHERE `+archivable), list)
	if err != nil {
		return fmt.Errorf("read whole log rows: %w", err)
	}
	// Rows come as the list has them; to say so would sort them.
	last := -1
	err = scanAll(rows, func() error {
		var r exportops.ArchivedRow
		var m exportops.ArchivedMetric
		var measured bool
		var at int
		err := rows.Scan(&at, &r.ID, &r.ExportID, &r.UserID, &r.Timestamp, &r.Format, &r.Config, &r.ConversationCount, &r.FileSize,
			&r.Status, &r.FileURL, &r.ExpiresAt, &r.ErrorMessage, &r.CreatedAt, &r.UpdatedAt, &r.DownloadedCount,
			&measured, &m.Status, &m.Source, &m.Attempt, &m.Format, &m.ConversationCount, &m.DurationMS, &m.FileSizeBytes,
			&m.ErrorType, &m.ErrorMessage, &m.Timestamp, &m.CountedHour)
		if measured {
			r.Metric = &m
		}
		if err == nil && at <= last {
			err = fmt.Errorf("row %d comes after row %d", at, last)
		}
		if last = at; err != nil {
			return err
		}
		return fn(at, &r)
	})
	if err != nil {
		return fmt.Errorf("read whole log rows: %w", err)
	}
	return nil
}

// DeleteArchived implements exportops.ArchiveStore. Rows are read and compared
// under the write lock, so that nothing can change before they are deleted.
func (s *Store) DeleteArchived(ctx context.Context, c exportops.Checkpoint, id int64, members []exportops.ArchiveMember,
	goes func(exportops.LogRow) bool, progress func(exportops.ArchivedDeletion) (json.RawMessage, error),
) (out exportops.ArchivedDeletion, err error) {
	if len(members) == 0 {
		return out, nil
	}
	var began time.Time
	err = s.bulkFenced(ctx, c, func(tx *sql.Tx) error {
		began, out = time.Now(), exportops.ArchivedDeletion{}
		if _, err := ourArchive(ctx, tx, c, id, exportops.ArchiveDeleting); err != nil {
			return err
		}
		same, there, err := s.unedited(ctx, tx, members, goes)
		if err != nil {
			return err
		}
		unchanged, err := s.unchanged(ctx, tx, same)
		if err != nil {
			return err
		}
		if err := dropHeld(ctx, tx, same, unchanged); err != nil {
			return err
		}
		var going []exportops.LogRow
		for i, r := range same {
			if unchanged[i] {
				going = append(going, r)
			}
		}
		if err := s.deleteRows(ctx, tx, going); err != nil {
			return err
		}
		out.Deleted = int64(len(going))
		out.Kept, out.Missing = there-out.Deleted, int64(len(members))-there
		if err := forgetMembers(ctx, tx, id, members, out.Deleted); err != nil || progress == nil {
			return err
		}
		result, err := progress(out)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	out.Took = time.Since(began)
	return out, err
}

// unedited returns the rows that are as they were archived and are to go, and says
// how many of the members are there at all.
func (s *Store) unedited(ctx context.Context, tx *sql.Tx, members []exportops.ArchiveMember, goes func(exportops.LogRow) bool) (
	same []exportops.LogRow, there int64, err error,
) {
	ids := make([]string, len(members))
	hashes := make(map[string][32]byte, len(members))
	for i, m := range members {
		ids[i], hashes[m.RowID] = m.RowID, m.Hash
	}
	list, err := jsonList(ids)
	if err != nil {
		return nil, 0, err
	}
	now, err := s.scanLogRows(ctx, tx, order{}, withIDs, list)
	if err != nil {
		return nil, 0, err
	}
	asArchived := make(map[string]bool, len(ids))
	err = s.archivedRows(ctx, tx, ids, func(_ int, r *exportops.ArchivedRow) error {
		asArchived[r.ID] = r.Hash() == hashes[r.ID]
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	for _, r := range now {
		if asArchived[r.ID] && r.Counted && goes(r) {
			same = append(same, r)
		}
	}
	return same, int64(len(now)), nil
}

// forgetMembers forgets neighbouring members, of whose rows so many are gone.
func forgetMembers(ctx context.Context, tx *sql.Tx, id int64, members []exportops.ArchiveMember, deleted int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM exportops_archive_rows WHERE archive_id = ? AND position BETWEEN ? AND ?`,
		id, members[0].Position, members[len(members)-1].Position)
	if err != nil {
		return fmt.Errorf("forget rows of archive %d: %w", id, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE exportops_archives SET deleted = deleted + ? WHERE id = ?`, deleted, id); err != nil {
		return fmt.Errorf("count what archive %d deleted: %w", id, err)
	}
	return nil
}
