package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// attempt is one metric of an export, as far as it decides what the export
// counts as.
type attempt struct {
	id       int64
	number   int64
	at       string
	measured bool
	outcome  bool
	counts   exportops.Outcome
	hour     exportops.Time // of the rollup that holds it; zero for none
}

func (a *attempt) finished() bool { return !a.counts.Status.InProgress() }

// beats reports whether a rather than b is what the export counts as. It is a
// total order over the metrics of an export, so that the order of arrival does
// not matter: what finished, what was measured, the latest attempt, the latest
// in time, and a failure before a success.
func (a *attempt) beats(b *attempt) bool {
	switch {
	case a.finished() != b.finished():
		return a.finished()
	case a.measured != b.measured:
		return a.measured
	case a.number != b.number:
		return a.number > b.number
	case a.at != b.at:
		return a.at > b.at
	}
	return rank[a.counts.Status] > rank[b.counts.Status]
}

var rank = map[exportops.Status]int{
	exportops.Queued: 0, exportops.Processing: 1, exportops.Completed: 2, exportops.Failed: 3,
}

// recount decides anew what exports count as and in which hour, and returns
// what changes for the rollups, which the caller reports in the same
// transaction.
func (s *Store) recount(ctx context.Context, tx *sql.Tx, exports []string) ([]exportops.Delta, error) {
	list, err := jsonList(exports)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, s.sql(`SELECT m.export_id, m.id, m.attempt, m.timestamp, m.source = 'measured', m.outcome,
			(SELECT min(e.timestamp) FROM {logs} e WHERE e.export_id = m.export_id AND `+exactTimestamp+`),`+countedColumns+`
		FROM (SELECT DISTINCT value FROM json_each(?)) j CROSS JOIN exportops_export_metrics m ON m.export_id = j.value
		ORDER BY m.export_id`), list)
	if err != nil {
		return nil, fmt.Errorf("read metrics of exports: %w", err)
	}
	var d decision
	var best, old *attempt
	var export string
	var row sql.NullString
	err = scanAll(rows, func() error {
		var a attempt
		var of string
		var asked sql.NullString
		var err error
		a.counts, a.hour, err = scanCounted(rows, &of, &a.id, &a.number, &a.at, &a.measured, &a.outcome, &asked)
		if err != nil {
			return err
		}
		if of != export {
			if err := d.settle(best, old, row); err != nil {
				return err
			}
			export, row, best, old = of, asked, nil, nil
		}
		if a.outcome {
			old = &a
		}
		if best == nil || a.beats(best) {
			best = &a
		}
		return nil
	})
	if err == nil {
		err = d.settle(best, old, row)
	}
	if err != nil {
		return nil, fmt.Errorf("read metrics of exports: %w", err)
	}
	return d.changes, d.write(ctx, tx)
}

// decision collects what recount is about to write.
type decision struct {
	clear   []int64
	set     [][2]any // id and hour
	changes []exportops.Delta
}

// settle compares what an export counts as with what it is to count as. row is
// the time of its row, where there is one that can be read.
func (d *decision) settle(best, old *attempt, row sql.NullString) error {
	if best == nil {
		return nil
	}
	var hour exportops.Time
	var place any
	if best.finished() {
		at := best.at
		if row.Valid {
			at = row.String
		}
		t, ok := exportops.ParseStoredTime(at)
		if !ok {
			return fmt.Errorf("metric %d is of %q, which is no time", best.id, at)
		}
		hour = t.Hour()
		place = hour.String()
	}
	if old != nil && old.id == best.id && old.hour.Equal(hour.Time) {
		return nil
	}
	if old != nil {
		d.clear = append(d.clear, old.id)
		if !old.hour.IsZero() {
			d.changes = append(d.changes, exportops.Delta{Hour: old.hour, Old: &old.counts})
		}
	}
	d.set = append(d.set, [2]any{best.id, place})
	if !hour.IsZero() {
		d.changes = append(d.changes, exportops.Delta{Hour: hour, New: &best.counts})
	}
	return nil
}

// write clears before it sets: at most one metric of an export is its outcome
// at any moment.
func (d *decision) write(ctx context.Context, tx *sql.Tx) error {
	if len(d.set) == 0 {
		return nil
	}
	cleared, err := jsonList(d.clear)
	if err != nil {
		return err
	}
	set, err := jsonList(d.set)
	if err != nil {
		return err
	}
	if len(d.clear) > 0 {
		_, err = tx.ExecContext(ctx, `UPDATE exportops_export_metrics SET outcome = 0, counted_hour = NULL
			WHERE id IN (SELECT value FROM json_each(?))`, cleared)
		if err != nil {
			return fmt.Errorf("take back outcomes: %w", err)
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE exportops_export_metrics AS m SET outcome = 1, counted_hour = j.value ->> 1
		FROM json_each(?) j WHERE m.id = j.value ->> 0`, set)
	if err != nil {
		return fmt.Errorf("set outcomes: %w", err)
	}
	return nil
}
