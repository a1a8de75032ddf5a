package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/exportops/exportops"
)

// chainedColumns are all that an entry d says: first its number, then what
// identifies it, then the rest.
const chainedColumns = `d.id, d.export_id, d.user_id, d.key, d.file_url, d.error,
	d.mode, d.state, d.store, d.bucket, d.expires_at, d.file_size, d.row_status, d.run_id, d.token, d.attempts, d.failures,
	d.bytes, d.evidence, d.claimed_at, d.finished_at, d.next_try_at, d.retried_at, d.retried_by`

const identityColumns, factColumns = 5, 18

// chainedRow reads chainedColumns as they are stored, whatever their type.
type chainedRow struct {
	values [1 + identityColumns + factColumns]any
	into   []any
}

func newChainedRow() *chainedRow {
	r := &chainedRow{}
	for i := range r.values {
		r.into = append(r.into, &r.values[i])
	}
	return r
}

func (r *chainedRow) row() exportops.LedgerRow {
	id, _ := r.values[0].(int64)
	values := append([]any(nil), r.values[1:]...)
	return exportops.LedgerRow{ID: id, Identity: values[:identityColumns:identityColumns], Facts: values[identityColumns:]}
}

// ChainDeletions implements exportops.ChainStore. A link that a power cut takes
// back is made again.
func (s *Store) ChainDeletions(ctx context.Context, c exportops.Checkpoint, after int64, limit int) (
	n int, last int64, err error,
) {
	err = s.bulkFenced(ctx, c, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT `+chainedColumns+` FROM exportops_deletions d
			WHERE d.chain_day IS NULL AND d.state <> 'claimed' AND d.id > ? ORDER BY d.id LIMIT ?`, after, limit)
		if err != nil {
			return fmt.Errorf("read entries to link: %w", err)
		}
		var found []exportops.LedgerRow
		read := newChainedRow()
		if err := scanAll(rows, func() error {
			err := rows.Scan(read.into...)
			found = append(found, read.row())
			return err
		}); err != nil {
			return fmt.Errorf("read entries to link: %w", err)
		}
		if n = len(found); n == 0 {
			return nil
		}
		if n == limit {
			last = found[n-1].ID
		}
		end, err := lastDay(ctx, tx)
		if err != nil {
			return err
		}
		day, links, err := exportops.LinkDeletions(end, c.Now, found)
		if err != nil {
			return err
		}
		return writeLinks(ctx, tx, day, links)
	})
	return n, last, err
}

const dayColumns = `day, begins, links, chain_hash, pruned`

func scanDay(scan func(...any) error) (d exportops.ChainDay, err error) {
	err = scan(&d.Day, &d.Before, &d.Links, &d.Hash, &d.Pruned)
	return d, err
}

// lastDay reads the last day of the chain, nil where there is none.
func lastDay(ctx context.Context, tx *sql.Tx) (*exportops.ChainDay, error) {
	d, err := scanDay(tx.QueryRowContext(ctx, `SELECT `+dayColumns+` FROM exportops_deletion_days ORDER BY day DESC LIMIT 1`).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil //nolint:nilnil // there is none
	case err != nil:
		return nil, fmt.Errorf("read the last day of the ledger: %w", err)
	}
	return &d, nil
}

func writeLinks(ctx context.Context, tx *sql.Tx, day exportops.ChainDay, links []exportops.ChainLink) error {
	link, err := tx.PrepareContext(ctx, `UPDATE exportops_deletions SET salt = ?, digest = ?, content = ?, chain_day = ?,
		chain_seq = ?, chain_hash = ? WHERE id = ?`)
	if err != nil {
		return fmt.Errorf("prepare links: %w", err)
	}
	defer link.Close()
	for _, l := range links {
		if _, err := link.ExecContext(ctx, l.Salt, l.Digest, l.Content, day.Day, l.Seq, l.Hash, l.ID); err != nil {
			return fmt.Errorf("link entry %d of the ledger: %w", l.ID, err)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO exportops_deletion_days (day, begins, links, chain_hash) VALUES (?, ?, ?, ?)
		ON CONFLICT (day) DO UPDATE SET links = excluded.links, chain_hash = excluded.chain_hash`,
		day.Day, day.Before, day.Links, day.Hash)
	if err != nil {
		return fmt.Errorf("keep the end of the ledger: %w", err)
	}
	return nil
}

// leaveLink keeps the place in the chain of an entry that is about to change.
const leaveLink = `INSERT INTO exportops_deletion_links (chain_day, chain_seq, deletion_id, content, chain_hash)
	SELECT chain_day, chain_seq, id, content, chain_hash FROM exportops_deletions d WHERE d.chain_day IS NOT NULL AND `

// noLink takes an entry out of its place, for leaveLink has kept that.
const noLink = `salt = NULL, digest = NULL, content = NULL, chain_day = NULL, chain_seq = NULL, chain_hash = NULL`

// ChainDays implements exportops.ChainReader. The days that links know of are
// found by going from one to the next in the index.
func (s *Store) ChainDays(ctx context.Context) (days []exportops.ChainDay, err error) {
	rows, err := s.read.QueryContext(ctx, `
		WITH RECURSIVE seen (day) AS (
			SELECT min(chain_day) FROM exportops_deletions WHERE chain_day IS NOT NULL
			UNION ALL SELECT (SELECT min(d.chain_day) FROM exportops_deletions d WHERE d.chain_day > seen.day)
				FROM seen WHERE seen.day IS NOT NULL),
		moved (day) AS (
			SELECT min(chain_day) FROM exportops_deletion_links
			UNION ALL SELECT (SELECT min(l.chain_day) FROM exportops_deletion_links l WHERE l.chain_day > moved.day)
				FROM moved WHERE moved.day IS NOT NULL)
		SELECT `+dayColumns+` FROM exportops_deletion_days
		UNION ALL SELECT day, NULL, 0, NULL, 0 FROM (SELECT day FROM seen UNION SELECT day FROM moved) x
			WHERE x.day IS NOT NULL AND x.day NOT IN (SELECT k.day FROM exportops_deletion_days k)
		ORDER BY 1`)
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the days of the ledger: %w", err))
	}
	err = scanAll(rows, func() error {
		d, err := scanDay(rows.Scan)
		days = append(days, d)
		return err
	})
	return days, s.explain(err)
}

// ChainLinks implements exportops.ChainReader.
func (s *Store) ChainLinks(ctx context.Context, day string) iter.Seq2[exportops.ChainLink, error] {
	return func(yield func(exportops.ChainLink, error) bool) {
		const page = 1000
		for after := int64(-1 << 62); ; {
			links, err := s.linkPage(ctx, day, after, page)
			if err != nil {
				yield(exportops.ChainLink{}, s.explain(fmt.Errorf("read links: %w", err)))
				return
			}
			for _, l := range links {
				if !yield(l, nil) {
					return
				}
				after = l.Seq
			}
			if len(links) < page {
				return
			}
		}
	}
}

// linkPage reads a page, so that no reader keeps the log from being copied for as
// long as a verification takes.
func (s *Store) linkPage(ctx context.Context, day string, after int64, limit int) (page []exportops.ChainLink, err error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT * FROM (SELECT d.chain_seq, d.chain_hash, d.content, d.salt, d.digest, 0 AS moved, 0 AS lost, `+chainedColumns+`
			FROM exportops_deletions d WHERE d.chain_day = ?1 AND d.chain_seq > ?2 ORDER BY d.chain_seq LIMIT ?3)
		UNION ALL
		SELECT * FROM (SELECT l.chain_seq, l.chain_hash, l.content, NULL AS salt, NULL AS digest, 1, NOT EXISTS (SELECT 1 FROM exportops_deletions d
				WHERE d.id = l.deletion_id AND (d.chain_day IS NULL OR (d.chain_day, d.chain_seq) > (l.chain_day, l.chain_seq))),
				l.deletion_id, `+nulls+`
			FROM exportops_deletion_links l WHERE l.chain_day = ?1 AND l.chain_seq > ?2 ORDER BY l.chain_seq LIMIT ?3)
		ORDER BY 1 LIMIT ?3`, day, after, limit)
	if err != nil {
		return nil, err
	}
	read := newChainedRow()
	err = scanAll(rows, func() error {
		var l exportops.ChainLink
		var moved bool
		into := append([]any{&l.Seq, &l.Hash, &l.Content, &l.Salt, &l.Digest, &moved, &l.Lost}, read.into...)
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := read.row()
		if l.ID = row.ID; !moved {
			l.Row = &row
		}
		page = append(page, l)
		return nil
	})
	return page, err
}

// nulls stands for the columns of an entry after its number.
var nulls = strings.Repeat("NULL, ", identityColumns+factColumns-1) + "NULL"

// Unchained implements exportops.ChainReader.
func (s *Store) Unchained(ctx context.Context) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM exportops_deletions
		WHERE chain_day IS NULL AND state <> 'claimed'`).Scan(&n)
	return n, s.explain(err)
}
