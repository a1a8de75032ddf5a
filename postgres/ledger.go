package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

const deletionColumns = `d.id, coalesce(d.export_id::text, ''), coalesce(d.user_id::text, ''), d.mode, d.state, d.store,
	d.bucket, coalesce(d.key, ''), d.file_url, d.expires_at::text, d.file_size, d.row_status, d.run_id, d.attempts,
	d.failures, d.bytes, d.evidence, d.error, d.claimed_at, d.finished_at, d.retried_at, coalesce(d.retried_by, '')`

// deletionsOf reads the entries that a query yields.
func deletionsOf(rows pgx.Rows, err error) ([]exportops.Deletion, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d exportops.Deletion, err error) {
		var claimed time.Time
		var finished, retried *time.Time
		err = row.Scan(&d.ID, &d.ExportID, &d.UserID, (*string)(&d.Mode), (*string)(&d.State), &d.Store, &d.Bucket, &d.Key,
			&d.FileURL, &d.ExpiresAt, &d.FileSize, (*string)(&d.RowStatus), &d.RunID, &d.Attempts, &d.Failures, &d.Bytes,
			&d.Evidence, &d.Error, &claimed, &finished, &retried, &d.RetriedBy)
		d.RetriedAt = timePtr(retried)
		d.ExpiresAt, d.ClaimedAt, d.FinishedAt = canonicalPtr(d.ExpiresAt), exportops.At(claimed), timePtr(finished)
		return d, err
	})
}

// listDeletions builds the query of one page. Those of an export, the open ones
// and those that failed are found by their indexes; a run's entries lie close
// together, and everything else is common: the newest first are soon enough.
func listDeletions(f exportops.DeletionFilter) (query string, args []any) {
	var where []string
	and := func(cond string, v any) {
		args = append(args, v)
		where = append(where, strings.ReplaceAll(cond, "?", fmt.Sprintf("$%d", len(args))))
	}
	id := "d.id"
	switch {
	case f.ID != 0:
		and(`d.id = ?`, f.ID)
	case f.ExportID != "":
		id = "d.id + 0" // or the planner may walk through all entries to have them in order
		and(`d.export_id = ?::uuid`, userArg(f.ExportID))
		if f.State != "" {
			and(`d.state = ?`, string(f.State))
		}
	case f.State == exportops.DeletionClaimed:
		id = "d.id + 0"
		where = append(where, `d.state = 'claimed'`)
	case f.State == exportops.DeletionFailed || f.State == exportops.DeletionQuarantined:
		id = "d.id + 0"
		and(`d.state = ? AND d.state IN ('failed', 'quarantined')`, string(f.State))
	case f.State != "":
		and(`d.state = ?`, string(f.State))
	}
	if f.RunID != "" {
		and(`d.run_id = ?`, f.RunID)
	}
	if !f.From.IsZero() {
		and(`d.claimed_at >= ?::timestamptz`, f.From.String())
	}
	if !f.To.IsZero() {
		and(`d.claimed_at < ?::timestamptz`, f.To.String())
	}
	if f.Before != 0 {
		and(id+` < ?`, f.Before)
	}
	query = `SELECT ` + deletionColumns + ` FROM exportops.deletions d`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	args = append(args, exportops.PageSize(f.Limit))
	return query + fmt.Sprintf(` ORDER BY %s DESC LIMIT $%d`, id, len(args)), args
}

// Deletions implements exportops.DeletionStore.
func (s *Store) Deletions(ctx context.Context, f exportops.DeletionFilter) (out []exportops.Deletion, err error) {
	query, args := listDeletions(f)
	err = s.reading(ctx, func(tx pgx.Tx) error {
		out, err = deletionsOf(tx.Query(ctx, query, args...))
		return err
	})
	return out, err
}

// DeletionsOf implements exportops.DeletionStore.
func (s *Store) DeletionsOf(ctx context.Context, exportIDs []string) (out []exportops.Deletion, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		out, err = deletionsOf(tx.Query(ctx, `SELECT `+deletionColumns+` FROM exportops.deletions d
			WHERE d.export_id = ANY($1::uuid[]) ORDER BY d.id`, known(exportIDs)))
		return err
	})
	return out, err
}
