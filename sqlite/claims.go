package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// ClaimFiles implements exportops.DeletionStore. Where the few rows that are due
// stand among millions that are not, finding them takes long: that is done
// before the transaction, which reads again what was found.
func (s *Store) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (
	page exportops.ClaimPage, err error,
) {
	var places []any
	var next exportops.Cursor
	if r.ExportIDs == nil {
		if _, places, next, err = s.candidatePage(ctx, r.Selection, r.After, r.Limit); err != nil {
			return page, s.explain(err)
		}
		if len(places) == 0 {
			return page, s.fenced(ctx, c, func(*sql.Tx) error { return nil })
		}
	}
	var began time.Time
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		began, page = time.Now(), exportops.ClaimPage{Next: next}
		if r.ExportIDs != nil {
			page.Candidates, err = s.candidatesByID(ctx, tx, r.ExportIDs)
		} else {
			page.Candidates, err = s.candidatesAt(ctx, tx, r.Selection, places)
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
			page = exportops.ClaimPage{Unseen: true}
			return nil
		}
		page.Decisions = r.Decide(page.Candidates, append(others, held...))
		if len(page.Decisions) != len(page.Candidates) {
			return fmt.Errorf("%d decisions about %d candidates", len(page.Decisions), len(page.Candidates))
		}
		page.Claims, err = claimAll(ctx, tx, c, r, page)
		return err
	})
	page.Took = time.Since(began)
	return page, err
}

// CandidatesByID implements exportops.DeletionStore.
func (s *Store) CandidatesByID(ctx context.Context, exportIDs []string) ([]exportops.Candidate, error) {
	rows, err := s.candidatesByID(ctx, s.read, exportIDs)
	return rows, s.explain(err)
}

func (s *Store) candidatesByID(ctx context.Context, q queryer, exportIDs []string) ([]exportops.Candidate, error) {
	if len(exportIDs) == 0 {
		return nil, nil
	}
	ids, err := jsonList(exportIDs)
	if err != nil {
		return nil, err
	}
	rows, _, err := s.scanCandidates(ctx, q, order{}, `SELECT`+candidateColumns+candidateFrom+`
		WHERE e.export_id IN (SELECT value FROM json_each(?))`, ids)
	return rows, err
}

// claimAll writes the ledger's side of a page: a claim, or for a location that
// is not ours a failure with its reason.
func claimAll(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, r exportops.ClaimRequest,
	page exportops.ClaimPage,
) ([]*exportops.Deletion, error) {
	w, err := prepareClaims(ctx, tx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	claims := make([]*exportops.Deletion, len(page.Candidates))
	for i, d := range page.Decisions {
		if d.Verdict != exportops.Claim && d.Verdict != exportops.Refuse {
			continue
		}
		claim := r.Entry(c, page.Candidates[i], d)
		ok, err := w.write(ctx, c, &claim)
		if err != nil {
			return nil, fmt.Errorf("claim the file of export %q: %w", claim.ExportID, err)
		}
		if ok {
			claims[i] = &claim
		}
	}
	return claims, nil
}

// claimWriter holds the statements that a page of claims repeats.
type claimWriter struct{ insert, leave, again *sql.Stmt }

func prepareClaims(ctx context.Context, tx *sql.Tx) (w claimWriter, err error) {
	w.insert, err = tx.PrepareContext(ctx, `
		INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at,
			file_size, row_status, run_id, token, attempts, failures, error, claimed_at, finished_at, next_try_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return w, fmt.Errorf("prepare claims: %w", err)
	}
	w.leave, err = tx.PrepareContext(ctx, leaveLink+`d.id = ? AND d.state IN ('failed', 'quarantined')
		AND NOT EXISTS (SELECT 1 FROM exportops_deletions x
			WHERE ? = 'claimed' AND x.state = 'claimed' AND x.store = ? AND x.bucket = ? AND x.key = ?)`)
	if err != nil {
		w.close()
		return w, fmt.Errorf("prepare claims: %w", err)
	}
	w.again, err = tx.PrepareContext(ctx, `
		UPDATE OR IGNORE exportops_deletions SET mode = ?, state = ?, store = ?, bucket = ?, key = ?, file_size = ?,
			row_status = ?, run_id = ?, token = ?, attempts = ?, failures = ?, error = ?, claimed_at = ?,
			finished_at = ?, next_try_at = ?, `+noLink+`
		WHERE id = ? AND state IN ('failed', 'quarantined')`)
	if err != nil {
		w.close()
		return w, fmt.Errorf("prepare claims: %w", err)
	}
	return w, nil
}

func (w claimWriter) close() {
	for _, st := range []*sql.Stmt{w.insert, w.leave, w.again} {
		if st != nil {
			_ = st.Close() // the transaction's end closes it in any case
		}
	}
}

// write records one claim, and reports whether it did: false when another open
// claim has the key.
func (w claimWriter) write(ctx context.Context, c exportops.Checkpoint, d *exportops.Deletion) (bool, error) {
	var key, finished, next any
	if d.Key != "" {
		key = d.Key
	}
	if d.FinishedAt != nil {
		finished = d.FinishedAt.String()
	}
	if d.State == exportops.DeletionFailed {
		next = finished
	}
	var res sql.Result
	var err error
	if d.ID != 0 {
		// Only where the claim will be: a place that was kept for nothing would say
		// that the entry has gone on from it.
		if _, err := w.leave.ExecContext(ctx, d.ID, d.State, d.Store, d.Bucket, key); err != nil {
			return false, fmt.Errorf("keep its place in the chain: %w", err)
		}
		res, err = w.again.ExecContext(ctx, d.Mode, d.State, d.Store, d.Bucket, key, d.FileSize, d.RowStatus,
			c.RunID, c.Token, d.Attempts, d.Failures, d.Error, c.Now.String(), finished, next, d.ID)
	} else {
		res, err = w.insert.ExecContext(ctx, d.ExportID, d.UserID, d.Mode, d.State, d.Store, d.Bucket, key, d.FileURL,
			d.ExpiresAt, d.FileSize, d.RowStatus, c.RunID, c.Token, d.Attempts, d.Failures, d.Error, c.Now.String(),
			finished, next)
	}
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	if d.ID == 0 {
		d.ID, err = res.LastInsertId()
	}
	return true, err
}
