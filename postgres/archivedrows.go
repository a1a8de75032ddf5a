package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ArchivedRows implements exportops.ArchiveStore.
func (s *Store) ArchivedRows(ctx context.Context, ids []string) (all []exportops.ArchivedRow, read int, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		size := 0
		all, read = nil, len(ids)
		last := ""
		err := s.archivedRows(ctx, tx, known(ids), func(r *exportops.ArchivedRow) error {
			all = append(all, *r)
			if size += r.Size(); size >= exportops.ArchivedAtOnce {
				last = r.ID
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			if read, err = 1+slices.IndexFunc(ids, func(id string) bool { return strings.EqualFold(id, last) }), nil; read == 0 {
				err = fmt.Errorf("row %s was not asked for", last)
			}
		}
		return err
	})
	return all, read, err
}

// archivedRows reads rows by their ids, each time to the last digit that there is. They
// are looked up one by one (OFFSET keeps the planner from joining): for a page it might
// otherwise read a table of some hundred thousand rows.
func (s *Store) archivedRows(ctx context.Context, tx pgx.Tx, ids []string, fn func(*exportops.ArchivedRow) error) error {
	downloads := "NULL::bigint"
	if s.downloads {
		downloads = "e.downloaded_count::bigint"
	}
	rows, err := tx.Query(ctx, s.sql(`SELECT e.id::text, e.export_id::text, e.user_id::text, e.timestamp::text, e.format::text,
			e.config::text, e.conversation_count::bigint, e.file_size::bigint, e.status::text, e.file_url::text, e.expires_at::text,
			e.error_message::text, e.created_at::text, e.updated_at::text, `+downloads+`,
			m.id IS NOT NULL, coalesce(m.status, ''), coalesce(m.source, ''), coalesce(m.attempt, 0), coalesce(m.format, ''),
			coalesce(m.conversation_count, 0), m.duration_ms, m.file_size_bytes, m.error_type, m.error_message,
			coalesce(m.timestamp::text, ''), m.counted_hour::text
		FROM unnest($1::uuid[]) WITH ORDINALITY AS g (id, at)
			JOIN LATERAL (SELECT x.* FROM {logs} x WHERE x.id = g.id OFFSET 0) e ON true
			LEFT JOIN exportops.export_metrics m ON m.export_id = e.export_id AND m.outcome
		WHERE num_nulls(e.export_id, e.user_id, e.timestamp, e.format, e.config, e.conversation_count, e.status, e.created_at,
			e.updated_at) = 0
		ORDER BY g.at`), ids)
	if err != nil {
		return fmt.Errorf("read whole log rows: %w", err)
	}
	var r exportops.ArchivedRow
	var m exportops.ArchivedMetric
	var measured bool
	_, err = pgx.ForEachRow(rows, []any{
		&r.ID, &r.ExportID, &r.UserID, &r.Timestamp, &r.Format, &r.Config, &r.ConversationCount, &r.FileSize,
		&r.Status, &r.FileURL, &r.ExpiresAt, &r.ErrorMessage, &r.CreatedAt, &r.UpdatedAt, &r.DownloadedCount,
		&measured, &m.Status, &m.Source, &m.Attempt, &m.Format, &m.ConversationCount, &m.DurationMS, &m.FileSizeBytes,
		&m.ErrorType, &m.ErrorMessage, &m.Timestamp, &m.CountedHour,
	}, func() error {
		row, metric := r, m
		row.Timestamp, row.CreatedAt, row.UpdatedAt = canonical(r.Timestamp), canonical(r.CreatedAt), canonical(r.UpdatedAt)
		row.ExpiresAt = canonicalPtr(r.ExpiresAt)
		if measured {
			metric.Timestamp, metric.CountedHour = canonical(m.Timestamp), canonicalPtr(m.CountedHour)
			row.Metric = &metric
		}
		return fn(&row)
	})
	if err != nil {
		return fmt.Errorf("read whole log rows: %w", err)
	}
	return nil
}

// DeleteArchived implements exportops.ArchiveStore. Rows are compared once they and
// the hours that count them are locked, so that nothing can change before they are
// deleted.
func (s *Store) DeleteArchived(ctx context.Context, c exportops.Checkpoint, id int64, members []exportops.ArchiveMember,
	goes func(exportops.LogRow) bool, progress func(exportops.ArchivedDeletion) (json.RawMessage, error),
) (out exportops.ArchivedDeletion, err error) {
	if len(members) == 0 {
		return out, nil
	}
	var began time.Time
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			began, out = time.Now(), exportops.ArchivedDeletion{}
			if _, err := ourArchive(ctx, tx, c, id, exportops.ArchiveDeleting); err != nil {
				return err
			}
			if err := s.deleteMembers(ctx, tx, members, goes, &out); err != nil {
				return err
			}
			if err := forgetMembers(ctx, tx, id, members, out.Deleted); err != nil || progress == nil {
				return err
			}
			result, err := progress(out)
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
	out.Took = time.Since(began)
	return out, err
}

func (s *Store) deleteMembers(ctx context.Context, tx pgx.Tx, members []exportops.ArchiveMember, goes func(exportops.LogRow) bool,
	out *exportops.ArchivedDeletion,
) error {
	ids := make([]string, len(members))
	hashes := make(map[string][32]byte, len(members))
	for i, m := range members {
		ids[i], hashes[m.RowID] = m.RowID, m.Hash
	}
	now, err := s.scanLogRows(ctx, tx, order{where: `e.id = ANY($1::uuid[])`, args: []any{ids}}, ``)
	if err != nil {
		return err
	}
	d := &logDeletion{Store: s, tx: tx}
	for _, r := range now {
		if r.Counted && goes(r) {
			d.rows = append(d.rows, r)
		}
	}
	d.goes = make([]bool, len(d.rows))
	d.last = func(ctx context.Context) error { return d.dropEdited(ctx, hashes) }
	if err := d.run(ctx); err != nil {
		return err
	}
	out.Deleted = int64(len(d.going()))
	out.Kept, out.Missing = int64(len(now))-out.Deleted, int64(len(members)-len(now))
	return nil
}

// dropEdited keeps the rows that are not what was archived.
func (d *logDeletion) dropEdited(ctx context.Context, hashes map[string][32]byte) error {
	going := d.going()
	at, ids := make(map[string]int64, len(going)), make([]string, 0, len(going))
	for _, i := range going {
		ids, at[d.rows[i].ID], d.goes[i] = append(ids, d.rows[i].ID), i, false
	}
	if len(ids) == 0 {
		return nil
	}
	return d.archivedRows(ctx, d.tx, ids, func(r *exportops.ArchivedRow) error {
		d.goes[at[r.ID]] = r.Hash() == hashes[r.ID]
		return nil
	})
}

// forgetMembers forgets neighbouring members, of whose rows so many are gone.
func forgetMembers(ctx context.Context, tx pgx.Tx, id int64, members []exportops.ArchiveMember, deleted int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM exportops.archive_rows WHERE archive_id = $1 AND position BETWEEN $2 AND $3`,
		id, members[0].Position, members[len(members)-1].Position)
	if err != nil {
		return fmt.Errorf("forget rows of archive %d: %w", id, err)
	}
	if _, err := tx.Exec(ctx, `UPDATE exportops.archives SET deleted = deleted + $2 WHERE id = $1`, id, deleted); err != nil {
		return fmt.Errorf("count what archive %d deleted: %w", id, err)
	}
	return nil
}
