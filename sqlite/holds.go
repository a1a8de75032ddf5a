package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

// PlaceHold implements exportops.HoldStore.
func (s *Store) PlaceHold(ctx context.Context, h exportops.Hold, l exportops.Locator) (out exportops.Hold, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		known, err := holdsOf(tx.QueryContext(ctx, `SELECT `+holdColumns+` FROM exportops_holds
			WHERE released_at IS NULL AND subject = ? AND scope = ? AND reason = ? AND placed_by = ? LIMIT 1`,
			h.Subject, h.Scope, h.Reason, h.PlacedBy))
		if err != nil {
			return fmt.Errorf("look for the hold: %w", err)
		}
		if len(known) > 0 {
			out = known[0]
			return s.underWay(ctx, tx, &out)
		}
		open, err := s.claimsBefore(ctx, tx, h, l)
		if err != nil {
			return err
		}
		if out = h; h.Scope == exportops.HoldAll {
			out.UnderWay = open
		}
		return insertHold(ctx, tx, &out)
	})
	return out, err
}

// underWay counts again what a hold on everything came too late for and may still come
// to its end: nothing was claimed since.
func (s *Store) underWay(ctx context.Context, tx *sql.Tx, h *exportops.Hold) error {
	if h.Scope != exportops.HoldAll {
		return nil
	}
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`).Scan(&h.UnderWay)
	if err != nil {
		return fmt.Errorf("count open claims: %w", err)
	}
	return nil
}

func insertHold(ctx context.Context, tx *sql.Tx, h *exportops.Hold) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO exportops_holds (scope, subject, row_only, reason, placed_by, placed_at)
		VALUES (?, ?, ?, ?, ?, ?)`, h.Scope, h.Subject, h.RowOnly, h.Reason, h.PlacedBy, h.PlacedAt.String())
	if err != nil {
		return fmt.Errorf("place a hold: %w", err)
	}
	h.ID, err = res.LastInsertId()
	return err
}

// claimsBefore refuses a hold that there is nothing for, or that a claim was
// before; else it returns how many claims are open.
func (s *Store) claimsBefore(ctx context.Context, tx *sql.Tx, h exportops.Hold, l exportops.Locator) (int64, error) {
	column := "user_id"
	if h.Scope == exportops.HoldExport {
		column = "export_id"
		if err := s.canBeHeld(ctx, tx, h); err != nil {
			return 0, err
		}
	}
	open, err := deletionsOf(tx.QueryContext(ctx, `SELECT `+deletionColumns+` FROM exportops_deletions d WHERE d.state = 'claimed'`))
	if err != nil {
		return 0, fmt.Errorf("look for claims: %w", err)
	}
	claim, err := h.ClaimOver(open, l, s.keyRows(ctx, tx, `SELECT `+keyRowColumns+` FROM {logs} e
		WHERE e.`+column+` IN (`+spellings("{logs}", column, "?")+`)`, h.Subject))
	if err != nil {
		return 0, fmt.Errorf("look for claims: %w", err)
	}
	if claim != nil {
		return 0, h.TooLate(*claim)
	}
	return int64(len(open)), nil
}

// canBeHeld refuses a hold on an export that there is nothing of, or whose file we
// have deleted.
func (s *Store) canBeHeld(ctx context.Context, tx *sql.Tx, h exportops.Hold) error {
	rows, _, err := s.scanCandidates(ctx, tx, order{}, `SELECT`+candidateColumns+candidateFrom+`
		WHERE e.export_id IN (`+spellings("{logs}", "export_id", "?")+`)`, h.Subject)
	if err != nil {
		return err
	}
	var metric bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exportops_export_metrics
		WHERE export_id IN (`+spellings("exportops_export_metrics", "export_id", "?")+`))`, h.Subject).Scan(&metric)
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
		gone, err := deletionsOf(tx.QueryContext(ctx, `SELECT `+deletionColumns+` FROM exportops_deletions d WHERE d.id = ?`, r.Prior.ID))
		if err != nil {
			return fmt.Errorf("read what became of the file: %w", err)
		}
		return h.TooLate(gone[0])
	}
	return nil
}

// deletionsOf reads the entries that a query yields.
func deletionsOf(rows *sql.Rows, err error) (all []exportops.Deletion, _ error) {
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func() error {
		d, err := scanDeletion(rows)
		all = append(all, d)
		return err
	})
	return all, err
}

// ReleaseHold implements exportops.HoldStore.
func (s *Store) ReleaseHold(ctx context.Context, id int64, by string, now exportops.Time) (h exportops.Hold, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_holds SET released_at = ?, released_by = ?
			WHERE id = ? AND released_at IS NULL`, now.String(), by, id)
		if err != nil {
			return fmt.Errorf("release hold %d: %w", id, err)
		}
		all, err := holdsOf(tx.QueryContext(ctx, `SELECT `+holdColumns+` FROM exportops_holds WHERE id = ?`, id))
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

// LastHold implements exportops.HoldStore. Those that were forgotten count.
func (s *Store) LastHold(ctx context.Context) (id int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT seq FROM sqlite_sequence WHERE name = 'exportops_holds'`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, s.explain(err)
}

// Holds implements exportops.HoldStore.
func (s *Store) Holds(ctx context.Context, f exportops.HoldFilter) ([]exportops.Hold, error) {
	where, args := []string{"true"}, []any{}
	and := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	if !f.All {
		and(`released_at IS NULL`)
	}
	if f.Subject != "" {
		and(`subject = ?`, f.Subject)
	}
	if f.Scope != "" {
		and(`scope = ?`, f.Scope)
	}
	if f.Before != 0 {
		and(`id < ?`, f.Before)
	}
	all, err := holdsOf(s.read.QueryContext(ctx, `SELECT `+holdColumns+` FROM exportops_holds
		WHERE `+strings.Join(where, ` AND `)+` ORDER BY id DESC LIMIT ?`, append(args, exportops.PageSize(f.Limit))...))
	if err != nil {
		return nil, s.explain(fmt.Errorf("list holds: %w", err))
	}
	return all, nil
}

const holdColumns = `id, scope, subject, reason, placed_by, placed_at, released_at, released_by, row_only`

// holdsOf reads the holds that a query yields.
func holdsOf(rows *sql.Rows, err error) (all []exportops.Hold, _ error) {
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func() error {
		var h exportops.Hold
		var placed string
		var released sql.NullString
		err := rows.Scan(&h.ID, &h.Scope, &h.Subject, &h.Reason, &h.PlacedBy, &placed, &released, &h.ReleasedBy, &h.RowOnly)
		if err != nil {
			return err
		}
		h.PlacedAt, _ = exportops.ParseStoredTime(placed)
		if h.ReleasedAt = timePtr(released); h.ReleasedAt == nil && released.Valid {
			return fmt.Errorf("hold %d was released at %q, which is no time", h.ID, released.String)
		}
		all = append(all, h)
		return nil
	})
	return all, err
}

// ForgetHolds implements exportops.HoldStore.
func (s *Store) ForgetHolds(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM exportops_holds WHERE id IN (
			SELECT id FROM exportops_holds WHERE released_at IS NOT NULL AND released_at < ? LIMIT ?)`, before.String(), limit)
		if err != nil {
			return fmt.Errorf("forget holds: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
