package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

const archiveColumns = `a.id, a.state, a.store, a.key, a.month, a.sequence, a.rows, a.deleted, a.oldest, a.newest, a.bytes,
	a.sha256, a.run_id, a.created_at, a.written_at, a.verified_at, a.finished_at, a.replaces, a.replaced_by, a.removed_at, a.error`

// archivesOf reads the archives that a query yields.
func archivesOf(ctx context.Context, q queryer, query string, args ...any) (all []exportops.Archive, err error) {
	rows, err := q.QueryContext(ctx, `SELECT `+archiveColumns+` FROM exportops_archives a `+query, args...)
	if err != nil {
		return nil, fmt.Errorf("read archives: %w", err)
	}
	err = scanAll(rows, func() error {
		var a exportops.Archive
		var month, created string
		var oldest, newest, written, verified, finished, removed sql.NullString
		err := rows.Scan(&a.ID, &a.State, &a.Store, &a.Key, &month, &a.Sequence, &a.Rows, &a.Deleted, &oldest, &newest, &a.Bytes,
			&a.SHA256, &a.RunID, &created, &written, &verified, &finished, &a.Replaces, &a.ReplacedBy, &removed, &a.Error)
		if err != nil {
			return err
		}
		if a.Month, err = exportops.ParseTime(month); err != nil {
			return err
		}
		if a.CreatedAt, err = exportops.ParseTime(created); err != nil {
			return err
		}
		a.Oldest, a.Newest = timePtr(oldest), timePtr(newest)
		a.WrittenAt, a.VerifiedAt, a.FinishedAt, a.RemovedAt = timePtr(written), timePtr(verified), timePtr(finished), timePtr(removed)
		all = append(all, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read archives: %w", err)
	}
	return all, nil
}

// BeginArchive implements exportops.ArchiveStore.
func (s *Store) BeginArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, name func(int64) string) (
	exportops.Archive, error,
) {
	err := s.fenced(ctx, c, func(tx *sql.Tx) error {
		if a.Replaces == 0 { // what replaces an archive was read from that
			if err := inEpoch(ctx, tx, epoch); err != nil {
				return err
			}
		}
		in, err := archivesOf(ctx, tx, `WHERE a.month = ? ORDER BY a.sequence`, a.Month.String())
		if err != nil {
			return err
		}
		if err := a.Number(in, name); err != nil {
			return err
		}
		a.State, a.RunID, a.CreatedAt = exportops.ArchiveIntended, c.RunID, c.Now
		return insertArchive(ctx, tx, &a)
	})
	return a, err
}

func insertArchive(ctx context.Context, tx *sql.Tx, a *exportops.Archive) error {
	err := tx.QueryRowContext(ctx, `INSERT INTO exportops_archives
			(state, store, key, month, sequence, rows, oldest, newest, bytes, sha256, run_id, created_at, verified_at, replaces)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		a.State, a.Store, a.Key, a.Month.String(), a.Sequence, a.Rows, timeText(a.Oldest), timeText(a.Newest), a.Bytes, a.SHA256,
		a.RunID, a.CreatedAt.String(), timeText(a.VerifiedAt), a.Replaces).Scan(&a.ID)
	if err != nil {
		return fmt.Errorf("record an archive: %w", err)
	}
	return nil
}

// AddArchiveMembers implements exportops.ArchiveStore.
func (s *Store) AddArchiveMembers(ctx context.Context, c exportops.Checkpoint, id int64, members []exportops.ArchiveMember) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		if _, err := ourArchive(ctx, tx, c, id, exportops.ArchiveIntended); err != nil {
			return err
		}
		return insertMembers(ctx, tx, id, members)
	})
}

// insertMembers records neighbouring rows.
func insertMembers(ctx context.Context, tx *sql.Tx, id int64, members []exportops.ArchiveMember) error {
	if len(members) == 0 {
		return nil
	}
	ids := make([]string, len(members))
	hashes := make([]byte, 0, len(members)*len(members[0].Hash))
	for i, m := range members {
		if m.Position != members[0].Position+int64(i) {
			return fmt.Errorf("row %d of archive %d follows row %d", m.Position, id, members[0].Position)
		}
		ids[i], hashes = m.RowID, append(hashes, m.Hash[:]...)
	}
	list, err := jsonList(ids)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO exportops_archive_rows (archive_id, position, row_id, hash)
		SELECT ?1, ?2 + j.key, j.value, substr(?4, 1 + 32 * j.key, 32) FROM json_each(?3) j`,
		id, members[0].Position, list, hashes)
	switch {
	case isUnique(err):
		return exportops.ArchiveConflict("rows of it are being archived by another run")
	case err != nil:
		return fmt.Errorf("record the rows of archive %d: %w", id, err)
	}
	return nil
}

// ourArchive reads an archive that must be this run's, and in one of some states.
func ourArchive(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, id int64, states ...exportops.ArchiveState) (
	exportops.Archive, error,
) {
	all, err := archivesOf(ctx, tx, `WHERE a.id = ?`, id)
	switch {
	case err != nil:
		return exportops.Archive{}, err
	case len(all) == 0:
		return exportops.Archive{}, exportops.NoArchive(id)
	}
	return all[0], all[0].Check(c, states...)
}

// MoveArchive implements exportops.ArchiveStore.
func (s *Store) MoveArchive(ctx context.Context, c exportops.Checkpoint, id int64, to exportops.ArchiveState, why string) (
	a exportops.Archive, err error,
) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		if a, err = ourArchive(ctx, tx, c, id); err != nil {
			return err
		}
		if !a.State.MayBecome(to) {
			return exportops.ArchiveConflict("archive %d is %s and cannot become %s", id, a.State, to)
		}
		if err := membersAllow(ctx, tx, a, to); err != nil {
			return err
		}
		if to == exportops.ArchiveAbandoned {
			if _, err := tx.ExecContext(ctx, `DELETE FROM exportops_archive_rows WHERE archive_id = ?`, id); err != nil {
				return fmt.Errorf("forget the rows of archive %d: %w", id, err)
			}
		}
		a = a.Moved(to, why, c.Now)
		_, err = tx.ExecContext(ctx, `UPDATE exportops_archives SET state = ?, written_at = ?, verified_at = ?, finished_at = ?, error = ?
			WHERE id = ?`, a.State, timeText(a.WrittenAt), timeText(a.VerifiedAt), timeText(a.FinishedAt), a.Error, id)
		if err != nil {
			return fmt.Errorf("move archive %d on: %w", id, err)
		}
		return nil
	})
	return a, err
}

// MarkArchive implements exportops.ArchiveStore.
func (s *Store) MarkArchive(ctx context.Context, id int64, fault string) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_archives SET error = ?2
			WHERE id = ?1 AND state IN ('verified', 'deleting', 'done') AND error <> ?2`, id, fault)
		if err != nil {
			return fmt.Errorf("keep what was found of archive %d: %w", id, err)
		}
		return nil
	})
}

// membersAllow refuses to move an archive while the wrong number of members is there.
func membersAllow(ctx context.Context, tx *sql.Tx, a exportops.Archive, to exportops.ArchiveState) error {
	if a.State == to || a.Replaces != 0 || to != exportops.ArchiveWritten && to != exportops.ArchiveDone {
		return nil
	}
	var n int64
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM exportops_archive_rows WHERE archive_id = ?`, a.ID).Scan(&n)
	switch {
	case err != nil:
		return fmt.Errorf("count the rows of archive %d: %w", a.ID, err)
	case to == exportops.ArchiveWritten && n != a.Rows:
		return exportops.ArchiveConflict("archive %d has %d rows, and %d are recorded", a.ID, a.Rows, n)
	case to == exportops.ArchiveDone && n != 0:
		return exportops.ArchiveConflict("archive %d has %d rows that nobody has dealt with", a.ID, n)
	}
	return nil
}

// ArchiveMembers implements exportops.ArchiveStore.
func (s *Store) ArchiveMembers(ctx context.Context, id, from int64, limit int) (all []exportops.ArchiveMember, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT position, row_id, hash FROM exportops_archive_rows
		WHERE archive_id = ? AND position >= ? ORDER BY position LIMIT ?`, id, from, limit)
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the rows of archive %d: %w", id, err))
	}
	var hash []byte
	err = scanAll(rows, func() error {
		var m exportops.ArchiveMember
		err := rows.Scan(&m.Position, &m.RowID, &hash)
		if err == nil && len(hash) != len(m.Hash) {
			err = fmt.Errorf("the hash of row %d has %d bytes", m.Position, len(hash))
		}
		copy(m.Hash[:], hash)
		all = append(all, m)
		return err
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the rows of archive %d: %w", id, err))
	}
	return all, nil
}

// AdoptArchives implements exportops.ArchiveStore.
func (s *Store) AdoptArchives(ctx context.Context, c exportops.Checkpoint) (all []exportops.Archive, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_archives AS a SET run_id = ?1
			WHERE a.state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost') AND a.run_id <> ?1 AND NOT EXISTS (
				SELECT 1 FROM exportops_runs r WHERE r.id = a.run_id AND r.state = 'running' AND r.lease_until > ?2)`,
			c.RunID, c.Now.String())
		if err != nil {
			return fmt.Errorf("take archives over: %w", err)
		}
		all, err = archivesOf(ctx, tx, `WHERE a.state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost') AND a.run_id = ? ORDER BY a.id`, c.RunID)
		return err
	})
	return all, err
}

// Archive implements exportops.ArchiveStore.
func (s *Store) Archive(ctx context.Context, id int64) (exportops.Archive, error) {
	all, err := archivesOf(ctx, s.read, `WHERE a.id = ?`, id)
	switch {
	case err != nil:
		return exportops.Archive{}, s.explain(err)
	case len(all) == 0:
		return exportops.Archive{}, exportops.NoArchive(id)
	}
	return all[0], nil
}

// Archives implements exportops.ArchiveStore.
func (s *Store) Archives(ctx context.Context, f exportops.ArchiveFilter) ([]exportops.Archive, error) {
	where, args := []string{"true"}, []any{}
	if f.State != "" {
		where, args = append(where, "a.state = ?"), append(args, f.State)
	}
	if f.Before > 0 {
		where, args = append(where, "a.id < ?"), append(args, f.Before)
	}
	all, err := archivesOf(ctx, s.read, `WHERE `+strings.Join(where, " AND ")+` ORDER BY a.id DESC LIMIT ?`, append(args, exportops.PageSize(f.Limit))...)
	return all, s.explain(err)
}

// ArchivedRows implements exportops.ArchiveStore.
func (s *Store) ArchivedRows(ctx context.Context, ids []string) (all []exportops.ArchivedRow, read int, err error) {
	size := 0
	read = len(ids)
	err = s.archivedRows(ctx, s.read, ids, func(at int, r *exportops.ArchivedRow) error {
		all = append(all, *r)
		if size += r.Size(); size >= exportops.ArchivedAtOnce {
			read = at + 1
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, read, s.explain(err)
}
