package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

const deletionColumns = `d.id, coalesce(d.export_id, ''), coalesce(d.user_id, ''), d.mode, d.state, d.store, d.bucket,
	coalesce(d.key, ''), d.file_url, d.expires_at, d.file_size, d.row_status, d.run_id, d.attempts, d.failures,
	d.bytes, d.evidence, d.error, d.claimed_at, d.finished_at, d.retried_at, coalesce(d.retried_by, '')`

func scanDeletion(rows *sql.Rows) (exportops.Deletion, error) {
	var d exportops.Deletion
	var claimed string
	var finished, retried sql.NullString
	err := rows.Scan(&d.ID, &d.ExportID, &d.UserID, &d.Mode, &d.State, &d.Store, &d.Bucket, &d.Key, &d.FileURL,
		&d.ExpiresAt, &d.FileSize, &d.RowStatus, &d.RunID, &d.Attempts, &d.Failures, &d.Bytes, &d.Evidence, &d.Error,
		&claimed, &finished, &retried, &d.RetriedBy)
	if t, ok := exportops.ParseStoredTime(claimed); ok {
		d.ClaimedAt = t
	}
	d.FinishedAt, d.RetriedAt = timePtr(finished), timePtr(retried)
	return d, err
}

// Reclaim implements exportops.DeletionStore.
func (s *Store) Reclaim(ctx context.Context, c exportops.Checkpoint, limit int,
	resume func(exportops.OpenClaim) bool, exportIDs ...string,
) (open []exportops.OpenClaim, resumed []bool, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		if paused, err := pausedIn(ctx, tx); err != nil || paused {
			return err
		}
		if open, err = s.openClaims(ctx, tx, c, limit, exportIDs); err != nil {
			return err
		}
		resumed = make([]bool, len(open))
		for i := range open {
			resumed[i] = resume(open[i])
			if err := reclaim(ctx, tx, c, &open[i].Deletion, resumed[i]); err != nil {
				return fmt.Errorf("recover claim %d: %w", open[i].ID, err)
			}
		}
		return nil
	})
	return open, resumed, err
}

func reclaim(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, d *exportops.Deletion, resume bool) error {
	if !resume {
		_, err := tx.ExecContext(ctx, `
			UPDATE exportops_deletions SET state = 'changed', run_id = ?, token = ?, finished_at = ?,
				error = 'the row was changed while no process held the claim; the file was left alone'
			WHERE id = ?`, c.RunID, c.Token, c.Now.String(), d.ID)
		return err
	}
	d.Attempts, d.RunID = d.Attempts+1, c.RunID
	_, err := tx.ExecContext(ctx, `
		UPDATE exportops_deletions SET attempts = ?, run_id = ?, token = ? WHERE id = ?`,
		d.Attempts, c.RunID, c.Token, d.ID)
	return err
}

// leftOpen says of an entry d that its claim is open, and neither that of the
// holder ?1 with the token ?2 nor of one that is alive at ?3.
const leftOpen = `d.state = 'claimed' AND NOT (d.run_id = ?1 AND d.token = ?2)
	AND NOT EXISTS (SELECT 1 FROM exportops_runs r WHERE r.id = d.run_id AND r.token = d.token
		AND r.state = 'running' AND r.lease_until > ?3)
	AND NOT EXISTS (SELECT 1 FROM exportops_workers w JOIN exportops_runs r ON r.id = w.run_id
		WHERE w.run_id = d.run_id AND w.token = d.token
		AND r.state = 'running' AND w.left_at IS NULL AND w.lease_until > ?3)`

// openClaims finds claims whose holder or worker no longer holds them: the run
// ended or was taken over, or the lease ran out.
func (s *Store) openClaims(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, limit int, exportIDs []string) (
	[]exportops.OpenClaim, error,
) {
	named, err := jsonList(exportIDs)
	if err != nil {
		return nil, err
	}
	// The pluses keep SQLite on the index of open claims, which are few.
	rows, err := tx.QueryContext(ctx, `
		SELECT `+deletionColumns+` FROM exportops_deletions d
		WHERE `+leftOpen+` AND +d.mode <> 'unknown' AND (?4 = 0 OR +d.export_id IN (SELECT value FROM json_each(?5)))
		ORDER BY +d.id LIMIT ?6`, c.RunID, c.Token, c.Now.String(), len(exportIDs), named, limit)
	if err != nil {
		return nil, fmt.Errorf("find open claims: %w", err)
	}
	defer rows.Close()
	var open []exportops.OpenClaim
	var ids []string
	for rows.Next() {
		d, err := scanDeletion(rows)
		if err != nil {
			return nil, err
		}
		open, ids = append(open, exportops.OpenClaim{Deletion: d}), append(ids, d.ExportID)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	now, err := s.candidatesByID(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*exportops.Candidate, len(now))
	for i := range now {
		byID[now[i].ExportID] = &now[i]
	}
	for i := range open {
		open[i].Row = byID[open[i].ExportID]
	}
	return open, nil
}

// listDeletions builds the query of one page. Those of an export, the open ones
// and those that failed are found by their indexes; a run's entries lie close
// together, and everything else is common: the newest first are soon enough.
func listDeletions(f exportops.DeletionFilter) (query string, args []any) {
	var where []string
	and := func(cond string, v ...any) {
		where, args = append(where, cond), append(args, v...)
	}
	id := "d.id"
	switch {
	case f.ID != 0:
		and(`d.id = ?`, f.ID)
	case f.ExportID != "":
		and(`d.export_id IN (`+spellings("exportops_deletions", "export_id", "?")+`)`, f.ExportID)
		if f.State != "" {
			and(`+d.state = ?`, f.State)
		}
	case f.State == exportops.DeletionClaimed:
		id = "+d.id" // or SQLite walks through all entries to have them in order
		and(`d.state = 'claimed'`)
	case f.State == exportops.DeletionFailed || f.State == exportops.DeletionQuarantined:
		and(`d.state = ? AND d.state IN ('failed', 'quarantined')`, f.State)
	case f.State != "":
		and(`d.state = ?`, f.State)
	}
	if f.RunID != "" {
		and(`+d.run_id = ?`, f.RunID)
	}
	if !f.From.IsZero() {
		and(`d.claimed_at >= ?`, f.From.String())
	}
	if !f.To.IsZero() {
		and(`d.claimed_at < ?`, f.To.String())
	}
	if f.Before != 0 {
		and(id+` < ?`, f.Before)
	}
	query = `SELECT ` + deletionColumns + ` FROM exportops_deletions d`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return query + ` ORDER BY ` + id + ` DESC LIMIT ?`, append(args, exportops.PageSize(f.Limit))
}

// Deletions implements exportops.DeletionStore.
func (s *Store) Deletions(ctx context.Context, f exportops.DeletionFilter) ([]exportops.Deletion, error) {
	query, args := listDeletions(f)
	return s.deletions(ctx, query, args...)
}

// DeletionsOf implements exportops.DeletionStore.
func (s *Store) DeletionsOf(ctx context.Context, exportIDs []string) ([]exportops.Deletion, error) {
	list, err := jsonList(exportIDs)
	if err != nil {
		return nil, err
	}
	return s.deletions(ctx, `SELECT `+deletionColumns+` FROM exportops_deletions d
		WHERE d.export_id IN (SELECT value FROM json_each(?)) ORDER BY +d.id`, list)
}

func (s *Store) deletions(ctx context.Context, query string, args ...any) ([]exportops.Deletion, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.explain(err)
	}
	defer rows.Close()
	var out []exportops.Deletion
	for rows.Next() {
		d, err := scanDeletion(rows)
		if err != nil {
			return nil, s.explain(err)
		}
		out = append(out, d)
	}
	return out, s.explain(rows.Err())
}
