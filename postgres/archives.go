package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
)

const archiveColumns = `a.id, a.state, a.store, a.key, a.month, a.sequence, a.rows, a.deleted, a.oldest, a.newest, a.bytes,
	a.sha256, a.run_id, a.created_at, a.written_at, a.verified_at, a.finished_at, a.replaces, a.replaced_by, a.removed_at, a.error`

// archivesOf reads the archives that a query yields.
func archivesOf(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]exportops.Archive, error) {
	rows, err := tx.Query(ctx, `SELECT `+archiveColumns+` FROM exportops.archives a `+query, args...)
	if err != nil {
		return nil, fmt.Errorf("read archives: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a exportops.Archive, err error) {
		var month, created time.Time
		var oldest, newest, written, verified, finished, removed *time.Time
		err = row.Scan(&a.ID, (*string)(&a.State), &a.Store, &a.Key, &month, &a.Sequence, &a.Rows, &a.Deleted, &oldest, &newest,
			&a.Bytes, &a.SHA256, &a.RunID, &created, &written, &verified, &finished, &a.Replaces, &a.ReplacedBy, &removed, &a.Error)
		a.Month, a.CreatedAt = exportops.At(month), exportops.At(created)
		a.Oldest, a.Newest = timePtr(oldest), timePtr(newest)
		a.WrittenAt, a.VerifiedAt, a.FinishedAt, a.RemovedAt = timePtr(written), timePtr(verified), timePtr(finished), timePtr(removed)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read archives: %w", err)
	}
	return all, nil
}

// BeginArchive implements exportops.ArchiveStore. Runs that number at once take
// turns, and so does who turns the epoch.
func (s *Store) BeginArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, name func(int64) string) (
	exportops.Archive, error,
) {
	err := s.fenced(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockArchives); err != nil {
			return fmt.Errorf("number an archive: %w", err)
		}
		if a.Replaces == 0 { // what replaces an archive was read from that
			if err := inEpoch(ctx, tx, epoch); err != nil {
				return err
			}
		}
		in, err := archivesOf(ctx, tx, `WHERE a.month = $1::timestamptz ORDER BY a.sequence`, a.Month.String())
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

func insertArchive(ctx context.Context, tx pgx.Tx, a *exportops.Archive) error {
	err := tx.QueryRow(ctx, `INSERT INTO exportops.archives
			(state, store, key, month, sequence, rows, oldest, newest, bytes, sha256, run_id, created_at, verified_at, replaces)
		VALUES ($1, $2, $3, $4::timestamptz, $5, $6, $7::timestamptz, $8::timestamptz, $9, $10, $11, $12::timestamptz, $13::timestamptz, $14)
		RETURNING id`,
		string(a.State), a.Store, a.Key, a.Month.String(), a.Sequence, a.Rows, timeText(a.Oldest), timeText(a.Newest), a.Bytes, a.SHA256,
		a.RunID, a.CreatedAt.String(), timeText(a.VerifiedAt), a.Replaces).Scan(&a.ID)
	if err != nil {
		return fmt.Errorf("record an archive: %w", err)
	}
	return nil
}

// AddArchiveMembers implements exportops.ArchiveStore.
func (s *Store) AddArchiveMembers(ctx context.Context, c exportops.Checkpoint, id int64, members []exportops.ArchiveMember) error {
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		if _, err := ourArchive(ctx, tx, c, id, exportops.ArchiveIntended); err != nil {
			return err
		}
		return insertMembers(ctx, tx, id, members)
	})
}

// insertMembers records neighbouring rows.
func insertMembers(ctx context.Context, tx pgx.Tx, id int64, members []exportops.ArchiveMember) error {
	if len(members) == 0 {
		return nil
	}
	ids, places, hashes := make([]string, len(members)), make([]int64, len(members)), make([][]byte, len(members))
	for i, m := range members {
		ids[i], places[i], hashes[i] = m.RowID, m.Position, m.Hash[:]
	}
	_, err := tx.Exec(ctx, `INSERT INTO exportops.archive_rows (archive_id, position, row_id, hash)
		SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::bytea[])`, id, places, ids, hashes)
	var told *pgconn.PgError
	switch {
	case errors.As(err, &told) && told.Code == "23505":
		return exportops.ArchiveConflict("rows of it are being archived by another run")
	case err != nil:
		return fmt.Errorf("record the rows of archive %d: %w", id, err)
	}
	return nil
}

// ourArchive locks an archive that must be this run's, and in one of some states.
func ourArchive(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, id int64, states ...exportops.ArchiveState) (
	exportops.Archive, error,
) {
	all, err := archivesOf(ctx, tx, `WHERE a.id = $1 FOR UPDATE`, id)
	switch {
	case err != nil:
		return exportops.Archive{}, err
	case len(all) == 0:
		return exportops.Archive{}, exportops.NoArchive(id)
	}
	return all[0], all[0].Check(c, states...)
}

// MarkArchive implements exportops.ArchiveStore.
func (s *Store) MarkArchive(ctx context.Context, id int64, fault string) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.archives SET error = $2
			WHERE id = $1 AND state IN ('verified', 'deleting', 'done') AND error <> $2`, id, fault)
		if err != nil {
			return fmt.Errorf("keep what was found of archive %d: %w", id, err)
		}
		return nil
	})
}

// MoveArchive implements exportops.ArchiveStore.
func (s *Store) MoveArchive(ctx context.Context, c exportops.Checkpoint, id int64, to exportops.ArchiveState, why string) (
	a exportops.Archive, err error,
) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
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
			if _, err := tx.Exec(ctx, `DELETE FROM exportops.archive_rows WHERE archive_id = $1`, id); err != nil {
				return fmt.Errorf("forget the rows of archive %d: %w", id, err)
			}
		}
		a = a.Moved(to, why, c.Now)
		_, err = tx.Exec(ctx, `UPDATE exportops.archives SET state = $2, written_at = $3::timestamptz, verified_at = $4::timestamptz,
				finished_at = $5::timestamptz, error = $6 WHERE id = $1`,
			id, string(a.State), timeText(a.WrittenAt), timeText(a.VerifiedAt), timeText(a.FinishedAt), a.Error)
		if err != nil {
			return fmt.Errorf("move archive %d on: %w", id, err)
		}
		return nil
	})
	return a, err
}

// membersAllow refuses to move an archive while the wrong number of members is there.
func membersAllow(ctx context.Context, tx pgx.Tx, a exportops.Archive, to exportops.ArchiveState) error {
	if a.State == to || a.Replaces != 0 || to != exportops.ArchiveWritten && to != exportops.ArchiveDone {
		return nil
	}
	var n int64
	err := tx.QueryRow(ctx, `SELECT count(*) FROM exportops.archive_rows WHERE archive_id = $1`, a.ID).Scan(&n)
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

// ArchiveMembers implements exportops.ArchiveStore. Both ends of a page are told to the
// index: a table that fills and empties within minutes has no statistics, and with one
// end alone the planner may read and sort all members that are left.
func (s *Store) ArchiveMembers(ctx context.Context, id, from int64, limit int) (all []exportops.ArchiveMember, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		if all, err = membersFrom(ctx, tx, id, from, limit); err != nil || len(all) > 0 {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT position FROM exportops.archive_rows
			WHERE archive_id = $1 AND position >= $2 ORDER BY position LIMIT 1`, id, from).Scan(&from)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return fmt.Errorf("read the rows of archive %d: %w", id, err)
		}
		all, err = membersFrom(ctx, tx, id, from, limit)
		return err
	})
	return all, err
}

// membersFrom returns the members at so many positions.
func membersFrom(ctx context.Context, tx pgx.Tx, id, from int64, positions int) ([]exportops.ArchiveMember, error) {
	rows, err := tx.Query(ctx, `SELECT position, row_id::text, hash FROM exportops.archive_rows
		WHERE archive_id = $1 AND position >= $2 AND position < $3 ORDER BY position`, id, from, from+int64(positions))
	if err != nil {
		return nil, fmt.Errorf("read the rows of archive %d: %w", id, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m exportops.ArchiveMember, err error) {
		var hash []byte
		if err = row.Scan(&m.Position, &m.RowID, &hash); err == nil && len(hash) != len(m.Hash) {
			err = fmt.Errorf("the hash of row %d has %d bytes", m.Position, len(hash))
		}
		copy(m.Hash[:], hash)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the rows of archive %d: %w", id, err)
	}
	return all, nil
}

// AdoptArchives implements exportops.ArchiveStore.
func (s *Store) AdoptArchives(ctx context.Context, c exportops.Checkpoint) (all []exportops.Archive, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.archives AS a SET run_id = $1
			WHERE a.state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost') AND a.run_id <> $1 AND NOT EXISTS (
				SELECT 1 FROM exportops.runs r WHERE r.id = a.run_id AND r.state = 'running' AND r.lease_until > $2::timestamptz)`,
			c.RunID, c.Now.String())
		if err != nil {
			return fmt.Errorf("take archives over: %w", err)
		}
		all, err = archivesOf(ctx, tx, `WHERE a.state NOT IN ('done', 'abandoned', 'replaced', 'removed', 'lost') AND a.run_id = $1 ORDER BY a.id`, c.RunID)
		return err
	})
	return all, err
}

// Archive implements exportops.ArchiveStore.
func (s *Store) Archive(ctx context.Context, id int64) (a exportops.Archive, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, err := archivesOf(ctx, tx, `WHERE a.id = $1`, id)
		switch {
		case err != nil:
			return err
		case len(all) == 0:
			return exportops.NoArchive(id)
		}
		a = all[0]
		return nil
	})
	return a, err
}

// Archives implements exportops.ArchiveStore.
func (s *Store) Archives(ctx context.Context, f exportops.ArchiveFilter) (all []exportops.Archive, err error) {
	where, args := []string{"true"}, []any{exportops.PageSize(f.Limit)}
	if f.State != "" {
		args = append(args, string(f.State))
		where = append(where, fmt.Sprintf("a.state = $%d", len(args)))
	}
	if f.Before > 0 {
		args = append(args, f.Before)
		where = append(where, fmt.Sprintf("a.id < $%d", len(args)))
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, err = archivesOf(ctx, tx, `WHERE `+strings.Join(where, " AND ")+` ORDER BY a.id DESC LIMIT $1`, args...)
		return err
	})
	return all, err
}
