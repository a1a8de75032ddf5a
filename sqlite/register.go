package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// RegisterArchive implements exportops.ArchiveStore.
func (s *Store) RegisterArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, members []exportops.ArchiveMember) (
	exportops.Archive, error,
) {
	err := s.fenced(ctx, c, func(tx *sql.Tx) error {
		var run string
		err := tx.QueryRowContext(ctx, `SELECT id FROM exportops_runs WHERE state = 'running' AND job = ?`, exportops.EraseUser).Scan(&run)
		switch {
		case err == nil:
			return exportops.NotWhileErasing(run)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("look for erasures: %w", err)
		}
		if err := inEpoch(ctx, tx, epoch); err != nil {
			return err
		}
		in, err := archivesOf(ctx, tx, `WHERE a.month = ? ORDER BY a.sequence`, a.Month.String())
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
func archiveAgain(ctx context.Context, tx *sql.Tx, a exportops.Archive) error {
	_, err := tx.ExecContext(ctx, `UPDATE exportops_archives
		SET state = ?, store = ?, run_id = ?, verified_at = ?, finished_at = ?, removed_at = ?, error = ? WHERE id = ?`,
		a.State, a.Store, a.RunID, timeText(a.VerifiedAt), timeText(a.FinishedAt), timeText(a.RemovedAt), a.Error, a.ID)
	if err != nil {
		return fmt.Errorf("record where archive %d lies: %w", a.ID, err)
	}
	return nil
}

// LoseArchive implements exportops.ArchiveStore.
func (s *Store) LoseArchive(ctx context.Context, id int64, why string, now exportops.Time) (a exportops.Archive, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		all, err := archivesOf(ctx, tx, `WHERE a.id = ?`, id)
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
		if _, err := tx.ExecContext(ctx, `DELETE FROM exportops_archive_rows WHERE archive_id = ?`, id); err != nil {
			return fmt.Errorf("forget the rows of archive %d: %w", id, err)
		}
		return archiveAgain(ctx, tx, a)
	})
	return a, err
}
