package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
)

// entryColumns are the columns of new entries, as arrays for unnest.
type entryColumns struct {
	ids                                           []int64
	exports, users, urls, expires, keys, finished []*string
	modes, states, stores, buckets, status, errs  []string
	sizes                                         []*int64
	attempts, failures                            []int64
}

func columnsOf(entries []*exportops.Deletion) (c entryColumns) {
	for _, d := range entries {
		var finished *string
		if d.FinishedAt != nil {
			at := d.FinishedAt.String()
			finished = &at
		}
		c.ids = append(c.ids, d.ID)
		c.exports, c.users = append(c.exports, nullText(d.ExportID)), append(c.users, nullText(d.UserID))
		c.urls, c.expires = append(c.urls, d.FileURL), append(c.expires, d.ExpiresAt)
		c.keys, c.finished = append(c.keys, nullText(d.Key)), append(c.finished, finished)
		c.modes, c.states = append(c.modes, string(d.Mode)), append(c.states, string(d.State))
		c.stores, c.buckets = append(c.stores, d.Store), append(c.buckets, d.Bucket)
		c.status, c.errs = append(c.status, string(d.RowStatus)), append(c.errs, d.Error)
		c.sizes = append(c.sizes, d.FileSize)
		c.attempts, c.failures = append(c.attempts, int64(d.Attempts)), append(c.failures, int64(d.Failures))
	}
	return c
}

// claimFresh records new entries, in the order of their keys, so that two runs
// that claim the same keys wait for each other and not crosswise. It returns
// those that were recorded: not one whose key another open claim has.
func claimFresh(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, entries []*exportops.Deletion) (
	kept []*exportops.Deletion, err error,
) {
	if len(entries) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(entries, func(a, b *exportops.Deletion) int {
		if n := strings.Compare(a.Bucket, b.Bucket); n != 0 {
			return n
		}
		return strings.Compare(a.Key, b.Key)
	})
	v := columnsOf(entries)
	rows, err := tx.Query(ctx, `
		INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at,
			file_size, row_status, run_id, token, attempts, failures, error, claimed_at, finished_at, next_try_at)
		SELECT n.export_id, n.user_id, n.mode, n.state, n.store, n.bucket, n.key, n.file_url, n.expires_at,
			n.file_size, n.row_status, $1, $2, n.attempts, n.failures, n.error, $3::timestamptz, n.finished_at,
			CASE n.state WHEN 'failed' THEN n.finished_at END
		FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
				$12::timestamptz[], $13::bigint[], $14::text[], $15::int[], $16::int[], $17::text[], $18::timestamptz[])
			WITH ORDINALITY AS n (export_id, user_id, mode, state, store, bucket, key, file_url,
				expires_at, file_size, row_status, attempts, failures, error, finished_at, at)
		ORDER BY n.at
		ON CONFLICT DO NOTHING RETURNING id, coalesce(export_id::text, ''), coalesce(key, '')`,
		c.RunID, c.Token, c.Now.String(), v.exports, v.users, v.modes, v.states, v.stores, v.buckets, v.keys, v.urls,
		v.expires, v.sizes, v.status, v.attempts, v.failures, v.errs, v.finished)
	if err != nil {
		return nil, err
	}
	// What comes back is in the order of what was handed in, with gaps.
	i := 0
	var id int64
	var export, key string
	_, err = pgx.ForEachRow(rows, []any{&id, &export, &key}, func() error {
		for ; i < len(entries); i++ {
			if d := entries[i]; d.ExportID == export && d.Key == key {
				d.ID = id
				kept = append(kept, d)
				i++
				return nil
			}
		}
		return errors.New("the ledger kept an entry that nobody handed in")
	})
	return kept, err
}

// claimAgain claims entries that failed before. An UPDATE cannot pass over a key
// that another open claim has, as an INSERT can: where one comes up in the same
// instant, it is tried again without it. An entry that is no longer what was read,
// since somebody had it tried again or erased it, is left for the next look.
func claimAgain(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, entries []*exportops.Deletion) (
	kept []*exportops.Deletion, err error,
) {
	if len(entries) == 0 {
		return nil, nil
	}
	const most = 5
	for try := 1; ; try++ {
		kept, err = tryAgain(ctx, tx, c, entries)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != uniqueViolation || try == most {
			return kept, err
		}
	}
}

const uniqueViolation = "23505"

func tryAgain(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, entries []*exportops.Deletion) (
	kept []*exportops.Deletion, err error,
) {
	v := columnsOf(entries)
	claimed := map[int64]bool{}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
		rows, err := tx.Query(ctx, `
			WITH old AS MATERIALIZED (`+oldLinks+` WHERE o.id = ANY($4::bigint[]) ORDER BY o.id FOR NO KEY UPDATE),
			changed AS (UPDATE exportops.deletions AS d SET mode = n.mode, state = n.state, store = n.store, bucket = n.bucket,
				key = n.key, file_size = n.file_size, row_status = n.row_status, run_id = $1, token = $2,
				attempts = n.attempts, failures = n.failures, error = n.error, claimed_at = $3::timestamptz,
				finished_at = n.finished_at, next_try_at = CASE n.state WHEN 'failed' THEN n.finished_at END, `+noLink+`
			FROM old JOIN unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
					$11::text[], $12::int[], $13::int[], $14::text[], $15::timestamptz[], $16::uuid[])
				AS n (id, mode, state, store, bucket, key, file_size, row_status, attempts, failures, error, finished_at, export_id)
				ON n.id = old.id
			WHERE d.id = n.id AND d.state IN ('failed', 'quarantined') AND d.export_id IS NOT DISTINCT FROM n.export_id
				AND d.attempts = n.attempts - 1 AND d.failures = n.failures - (n.state <> 'claimed')::int
				AND NOT (n.state = 'claimed' AND EXISTS (SELECT 1 FROM exportops.deletions x
					WHERE x.store = n.store AND x.bucket = n.bucket AND x.key = n.key AND x.state = 'claimed'))
			RETURNING `+oldLink+`), kept AS (`+keepLinks+`)
			SELECT c.id FROM changed c`,
			c.RunID, c.Token, c.Now.String(), v.ids, v.modes, v.states, v.stores, v.buckets, v.keys, v.sizes, v.status,
			v.attempts, v.failures, v.errs, v.finished, v.exports)
		if err != nil {
			return err
		}
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { claimed[id] = true; return nil })
		return err
	})
	for _, d := range entries {
		if claimed[d.ID] && err == nil {
			kept = append(kept, d)
		}
	}
	return kept, err
}
