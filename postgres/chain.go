package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// chainedColumns are all that an entry d says, as text to the last digit: first
// what identifies it, then the rest.
const chainedColumns = `d.export_id::text, d.user_id::text, d.key, d.file_url, d.error,
	d.mode, d.state, d.store, d.bucket, d.expires_at::text, d.file_size::text, d.row_status, d.run_id, d.token::text,
	d.attempts::text, d.failures::text, d.bytes::text, d.evidence, d.claimed_at::text, d.finished_at::text,
	d.next_try_at::text, d.retried_at::text, d.retried_by`

const identityColumns, factColumns = 5, 18

// chainedRow reads chainedColumns.
type chainedRow struct {
	values [identityColumns + factColumns]*string
	into   []any
}

func newChainedRow() *chainedRow {
	r := &chainedRow{}
	for i := range r.values {
		r.into = append(r.into, &r.values[i])
	}
	return r
}

func (r *chainedRow) row(id int64) exportops.LedgerRow {
	values := make([]any, len(r.values))
	for i, v := range r.values {
		if v != nil {
			values[i] = *v
		}
	}
	return exportops.LedgerRow{ID: id, Identity: values[:identityColumns:identityColumns], Facts: values[identityColumns:]}
}

// ChainDeletions implements exportops.ChainStore. Entries that somebody is about
// to claim again are left for the next time. What settles entries neither waits
// for this nor makes it wait.
func (s *Store) ChainDeletions(ctx context.Context, c exportops.Checkpoint, after int64, limit int) (
	n int, last int64, err error,
) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockChain); err != nil {
			return fmt.Errorf("wait for others that link the ledger: %w", err)
		}
		found, err := unchained(ctx, tx, after, limit)
		if n = len(found); err != nil || n == 0 {
			return err
		}
		if n == limit {
			last = found[n-1].ID
		}
		var end *exportops.ChainDay
		days, err := daysOf(tx.Query(ctx, `SELECT `+dayColumns+` FROM exportops.deletion_days k ORDER BY k.day DESC LIMIT 1`))
		if err != nil {
			return fmt.Errorf("read the last day of the ledger: %w", err)
		}
		if len(days) > 0 {
			end = &days[0]
		}
		day, links, err := exportops.LinkDeletions(end, c.Now, found)
		if err != nil {
			return err
		}
		return writeLinks(ctx, tx, day, links)
	})
	return n, last, err
}

// unchained reads and locks entries that are to be linked, in the order of an index: of
// a ledger that has grown within minutes the planner believes that little is left, and
// would read all of it for each page, to sort it.
func unchained(ctx context.Context, tx pgx.Tx, after int64, limit int) ([]exportops.LedgerRow, error) {
	if _, err := tx.Exec(ctx, `SET LOCAL enable_sort = off`); err != nil {
		return nil, fmt.Errorf("read entries to link: %w", err)
	}
	rows, err := tx.Query(ctx, `SELECT d.id, `+chainedColumns+` FROM exportops.deletions d
		WHERE d.chain_day IS NULL AND d.state <> 'claimed' AND d.id > $1
		ORDER BY d.id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read entries to link: %w", err)
	}
	var found []exportops.LedgerRow
	var id int64
	read := newChainedRow()
	_, err = pgx.ForEachRow(rows, append([]any{&id}, read.into...), func() error {
		found = append(found, read.row(id))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read entries to link: %w", err)
	}
	return found, nil
}

const dayColumns = `k.day::text, k.begins, k.links, k.chain_hash, k.pruned`

func daysOf(rows pgx.Rows, err error) ([]exportops.ChainDay, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d exportops.ChainDay, err error) {
		err = row.Scan(&d.Day, &d.Before, &d.Links, &d.Hash, &d.Pruned)
		return d, err
	})
}

func writeLinks(ctx context.Context, tx pgx.Tx, day exportops.ChainDay, links []exportops.ChainLink) error {
	n := len(links)
	ids, seqs := make([]int64, n), make([]int64, n)
	salts, digests, contents, hashes := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, l := range links {
		ids[i], seqs[i], salts[i], digests[i], contents[i], hashes[i] = l.ID, l.Seq, l.Salt, l.Digest, l.Content, l.Hash
	}
	_, err := tx.Exec(ctx, `UPDATE exportops.deletions AS d SET salt = n.salt, digest = n.digest, content = n.content,
			chain_day = $1::date, chain_seq = n.seq, chain_hash = n.hash
		FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
			AS n (id, seq, salt, digest, content, hash)
		WHERE d.id = n.id AND d.id = ANY($2::bigint[])`, day.Day, ids, seqs, salts, digests, contents, hashes)
	if err != nil {
		return fmt.Errorf("link entries of the ledger: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO exportops.deletion_days (day, begins, links, chain_hash) VALUES ($1::date, $2, $3, $4)
		ON CONFLICT (day) DO UPDATE SET links = excluded.links, chain_hash = excluded.chain_hash`,
		day.Day, day.Before, day.Links, day.Hash)
	if err != nil {
		return fmt.Errorf("keep the end of the ledger: %w", err)
	}
	return nil
}

// What follows keeps the places in the chain of entries that change: of a
// statement's parts, old reads them, changed changes the entries and returns what
// they were, and kept keeps it.
const (
	oldLinks  = `SELECT o.id, o.chain_day, o.chain_seq, o.content, o.chain_hash FROM exportops.deletions o`
	oldLink   = `d.id, old.chain_day, old.chain_seq, old.content, old.chain_hash`
	keepLinks = `INSERT INTO exportops.deletion_links (deletion_id, chain_day, chain_seq, content, chain_hash)
		SELECT c.id, c.chain_day, c.chain_seq, c.content, c.chain_hash FROM changed c WHERE c.chain_day IS NOT NULL`
	noLink = `salt = NULL, digest = NULL, content = NULL, chain_day = NULL, chain_seq = NULL, chain_hash = NULL`
)

// ChainDays implements exportops.ChainReader. The days that links know of are
// found by going from one to the next in the index.
func (s *Store) ChainDays(ctx context.Context) (days []exportops.ChainDay, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		days, err = daysOf(tx.Query(ctx, `
			WITH RECURSIVE seen (day) AS (
				SELECT min(d.chain_day) FROM exportops.deletions d WHERE d.chain_day IS NOT NULL
				UNION ALL SELECT (SELECT min(d.chain_day) FROM exportops.deletions d WHERE d.chain_day > seen.day)
					FROM seen WHERE seen.day IS NOT NULL),
			moved (day) AS (
				SELECT min(l.chain_day) FROM exportops.deletion_links l
				UNION ALL SELECT (SELECT min(l.chain_day) FROM exportops.deletion_links l WHERE l.chain_day > moved.day)
					FROM moved WHERE moved.day IS NOT NULL)
			SELECT `+dayColumns+` FROM exportops.deletion_days k
			UNION ALL SELECT x.day::text, NULL, 0, NULL, false FROM (SELECT day FROM seen UNION SELECT day FROM moved) x
				WHERE x.day IS NOT NULL AND x.day NOT IN (SELECT k.day FROM exportops.deletion_days k)
			ORDER BY 1`))
		if err != nil {
			return fmt.Errorf("read the days of the ledger: %w", err)
		}
		return nil
	})
	return days, err
}

// ChainLinks implements exportops.ChainReader.
func (s *Store) ChainLinks(ctx context.Context, day string) iter.Seq2[exportops.ChainLink, error] {
	return func(yield func(exportops.ChainLink, error) bool) {
		const page = 2000
		for after := int64(-1 << 62); ; {
			links, err := s.linkPage(ctx, day, after, page)
			if err != nil {
				yield(exportops.ChainLink{}, fmt.Errorf("read links: %w", err))
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

// linkPage reads a page, so that no transaction lasts as long as a verification.
func (s *Store) linkPage(ctx context.Context, day string, after int64, limit int) (page []exportops.ChainLink, err error) {
	read := newChainedRow()
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT f.chain_seq, f.chain_hash, f.content, d.salt, d.digest, f.moved, f.lost, f.id, `+chainedColumns+`
			FROM ((SELECT x.chain_seq, x.chain_hash, x.content, x.id, false AS moved, false AS lost FROM exportops.deletions x
					WHERE x.chain_day = $1::date AND x.chain_seq > $2 ORDER BY x.chain_seq LIMIT $3)
				UNION ALL
				(SELECT l.chain_seq, l.chain_hash, l.content, l.deletion_id, true, NOT EXISTS (SELECT 1 FROM exportops.deletions x
						WHERE x.id = l.deletion_id AND (x.chain_day IS NULL OR (x.chain_day, x.chain_seq) > (l.chain_day, l.chain_seq)))
					FROM exportops.deletion_links l
					WHERE l.chain_day = $1::date AND l.chain_seq > $2 ORDER BY l.chain_seq LIMIT $3)) f
				LEFT JOIN exportops.deletions d ON d.id = f.id AND NOT f.moved
			ORDER BY f.chain_seq LIMIT $3`, day, after, limit)
		if err != nil {
			return err
		}
		var l exportops.ChainLink
		var moved bool
		into := append([]any{&l.Seq, &l.Hash, &l.Content, &l.Salt, &l.Digest, &moved, &l.Lost, &l.ID}, read.into...)
		_, err = pgx.ForEachRow(rows, into, func() error {
			next := l
			if !moved {
				row := read.row(l.ID)
				next.Row = &row
			}
			page = append(page, next)
			return nil
		})
		return err
	})
	return page, err
}

// Unchained implements exportops.ChainReader.
func (s *Store) Unchained(ctx context.Context) (n int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM exportops.deletions d
			WHERE d.chain_day IS NULL AND d.state <> 'claimed'`).Scan(&n)
	})
	return n, err
}

// ForgetDeletions implements exportops.DeletionStore. A day is first marked, so
// that the chain is known to begin after it, then emptied from its beginning, and
// stays as the place that the rest begins from.
func (s *Store) ForgetDeletions(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (
	n int64, more bool, err error,
) {
	// A day is judged before the transaction: log rows that are gone do not come
	// back.
	next, err := s.prunable(ctx, before)
	if err != nil {
		return 0, false, err
	}
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		var day *string
		err := tx.QueryRow(ctx, `SELECT max(k.day)::text FROM exportops.deletion_days k WHERE k.pruned`).Scan(&day)
		if err != nil {
			return fmt.Errorf("find the day to prune: %w", err)
		}
		if day != nil {
			if n, more, err = pruneDay(ctx, tx, *day, limit); err != nil || more {
				return err
			}
		}
		if next == "" {
			return nil
		}
		more = true
		if _, err := tx.Exec(ctx, `DELETE FROM exportops.deletion_days WHERE day < $1::date`, next); err != nil {
			return fmt.Errorf("forget deletions: %w", err)
		}
		if _, err := tx.Exec(ctx, `UPDATE exportops.deletion_days SET pruned = true WHERE day = $1::date`, next); err != nil {
			return fmt.Errorf("forget deletions of %s: %w", next, err)
		}
		return nil
	})
	return n, more, err
}

// prunable returns the first day that is not pruned, where all of it may go.
func (s *Store) prunable(ctx context.Context, before exportops.Time) (day string, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, s.sql(`SELECT k.day::text FROM exportops.deletion_days k
			WHERE k.day = (SELECT min(x.day) FROM exportops.deletion_days x WHERE NOT x.pruned)
				AND k.day < $1::date AND k.day < (SELECT max(x.day) FROM exportops.deletion_days x)
				AND NOT EXISTS (SELECT 1 FROM exportops.deletions d WHERE d.chain_day = k.day
					AND (d.finished_at >= $2::timestamptz OR EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = d.export_id)))`),
			before.Format("2006-01-02"), before.String()).Scan(&day)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for old deletions: %w", err)
	}
	return day, nil
}

// pruneDay deletes the first links of a day, and says whether there may be more.
func pruneDay(ctx context.Context, tx pgx.Tx, day string, limit int) (n int64, more bool, err error) {
	var first *int64
	err = tx.QueryRow(ctx, `SELECT least((SELECT min(d.chain_seq) FROM exportops.deletions d WHERE d.chain_day = $1::date),
		(SELECT min(l.chain_seq) FROM exportops.deletion_links l WHERE l.chain_day = $1::date))`, day).Scan(&first)
	if err != nil {
		return 0, false, fmt.Errorf("forget deletions of %s: %w", day, err)
	}
	if first == nil {
		return 0, false, nil
	}
	for _, table := range []string{"exportops.deletions", "exportops.deletion_links"} {
		tag, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE chain_day = $1::date AND chain_seq < $2`, day, *first+int64(limit))
		if err != nil {
			return n, false, fmt.Errorf("forget deletions of %s: %w", day, err)
		}
		n += tag.RowsAffected()
	}
	return n, true, nil
}
