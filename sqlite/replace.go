package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// inEpoch is ErrEpoch where the epoch of archives is another one.
func inEpoch(ctx context.Context, tx *sql.Tx, epoch int64) error {
	var now int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce((SELECT epoch FROM exportops_archive_epoch WHERE one = 1), 0)`).Scan(&now); err != nil {
		return fmt.Errorf("read the epoch of archives: %w", err)
	}
	if now != epoch {
		return exportops.ErrEpoch
	}
	return nil
}

// ArchiveEpoch implements exportops.ArchiveReplacer.
func (s *Store) ArchiveEpoch(ctx context.Context) (n int64, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT coalesce((SELECT epoch FROM exportops_archive_epoch WHERE one = 1), 0)`).Scan(&n); err != nil {
		return 0, s.explain(fmt.Errorf("read the epoch of archives: %w", err))
	}
	return n, nil
}

// TurnArchiveEpoch implements exportops.ArchiveReplacer.
func (s *Store) TurnArchiveEpoch(ctx context.Context, c exportops.Checkpoint) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO exportops_archive_epoch (one, epoch) VALUES (1, 1)
			ON CONFLICT (one) DO UPDATE SET epoch = epoch + 1`); err != nil {
			return fmt.Errorf("turn the epoch of archives: %w", err)
		}
		return nil
	})
}

// ReplaceArchive implements exportops.ArchiveReplacer.
func (s *Store) ReplaceArchive(ctx context.Context, c exportops.Checkpoint, r exportops.Replacement) error {
	gone, err := jsonList(r.Gone)
	if err != nil {
		return err
	}
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		a, by, err := replacement(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := a.MayBeReplaced(by, c); err != nil {
			return err
		}
		if hold, err := holdCovering(ctx, tx, r.UserID, gone); err != nil || hold != 0 {
			return cmp.Or(err, exportops.HeldInArchive(hold))
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_archives SET state = ?, replaced_by = ? WHERE id = ?`,
			exportops.ArchiveReplaced, r.By, r.ID)
		if err != nil || by == nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_archives SET state = ?1, verified_at = ?2, finished_at = ?2, deleted = min(rows, ?3), error = ''
			WHERE id = ?4`, exportops.ArchiveDone, c.Now.String(), a.Deleted, r.By)
		return err
	})
}

// replacement reads an archive and what is to take its place, which may be nothing.
func replacement(ctx context.Context, tx *sql.Tx, r exportops.Replacement) (a exportops.Archive, by *exportops.Archive, err error) {
	all, err := archivesOf(ctx, tx, `WHERE a.id IN (?, ?)`, r.ID, r.By)
	for i := range all {
		switch all[i].ID {
		case r.ID:
			a = all[i]
		case r.By:
			by = &all[i]
		}
	}
	switch {
	case err != nil:
		return a, nil, err
	case a.ID == 0:
		return a, nil, exportops.NoArchive(r.ID)
	case r.By != 0 && by == nil:
		return a, nil, exportops.NoArchive(r.By)
	}
	return a, by, nil
}

// holdCovering returns an active hold that covers a user, one of some exports or everything, 0
// where there is none.
func holdCovering(ctx context.Context, tx *sql.Tx, user, exports string) (hold int64, err error) {
	const active = `SELECT h.id FROM exportops_holds h WHERE h.released_at IS NULL AND `
	err = tx.QueryRowContext(ctx, active+`h.subject = '' UNION ALL `+active+`h.subject = lower(?1) AND h.scope = 'user'
		UNION ALL SELECT h.id FROM json_each(?2) x CROSS JOIN exportops_holds h ON h.released_at IS NULL
			AND h.subject = lower(x.value) AND h.scope = 'export' LIMIT 1`, user, exports).Scan(&hold)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("look for holds: %w", err)
	}
	return hold, nil
}

// ArchiveRemoved implements exportops.ArchiveReplacer.
func (s *Store) ArchiveRemoved(ctx context.Context, c exportops.Checkpoint, id int64) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		all, err := archivesOf(ctx, tx, `WHERE a.id = ?`, id)
		switch {
		case err != nil:
			return err
		case len(all) == 0:
			return exportops.NoArchive(id)
		}
		if err := all[0].MayBeRemoved(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_archives SET state = ?, removed_at = coalesce(removed_at, ?) WHERE id = ?`,
			exportops.ArchiveRemoved, c.Now.String(), id)
		return err
	})
}
