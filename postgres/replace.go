package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// inEpoch is ErrEpoch where the epoch of archives is another one. The transaction
// holds lockArchives, so that it stays what it is.
func inEpoch(ctx context.Context, tx pgx.Tx, epoch int64) error {
	now, err := epochOf(ctx, tx)
	if err == nil && now != epoch {
		err = exportops.ErrEpoch
	}
	return err
}

func epochOf(ctx context.Context, tx pgx.Tx) (n int64, err error) {
	if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT epoch FROM exportops.archive_epoch WHERE one = 1), 0)`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read the epoch of archives: %w", err)
	}
	return n, nil
}

// ArchiveEpoch implements exportops.ArchiveReplacer.
func (s *Store) ArchiveEpoch(ctx context.Context) (n int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		n, err = epochOf(ctx, tx)
		return err
	})
	return n, err
}

// TurnArchiveEpoch implements exportops.ArchiveReplacer.
func (s *Store) TurnArchiveEpoch(ctx context.Context, c exportops.Checkpoint) error {
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockArchives)
		if err == nil {
			_, err = tx.Exec(ctx, `INSERT INTO exportops.archive_epoch AS e (one, epoch) VALUES (1, 1)
				ON CONFLICT (one) DO UPDATE SET epoch = e.epoch + 1`)
		}
		if err != nil {
			return fmt.Errorf("turn the epoch of archives: %w", err)
		}
		return nil
	})
}

// ReplaceArchive implements exportops.ArchiveReplacer.
func (s *Store) ReplaceArchive(ctx context.Context, c exportops.Checkpoint, r exportops.Replacement) error {
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		if err := s.shareHolds(ctx, tx); err != nil {
			return err
		}
		a, by, err := replacement(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := a.MayBeReplaced(by, c); err != nil {
			return err
		}
		if hold, err := holdCovering(ctx, tx, r.UserID, r.Gone); err != nil || hold != 0 {
			return cmp.Or(err, exportops.HeldInArchive(hold))
		}
		_, err = tx.Exec(ctx, `UPDATE exportops.archives SET state = $1, replaced_by = $2 WHERE id = $3`,
			string(exportops.ArchiveReplaced), r.By, r.ID)
		if err == nil && by != nil {
			_, err = tx.Exec(ctx, `UPDATE exportops.archives SET state = $1, verified_at = $2::timestamptz, finished_at = $2::timestamptz,
				deleted = least(rows, $3), error = '' WHERE id = $4`, string(exportops.ArchiveDone), c.Now.String(), a.Deleted, r.By)
		}
		if err != nil {
			return fmt.Errorf("replace archive %d: %w", r.ID, err)
		}
		return nil
	})
}

// replacement locks an archive and what is to take its place, which may be nothing.
func replacement(ctx context.Context, tx pgx.Tx, r exportops.Replacement) (a exportops.Archive, by *exportops.Archive, err error) {
	all, err := archivesOf(ctx, tx, `WHERE a.id IN ($1, $2) ORDER BY a.id FOR UPDATE`, r.ID, r.By)
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
func holdCovering(ctx context.Context, tx pgx.Tx, user string, exports []string) (hold int64, err error) {
	err = tx.QueryRow(ctx, `SELECT id FROM exportops.holds WHERE released_at IS NULL AND (subject IS NULL
		OR scope = 'user' AND subject = $1::uuid OR scope = 'export' AND subject = ANY($2::uuid[])) ORDER BY id LIMIT 1`,
		user, exports).Scan(&hold)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("look for holds: %w", err)
	}
	return hold, nil
}

// ArchiveRemoved implements exportops.ArchiveReplacer.
func (s *Store) ArchiveRemoved(ctx context.Context, c exportops.Checkpoint, id int64) error {
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		all, err := archivesOf(ctx, tx, `WHERE a.id = $1 FOR UPDATE`, id)
		switch {
		case err != nil:
			return err
		case len(all) == 0:
			return exportops.NoArchive(id)
		}
		if err := all[0].MayBeRemoved(); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE exportops.archives SET state = $1, removed_at = coalesce(removed_at, $2::timestamptz) WHERE id = $3`,
			string(exportops.ArchiveRemoved), c.Now.String(), id)
		if err != nil {
			return fmt.Errorf("record that archive %d is removed: %w", id, err)
		}
		return nil
	})
}
