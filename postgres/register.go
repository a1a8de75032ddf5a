package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// RegisterArchive implements exportops.ArchiveStore. An erasure turns the epoch, and so
// waits for the lock, before it looks at the archives: one that this does not see will
// see the archive.
func (s *Store) RegisterArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, members []exportops.ArchiveMember) (
	exportops.Archive, error,
) {
	err := s.fenced(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockArchives); err != nil {
			return fmt.Errorf("number an archive: %w", err)
		}
		var run string
		err := tx.QueryRow(ctx, `SELECT id FROM exportops.runs WHERE state = 'running' AND job = $1 LIMIT 1`, string(exportops.EraseUser)).Scan(&run)
		switch {
		case err == nil:
			return exportops.NotWhileErasing(run)
		case !errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("look for erasures: %w", err)
		}
		if err := inEpoch(ctx, tx, epoch); err != nil {
			return err
		}
		in, err := archivesOf(ctx, tx, `WHERE a.month = $1::timestamptz ORDER BY a.sequence FOR UPDATE`, a.Month.String())
		if err != nil {
			return err
		}
		all, err := a.Register(in, c)
		switch {
		case err != nil:
			return err
		case a.ID == 0:
			err = insertArchive(ctx, tx, &a)
		default:
			err = archiveAgain(ctx, tx, a)
		}
		if err != nil || !all {
			return err
		}
		return insertMembers(ctx, tx, a.ID, members)
	})
	return a, err
}

// archiveAgain records that an archive lies where it was found.
func archiveAgain(ctx context.Context, tx pgx.Tx, a exportops.Archive) error {
	_, err := tx.Exec(ctx, `UPDATE exportops.archives SET state = $2, store = $3, run_id = $4, verified_at = $5::timestamptz,
			finished_at = $6::timestamptz, removed_at = $7::timestamptz, error = $8 WHERE id = $1`,
		a.ID, string(a.State), a.Store, a.RunID, timeText(a.VerifiedAt), timeText(a.FinishedAt), timeText(a.RemovedAt), a.Error)
	if err != nil {
		return fmt.Errorf("record where archive %d lies: %w", a.ID, err)
	}
	return nil
}

// LoseArchive implements exportops.ArchiveStore.
func (s *Store) LoseArchive(ctx context.Context, id int64, why string, now exportops.Time) (a exportops.Archive, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		all, err := archivesOf(ctx, tx, `WHERE a.id = $1 FOR UPDATE`, id)
		switch {
		case err != nil:
			return err
		case len(all) == 0:
			return exportops.NoArchive(id)
		}
		if a = all[0]; a.State.Gone() {
			return nil
		}
		a = a.Lost(why, now)
		if _, err := tx.Exec(ctx, `DELETE FROM exportops.archive_rows WHERE archive_id = $1`, id); err != nil {
			return fmt.Errorf("forget the rows of archive %d: %w", id, err)
		}
		return archiveAgain(ctx, tx, a)
	})
	return a, err
}
