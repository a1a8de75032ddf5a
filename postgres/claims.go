package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ClaimFiles implements exportops.DeletionStore. Where the few rows that are due
// stand among millions that are not, finding them takes long, so that is done
// before the transaction; what was found is locked by id, and read again under
// the lock. Of a page, rows that someone else holds are left to them; rows that
// were named are waited for.
func (s *Store) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (
	page exportops.ClaimPage, err error,
) {
	var ids []string
	var next exportops.Cursor
	if r.ExportIDs == nil {
		var found []exportops.Candidate
		if found, next, err = s.Candidates(ctx, r.Selection, r.After, r.Limit); err != nil {
			return page, err
		}
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		if len(ids) == 0 {
			return page, s.fenced(ctx, c, func(pgx.Tx) error { return nil })
		}
	}
	var began time.Time
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			began, page = time.Now(), exportops.ClaimPage{Next: next}
			return s.claimPage(ctx, tx, c, r, ids, &page)
		})
	})
	page.Took = time.Since(began)
	return page, err
}

func (s *Store) claimPage(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, r exportops.ClaimRequest,
	ids []string, page *exportops.ClaimPage,
) (err error) {
	if err := s.shareHolds(ctx, tx); err != nil {
		return err
	}
	if r.ExportIDs != nil {
		page.Candidates, err = s.lockNamed(ctx, tx, r.ExportIDs)
	} else {
		page.Candidates, err = s.lockFound(ctx, tx, r.Selection, ids)
	}
	if err != nil {
		return err
	}
	others, err := s.candidatesByID(ctx, tx, r.Watch)
	if err != nil {
		return err
	}
	held, many, err := s.unseenRows(ctx, tx, r.HoldsSeen)
	if err != nil {
		return err
	}
	if many {
		*page = exportops.ClaimPage{Unseen: true}
		return nil
	}
	page.Decisions = r.Decide(page.Candidates, append(others, held...))
	if len(page.Decisions) != len(page.Candidates) {
		return fmt.Errorf("%d decisions about %d candidates", len(page.Decisions), len(page.Candidates))
	}
	page.Claims, err = claimAll(ctx, tx, c, r, *page)
	return err
}

// shareHolds lets any number of transactions claim files and delete rows at
// once, and none while a hold is being placed: a hold on a user locks no row
// that a claim could meet.
func (s *Store) shareHolds(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockHolds); err != nil {
		return fmt.Errorf("wait for holds that are being placed: %w", err)
	}
	return nil
}

// lockFound locks rows that nobody else holds, and reads those that the
// selection still takes. It reads after it has locked, in a statement of its
// own: one statement would see the row as it is and the ledger as it was.
func (s *Store) lockFound(ctx context.Context, tx pgx.Tx, sel exportops.Selection, ids []string) ([]exportops.Candidate, error) {
	locked, err := s.lockRows(ctx, tx, `e.id = ANY($1::uuid[])`, ` SKIP LOCKED`, ids)
	if err != nil || len(locked) == 0 {
		return nil, err
	}
	o, err := orderOf(sel)
	if err != nil {
		return nil, err
	}
	o = o.and(` AND e.id = ANY(?::uuid[])`, locked)
	return s.scanCandidates(ctx, tx, o, `SELECT`+candidateColumns+candidateFrom+` WHERE `+o.filter()+o.by(), o.args...)
}

func (s *Store) lockNamed(ctx context.Context, tx pgx.Tx, exportIDs []string) ([]exportops.Candidate, error) {
	if _, err := s.lockRows(ctx, tx, `e.export_id = ANY($1::uuid[])`, ``, known(exportIDs)); err != nil {
		return nil, err
	}
	return s.candidatesByID(ctx, tx, exportIDs)
}

// lockRows locks rows against whoever would change or claim them, in the order
// of their ids, and returns those. Rows elsewhere that refer to one of them may
// still be written: the key does not change.
func (s *Store) lockRows(ctx context.Context, tx pgx.Tx, where, how string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, s.sql(`SELECT e.id::text FROM {logs} e WHERE `+where+`
		ORDER BY e.id FOR NO KEY UPDATE OF e`+how), ids)
	if err != nil {
		return nil, fmt.Errorf("lock rows: %w", err)
	}
	locked, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("lock rows: %w", err)
	}
	return locked, nil
}

// claimAll writes the ledger's side of a page: a claim, or for a location that
// is not ours a failure with its reason. Of rows that name one key the first
// gets it.
func claimAll(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, r exportops.ClaimRequest,
	page exportops.ClaimPage,
) ([]*exportops.Deletion, error) {
	claims := make([]*exportops.Deletion, len(page.Candidates))
	var fresh, again []*exportops.Deletion
	taken := map[string]bool{}
	at := map[*exportops.Deletion]int{}
	for i, d := range page.Decisions {
		if d.Verdict != exportops.Claim && d.Verdict != exportops.Refuse {
			continue
		}
		claim := r.Entry(c, page.Candidates[i], d)
		if claim.State == exportops.DeletionClaimed {
			key := claim.Bucket + "\x00" + claim.Key
			if taken[key] {
				continue
			}
			taken[key] = true
		}
		at[&claim] = i
		if claim.ID == 0 {
			fresh = append(fresh, &claim)
		} else {
			again = append(again, &claim)
		}
	}
	kept, err := claimAgain(ctx, tx, c, again)
	if err != nil {
		return nil, fmt.Errorf("claim files again: %w", err)
	}
	inserted, err := claimFresh(ctx, tx, c, fresh)
	if err != nil {
		return nil, fmt.Errorf("claim files: %w", err)
	}
	for _, d := range append(kept, inserted...) {
		claims[at[d]] = d
	}
	return claims, nil
}
