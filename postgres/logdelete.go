package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// DeleteLogRows implements exportops.LogStore. A row that somebody else has
// locked is being changed or claimed, and stays.
func (s *Store) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (out exportops.LogDeletion, err error) {
	var began time.Time
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			began, out.Gone = time.Now(), make([]bool, len(rows))
			d := &logDeletion{Store: s, tx: tx, rows: rows, goes: out.Gone}
			if err := d.run(ctx); err != nil || progress == nil {
				return err
			}
			result, err := progress(out)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE exportops.runs SET result = $2::json WHERE id = $1`, c.RunID, nullJSON(result))
			if err != nil {
				return fmt.Errorf("keep the result: %w", err)
			}
			return nil
		})
	})
	out.Took = time.Since(began)
	return out, err
}

// logDeletion is one transaction that deletes log rows.
type logDeletion struct {
	*Store
	tx   pgx.Tx
	rows []exportops.LogRow
	goes []bool          // by position in rows
	lock map[string]hour // the hours that count them, which are locked
	// last, where set, looks at the rows once everything is locked, before they go.
	last func(context.Context) error
}

type hour struct {
	version int64
	rolled  bool // its rollup holds what it counts
}

// run goes through the steps, in the order in which everybody locks: rows, the
// ledger, the turn of exports, hours.
func (d *logDeletion) run(ctx context.Context) error {
	if len(d.rows) == 0 {
		return nil
	}
	if err := d.shareHolds(ctx, d.tx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		d.lockSame, d.dropHeld, d.dropClaimed, d.takeTurns, d.lockHours, d.dropUncounted, d.last, d.delete,
	} {
		if step == nil {
			continue
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// going returns the positions of the rows that still are to go.
func (d *logDeletion) going() (at []int64) {
	for i, goes := range d.goes {
		if goes {
			at = append(at, int64(i))
		}
	}
	return at
}

// lockSame locks the rows that are what was read.
func (d *logDeletion) lockSame(ctx context.Context) error {
	places, versions := make([]string, len(d.rows)), make([]string, len(d.rows))
	for i, r := range d.rows {
		seen, ok := r.Seen.(seenRow)
		if !ok {
			return fmt.Errorf("log row %q was not read by this store", r.ID)
		}
		places[i], versions[i] = seen.row, seen.version
	}
	rows, err := d.tx.Query(ctx, d.sql(`
		SELECT g.at - 1 FROM unnest($1::{rowtype}[], $2::text[]) WITH ORDINALITY AS g (row, version, at)
			JOIN {logs} e ON e.{row} = g.row
		WHERE {version} = g.version FOR UPDATE OF e SKIP LOCKED`), places, versions)
	if err != nil {
		return fmt.Errorf("lock log rows: %w", err)
	}
	var at int64
	if _, err := pgx.ForEachRow(rows, []any{&at}, func() error { d.goes[at] = true; return nil }); err != nil {
		return fmt.Errorf("lock log rows: %w", err)
	}
	return nil
}

// dropClaimed keeps the rows whose files someone has begun to delete since, and
// has not confirmed to be gone. Claims lock the row, so that none can come
// between the lock and this look.
func (d *logDeletion) dropClaimed(ctx context.Context) error {
	at := d.going()
	exports, priors := make([]*string, len(at)), make([]int64, len(at))
	for n, i := range at {
		r := d.rows[i]
		if exports[n] = nullText(r.ExportID); r.Prior != nil {
			priors[n] = r.Prior.ID
		}
	}
	rows, err := d.tx.Query(ctx, `
		SELECT g.n - 1 FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS g (export_id, prior, n)
		WHERE g.export_id IN (SELECT x.export_id FROM exportops.deletions x WHERE x.state = 'claimed')
			OR (SELECT true FROM exportops.deletions x
				WHERE x.export_id = g.export_id AND x.id > g.prior AND x.state NOT IN ('deleted', 'absent') LIMIT 1)`, exports, priors)
	if err != nil {
		return fmt.Errorf("look for claims: %w", err)
	}
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { d.goes[at[n]] = false; return nil }); err != nil {
		return fmt.Errorf("look for claims: %w", err)
	}
	return nil
}

// unplaced returns the exports of rows that no hour of their own counts.
func (d *logDeletion) unplaced() (exports []string) {
	for _, i := range d.going() {
		if d.rows[i].Seen.(seenRow).hour == "" {
			exports = append(exports, d.rows[i].ExportID)
		}
	}
	return known(exports)
}

// takeTurns waits for whoever decides in which hour an unplaced export counts, and
// keeps others from it: any hour may be told of it, and only those are locked that
// have been.
func (d *logDeletion) takeTurns(ctx context.Context) error {
	exports := d.unplaced()
	if len(exports) == 0 {
		return nil
	}
	return takeTurns(ctx, d.tx, exports)
}

// hours returns those that count the rows.
func (d *logDeletion) hours() []string {
	starts := map[string]bool{}
	for _, i := range d.going() {
		if h := d.rows[i].Seen.(seenRow).hour; h != "" {
			starts[h] = true
		}
	}
	return slices.Collect(maps.Keys(starts))
}

// countingHours are the hours named, and those that count exports.
const countingHours = `(h.start = ANY($1::timestamptz[]) OR h.start IN (
	SELECT m.counted_hour FROM exportops.export_metrics m WHERE m.export_id = ANY($2::uuid[])))`

// lockHours locks the hours that count the rows, in their order: until the
// transaction ends nothing more is counted there.
func (d *logDeletion) lockHours(ctx context.Context) error {
	d.lock = map[string]hour{}
	rows, err := d.tx.Query(ctx, `SELECT h.start::text, h.version, h.clean OR h.sealed FROM exportops.rollup_hours h
		WHERE `+countingHours+` ORDER BY h.start FOR UPDATE OF h`, d.hours(), d.unplaced())
	if err != nil {
		return fmt.Errorf("lock hours: %w", err)
	}
	var start string
	var h hour
	_, err = pgx.ForEachRow(rows, []any{&start, &h.version, &h.rolled}, func() error { d.lock[start] = h; return nil })
	if err != nil {
		return fmt.Errorf("lock hours: %w", err)
	}
	return nil
}

// dropUncounted keeps the rows that their hours no longer count. Every change of
// what an hour counts gives it another version: only where that is another than
// it was, or where no hour counts a row, is anything read again.
func (d *logDeletion) dropUncounted(ctx context.Context) error {
	var again []string
	position := map[string]int64{}
	for _, i := range d.going() {
		seen := d.rows[i].Seen.(seenRow)
		if h, ok := d.lock[seen.hour]; ok && h.rolled && h.version == seen.counts {
			continue
		}
		again, position[d.rows[i].ID], d.goes[i] = append(again, d.rows[i].ID), i, false
	}
	if len(again) == 0 {
		return nil
	}
	now, err := d.scanLogRows(ctx, d.tx, order{where: `e.id = ANY($1::uuid[])`, args: []any{again}}, ``)
	if err != nil {
		return err
	}
	for _, r := range now {
		i := position[r.ID]
		was, is := d.rows[i].Seen.(seenRow).hour, r.Seen.(seenRow).hour
		_, held := d.lock[is]
		d.goes[i] = r.Counted && was == is && (held || is == "")
	}
	return nil
}

// delete deletes what is left, and seals the hours that lose a row.
func (d *logDeletion) delete(ctx context.Context) error {
	at := d.going()
	if len(at) == 0 {
		return nil
	}
	ids, places, exports := make([]string, len(at)), make([]string, len(at)), make([]string, len(at))
	for n, i := range at {
		r := d.rows[i]
		ids[n], places[n], exports[n] = r.ID, r.Seen.(seenRow).row, r.ExportID
	}
	if err := sealHours(ctx, d.tx, d.hours(), d.unplaced()); err != nil {
		return err
	}
	tag, err := d.tx.Exec(ctx, d.sql(`DELETE FROM {logs} e WHERE e.{row} = ANY($1::{rowtype}[])`), places)
	if err != nil {
		return fmt.Errorf("delete log rows: %w", err)
	}
	left := int64(len(ids)) - tag.RowsAffected()
	if d.view {
		err := d.tx.QueryRow(ctx, d.sql(`SELECT count(*) FROM {logs} e WHERE e.id = ANY($1::uuid[])`), ids).Scan(&left)
		if err != nil {
			return fmt.Errorf("read log rows again: %w", err)
		}
	}
	if left != 0 {
		return d.unpassed(fmt.Sprintf("of %d rows that were deleted %d are still there", len(ids), left))
	}
	if err := forgetMissing(ctx, d.tx, known(exports)); err != nil {
		return err
	}
	return deleteMetrics(ctx, d.tx, known(exports))
}

// unpassed says that the table, a view perhaps, did not do what it was told.
func (s *Store) unpassed(what string) error {
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE",
		Message: fmt.Sprintf("%s does not pass changes on: %s", s.table, what),
		Hint:    "name a table, or a view over a single table without rules and triggers of its own, in EXPORT_LOGS_TABLE",
	}
}

// sealHours seals hours, and those that count exports.
func sealHours(ctx context.Context, tx pgx.Tx, starts, exports []string) error {
	_, err := tx.Exec(ctx, `UPDATE exportops.rollup_hours h SET sealed = true WHERE NOT h.sealed AND `+countingHours,
		starts, exports)
	if err != nil {
		return fmt.Errorf("seal hours: %w", err)
	}
	return nil
}

func deleteMetrics(ctx context.Context, tx pgx.Tx, exports []string) error {
	_, err := tx.Exec(ctx, `DELETE FROM exportops.export_metrics WHERE export_id = ANY($1::uuid[])`, exports)
	if err != nil {
		return fmt.Errorf("delete metrics: %w", err)
	}
	return nil
}
