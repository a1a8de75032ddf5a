package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Settle implements exportops.DeletionStore. Everywhere, rows of export_logs are
// locked first, then the ledger's, then hours, each in one order, so that
// replicas do not wait for each other crosswise.
func (s *Store) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) (
	out []exportops.Settled, err error,
) {
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			rows, err := s.lockUnchanged(ctx, tx, batch)
			if err != nil {
				return err
			}
			if out, err = recordOutcomes(ctx, tx, c, batch, rows); err != nil || len(rows) == 0 {
				return err
			}
			expired, err := s.expireRows(ctx, tx, c, rows)
			if err != nil {
				return err
			}
			if expired < len(rows) {
				return s.unpassed(fmt.Sprintf("of %d rows that were to expire %d did", len(rows), expired))
			}
			return nil
		})
	})
	return out, err
}

// generation is what a row was when it was claimed; it expires only while it
// still is.
type generation struct {
	exportID           string
	fileURL, expiresAt *string
}

func generationOf(b exportops.Settlement) generation {
	if d := b.Claim; d != nil {
		return generation{d.ExportID, d.FileURL, d.ExpiresAt}
	}
	return generation{b.Row.ExportID, b.Row.FileURL, b.Row.ExpiresAt}
}

// lockUnchanged locks the rows whose files are confirmed gone and that still are
// what was claimed, to the microsecond, and returns their export ids. An update
// of the application that is under way is waited for, and then seen.
func (s *Store) lockUnchanged(ctx context.Context, tx pgx.Tx, batch []exportops.Settlement) (map[string]bool, error) {
	var exports []string
	var urls, expires []*string
	for _, b := range batch {
		if g := generationOf(b); b.Expires() && len(known([]string{g.exportID})) == 1 {
			exports, urls, expires = append(exports, g.exportID), append(urls, g.fileURL), append(expires, g.expiresAt)
		}
	}
	if len(exports) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, s.sql(`
		SELECT e.export_id::text FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g (export_id, file_url, expires_at)
			JOIN {logs} e ON e.export_id = g.export_id
		WHERE e.export_id = ANY($1::uuid[]) AND e.status = 'completed' AND e.file_url IS NOT DISTINCT FROM g.file_url
			AND e.expires_at IS NOT DISTINCT FROM g.expires_at
		ORDER BY e.id FOR NO KEY UPDATE OF e`), exports, urls, expires)
	if err != nil {
		return nil, fmt.Errorf("lock rows: %w", err)
	}
	same := make(map[string]bool, len(exports))
	var id string
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { same[id] = true; return nil }); err != nil {
		return nil, fmt.Errorf("lock rows: %w", err)
	}
	return same, nil
}

// expireRows turns locked rows to expired, and returns how many it did. What is
// known of their metrics is frozen first: updated_at says when they finished
// only until now. Through a view, an answer is not enough: rules and triggers
// may do something else, so the rows are read again.
func (s *Store) expireRows(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, rows map[string]bool) (int, error) {
	exports := make([]string, 0, len(rows))
	for id := range rows {
		exports = append(exports, id)
	}
	slices.Sort(exports)
	if err := s.freeze(ctx, tx, c.Now, exports); err != nil {
		return 0, fmt.Errorf("freeze metrics: %w", err)
	}
	tag, err := tx.Exec(ctx, s.sql(`UPDATE {logs} AS e SET status = 'expired', updated_at = $2::timestamptz
		WHERE e.export_id = ANY($1::uuid[])`), exports, c.Now.String())
	if err != nil {
		return 0, fmt.Errorf("expire rows: %w", err)
	}
	expired := int(tag.RowsAffected())
	if s.view {
		err := tx.QueryRow(ctx, s.sql(`SELECT count(*) FROM {logs} e
			WHERE e.export_id = ANY($1::uuid[]) AND e.status = 'expired'`), exports).Scan(&expired)
		if err != nil {
			return 0, fmt.Errorf("read expired rows again: %w", err)
		}
	}
	return expired, nil
}

// recordOutcomes writes the outcomes into the ledger. A claim that is no longer
// this run's was taken over: nothing of the batch is committed then.
func recordOutcomes(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint,
	batch []exportops.Settlement, unchanged map[string]bool,
) ([]exportops.Settled, error) {
	out := make([]exportops.Settled, len(batch))
	var settled []exportops.Deletion
	for i, b := range batch {
		out[i] = exportops.Settled{State: b.State, RowExpired: b.Expires() && unchanged[generationOf(b).exportID]}
		out[i].RowUnlike = b.Expires() && !out[i].RowExpired
		if b.Claim == nil {
			continue
		}
		d := b.Apply(*b.Claim, out[i].RowUnlike, c.Now)
		out[i].State = d.State
		settled = append(settled, d)
	}
	if len(settled) == 0 {
		return out, nil
	}
	slices.SortFunc(settled, func(a, b exportops.Deletion) int { return cmp.Compare(a.ID, b.ID) })
	n := len(settled)
	ids, failures, bytes := make([]int64, n), make([]int64, n), make([]int64, n)
	states, evidence, errs := make([]string, n), make([]string, n), make([]string, n)
	for i, d := range settled {
		ids[i], failures[i], bytes[i] = d.ID, int64(d.Failures), d.Bytes
		states[i], evidence[i], errs[i] = string(d.State), d.Evidence, d.Error
	}
	// The ids stand there twice, so that a small ledger is not read as a whole. CASE keeps
	// the planner off the index of open claims, which grows within a run by all that were
	// open and are not any more, and from believing that next to none of them is left.
	tag, err := tx.Exec(ctx, `
		UPDATE exportops.deletions AS d SET state = n.state, failures = n.failures, bytes = n.bytes, evidence = n.evidence,
			error = n.error, finished_at = $1::timestamptz,
			next_try_at = CASE n.state WHEN 'failed' THEN $1::timestamptz END
		FROM unnest($4::bigint[], $5::text[], $6::int[], $7::bigint[], $8::text[], $9::text[])
			AS n (id, state, failures, bytes, evidence, error)
		WHERE d.id = n.id AND d.id = ANY($4::bigint[]) AND CASE WHEN d.state = 'claimed' AND d.run_id = $2 AND d.token = $3 THEN true END`,
		c.Now.String(), c.RunID, c.Token, ids, states, failures, bytes, evidence, errs)
	if err != nil {
		return nil, fmt.Errorf("record outcomes: %w", err)
	}
	if tag.RowsAffected() != int64(n) {
		return nil, fmt.Errorf("%d of %d entries of the ledger: %w", int64(n)-tag.RowsAffected(), n, exportops.ErrFenced)
	}
	return out, markGone(ctx, tx, c, settled)
}
