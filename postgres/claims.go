package postgres

import (
	"context"
	"fmt"
	"slices"
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
	var found []exportops.Candidate
	var next exportops.Cursor
	if r.ExportIDs == nil {
		if found, next, err = s.Candidates(ctx, r.Selection, r.After, r.Limit); err != nil {
			return page, err
		}
		if len(found) == 0 {
			return page, s.fenced(ctx, c, func(pgx.Tx) error { return nil })
		}
	}
	var began time.Time
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			began, page = time.Now(), exportops.ClaimPage{Next: next}
			return s.claimPage(ctx, tx, c, r, found, &page)
		})
	})
	page.Took = time.Since(began)
	return page, err
}

func (s *Store) claimPage(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, r exportops.ClaimRequest,
	found []exportops.Candidate, page *exportops.ClaimPage,
) (err error) {
	if err := s.shareHolds(ctx, tx); err != nil {
		return err
	}
	switch {
	case r.ExportIDs == nil:
		page.Candidates, page.Busy, err = s.lockFound(ctx, tx, r.Selection, found)
	case r.SkipBusy:
		page.Candidates, page.Busy, err = s.lockFree(ctx, tx, r.ExportIDs)
	default:
		page.Candidates, err = s.lockNamed(ctx, tx, r.ExportIDs)
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
// own: one statement would see the row as it is and the ledger as it was. It returns
// the exports of the others as well.
func (s *Store) lockFound(ctx context.Context, tx pgx.Tx, sel exportops.Selection, found []exportops.Candidate) (
	rows []exportops.Candidate, busy []string, err error,
) {
	ids := make([]string, len(found))
	for i, c := range found {
		ids[i] = c.ID
	}
	locked, err := s.lockRows(ctx, tx, `e.id = ANY($1::uuid[])`, skipLocked, ids)
	if err != nil {
		return nil, nil, err
	}
	if len(locked) < len(found) {
		ours := setOf(locked)
		for _, c := range found {
			if !ours[c.ID] {
				busy = append(busy, c.ExportID)
			}
		}
	}
	if len(locked) == 0 {
		return nil, busy, nil
	}
	o, err := orderOf(sel)
	if err != nil {
		return nil, nil, err
	}
	o = o.and(` AND e.id = ANY(?::uuid[])`, locked)
	rows, err = s.scanCandidates(ctx, tx, o, `SELECT`+candidateColumns+candidateFrom+` WHERE `+o.filter()+o.by(), o.args...)
	return rows, busy, err
}

// lockNamed waits for rows that are named. One that came in the place of another while
// that was waited for is not locked yet: then it looks again.
func (s *Store) lockNamed(ctx context.Context, tx pgx.Tx, exportIDs []string) ([]exportops.Candidate, error) {
	for {
		locked, err := s.lockRows(ctx, tx, `e.export_id = ANY($1::uuid[])`, ``, known(exportIDs))
		if err != nil {
			return nil, err
		}
		rows, err := s.candidatesByID(ctx, tx, exportIDs)
		ours := setOf(locked)
		if err != nil || !slices.ContainsFunc(rows, func(c exportops.Candidate) bool { return !ours[c.ID] }) {
			return rows, err
		}
	}
}

// lockFree is lockNamed for the rows that nobody else holds. It returns the exports of
// the others as well.
func (s *Store) lockFree(ctx context.Context, tx pgx.Tx, exportIDs []string) (rows []exportops.Candidate, busy []string, err error) {
	locked, err := s.lockRows(ctx, tx, `e.export_id = ANY($1::uuid[])`, skipLocked, known(exportIDs))
	if err != nil {
		return nil, nil, err
	}
	if rows, err = s.candidatesByID(ctx, tx, exportIDs); err != nil {
		return nil, nil, err
	}
	ours := setOf(locked)
	rows = slices.DeleteFunc(rows, func(c exportops.Candidate) bool {
		if !ours[c.ID] {
			busy = append(busy, c.ExportID)
		}
		return !ours[c.ID]
	})
	return rows, busy, nil
}

const skipLocked = ` SKIP LOCKED`

func setOf(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
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
