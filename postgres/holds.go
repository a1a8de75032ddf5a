package postgres

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// PlaceHold implements exportops.HoldStore. It waits for those that claim files
// and delete rows, and they for it: what it then reads is what they left.
func (s *Store) PlaceHold(ctx context.Context, h exportops.Hold, l exportops.Locator) (out exportops.Hold, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockHolds); err != nil {
			return fmt.Errorf("wait for claims that are being made: %w", err)
		}
		known, err := holdsOf(tx.Query(ctx, `SELECT `+holdColumns+` FROM exportops.holds h
			WHERE h.released_at IS NULL AND h.subject IS NOT DISTINCT FROM $1::uuid AND h.scope = $2
				AND h.reason = $3 AND h.placed_by = $4 ORDER BY h.id LIMIT 1`,
			nullText(h.Subject), string(h.Scope), h.Reason, h.PlacedBy))
		if err != nil {
			return fmt.Errorf("look for the hold: %w", err)
		}
		if len(known) > 0 {
			out = known[0]
			return underWay(ctx, tx, &out)
		}
		open, err := s.claimsBefore(ctx, tx, h, l)
		if err != nil {
			return err
		}
		if out = h; h.Scope == exportops.HoldAll {
			out.UnderWay = open
		}
		err = tx.QueryRow(ctx, `INSERT INTO exportops.holds (scope, subject, row_only, reason, placed_by, placed_at)
			VALUES ($1, $2::uuid, $3, $4, $5, $6::timestamptz) RETURNING id`,
			string(h.Scope), nullText(h.Subject), h.RowOnly, h.Reason, h.PlacedBy, h.PlacedAt.String()).Scan(&out.ID)
		if err != nil {
			return fmt.Errorf("place a hold: %w", err)
		}
		return nil
	})
	return out, err
}

// underWay counts again what a hold on everything came too late for and may still come
// to its end: nothing was claimed since.
func underWay(ctx context.Context, tx pgx.Tx, h *exportops.Hold) error {
	if h.Scope != exportops.HoldAll {
		return nil
	}
	err := tx.QueryRow(ctx, `SELECT count(*) FROM exportops.deletions WHERE state = 'claimed'`).Scan(&h.UnderWay)
	if err != nil {
		return fmt.Errorf("count open claims: %w", err)
	}
	return nil
}

// claimsBefore refuses a hold that there is nothing for, or that a claim was
// before; else it returns how many claims are open. It reads the claims first:
// one that ends after that would otherwise be open no more when they are read,
// and not yet over when its file is asked for.
func (s *Store) claimsBefore(ctx context.Context, tx pgx.Tx, h exportops.Hold, l exportops.Locator) (int64, error) {
	column := "user_id"
	if h.Scope == exportops.HoldExport {
		column = "export_id"
	}
	open, err := deletionsOf(tx.Query(ctx, `SELECT `+deletionColumns+` FROM exportops.deletions d WHERE d.state = 'claimed'`))
	if err != nil {
		return 0, fmt.Errorf("look for claims: %w", err)
	}
	claim, err := h.ClaimOver(open, l, s.rowsOf(ctx, tx, column, h.Subject))
	if err != nil {
		return 0, fmt.Errorf("look for claims: %w", err)
	}
	if claim != nil {
		return 0, h.TooLate(*claim)
	}
	if h.Scope == exportops.HoldExport {
		if err := s.canBeHeld(ctx, tx, h); err != nil {
			return 0, err
		}
	}
	return int64(len(open)), nil
}

// canBeHeld refuses a hold on an export that there is nothing of, or whose file we
// have deleted.
func (s *Store) canBeHeld(ctx context.Context, tx pgx.Tx, h exportops.Hold) error {
	rows, err := s.candidatesByID(ctx, tx, []string{h.Subject})
	if err != nil {
		return err
	}
	var metric bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.export_metrics WHERE export_id = $1::uuid)`, h.Subject).Scan(&metric)
	if err != nil {
		return fmt.Errorf("look for the export's metric: %w", err)
	}
	if len(rows) == 0 && !metric {
		return h.NothingToHold()
	}
	for _, r := range rows {
		if h.RowOnly || !r.Gone() {
			continue
		}
		return h.TooLate(*r.Prior) // as it was read with the row: it may be forgotten by now
	}
	return nil
}

// rowsOf yields the rows of an export or a user.
func (s *Store) rowsOf(ctx context.Context, tx pgx.Tx, column, id string) iter.Seq2[exportops.KeyRow, error] {
	return func(yield func(exportops.KeyRow, error) bool) {
		rows, err := tx.Query(ctx, s.sql(`SELECT `+keyRowColumns+` FROM {logs} e
			WHERE e.`+column+` = $1::uuid`), id)
		if err != nil {
			yield(exportops.KeyRow{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			k, _, err := scanKeyRow(rows)
			if !yield(k, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(exportops.KeyRow{}, err)
		}
	}
}

// ReleaseHold implements exportops.HoldStore.
func (s *Store) ReleaseHold(ctx context.Context, id int64, by string, now exportops.Time) (h exportops.Hold, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.holds SET released_at = $2::timestamptz, released_by = $3
			WHERE id = $1 AND released_at IS NULL`, id, now.String(), by)
		if err != nil {
			return fmt.Errorf("release hold %d: %w", id, err)
		}
		all, err := holdsOf(tx.Query(ctx, `SELECT `+holdColumns+` FROM exportops.holds h WHERE h.id = $1`, id))
		if err != nil {
			return fmt.Errorf("read hold %d: %w", id, err)
		}
		if len(all) == 0 {
			return exportops.NoSuchHold(id)
		}
		h = all[0]
		return nil
	})
	return h, err
}

// LastHold implements exportops.HoldStore. An id is never given twice.
func (s *Store) LastHold(ctx context.Context) (id int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM exportops.holds`).Scan(&id)
	})
	return id, err
}

// Holds implements exportops.HoldStore.
func (s *Store) Holds(ctx context.Context, f exportops.HoldFilter) (all []exportops.Hold, err error) {
	where, args := `true`, []any{exportops.PageSize(f.Limit)}
	and := func(cond string, v any) {
		args = append(args, v)
		where += fmt.Sprintf(` AND `+cond, len(args))
	}
	if !f.All {
		where += ` AND h.released_at IS NULL`
	}
	if f.Subject != "" {
		and(`h.subject = $%d::uuid`, userArg(f.Subject))
	}
	if f.Scope != "" {
		and(`h.scope = $%d`, string(f.Scope))
	}
	if f.Before != 0 {
		and(`h.id < $%d`, f.Before)
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, err = holdsOf(tx.Query(ctx, `SELECT `+holdColumns+` FROM exportops.holds h
			WHERE `+where+` ORDER BY h.id DESC LIMIT $1`, args...))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	return all, nil
}

const holdColumns = `h.id, h.scope, coalesce(h.subject::text, ''), h.reason, h.placed_by, h.placed_at, h.released_at, h.released_by, h.row_only`

// holdsOf reads the holds that a query yields.
func holdsOf(rows pgx.Rows, err error) ([]exportops.Hold, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h exportops.Hold, err error) {
		var placed time.Time
		var released *time.Time
		err = row.Scan(&h.ID, (*string)(&h.Scope), &h.Subject, &h.Reason, &h.PlacedBy, &placed, &released, &h.ReleasedBy, &h.RowOnly)
		h.PlacedAt, h.ReleasedAt = exportops.At(placed), timePtr(released)
		return h, err
	})
}

// ForgetHolds implements exportops.HoldStore.
func (s *Store) ForgetHolds(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM exportops.holds WHERE id IN (
			SELECT id FROM exportops.holds WHERE released_at < $1::timestamptz LIMIT $2)`, before.String(), limit)
		if err != nil {
			return fmt.Errorf("forget holds: %w", err)
		}
		n = tag.RowsAffected()
		return nil
	})
	return n, err
}
