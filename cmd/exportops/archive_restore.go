package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

type archiveRestoreCmd struct {
	archiveQuery
	ToTable bool `name:"to-table" help:"put the rows back into the export logs, under their own ids, instead of writing them"`
}

// Help says more of it.
func (archiveRestoreCmd) Help() string {
	return `Without --to-table the rows are written as JSON, one a line, and nothing is changed.
With it, rows come back with their metrics and are counted no second time; a row whose
id or export is there already is left alone. The next log cleanup archives and deletes
again what is older than the retention.

Rows of a user who was erased stay erased: they are left out either way, and counted.
Rows that were asked for and created after the erasure are another's, or the user's who
came back.`
}

// restored says what came back.
type restored struct {
	Found    int64 `json:"found"`
	Restored int64 `json:"restored"`
	Present  int64 `json:"already_present"` // their id or export was there, and stays as it is
	Erased   int64 `json:"left_out_erased"` // their user was erased
}

// Run writes rows, or puts them back.
func (c *archiveRestoreCmd) Run(e *env) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return e.withArchives(func(k *archive.Keeper) error {
		if !c.ToTable {
			return e.eachRestorable(k, q)
		}
		var done restored
		if err := k.Restore(e.ctx, q, exportops.At(time.Now()), func(r archive.Restored) {
			done.Found += r.Found
			done.Restored += r.Fresh
			done.Erased += r.Erased
			done.Present = done.Found - done.Restored - done.Erased
		}); err != nil {
			e.stderr.printf("%d rows were restored before this\n", done.Restored)
			return err
		}
		return e.show(done, func() {
			e.table("restored", nil, [][]string{
				{"found in archives", number(done.Found)},
				{"restored", number(done.Restored)},
				{"were there already", number(done.Present)},
				{"left out: their user was erased", number(done.Erased)},
			})
		})
	})
}

// eachRestorable writes rows as they are found, but for those that stay erased.
func (e *env) eachRestorable(k *archive.Keeper, q archive.Query) error {
	out := json.NewEncoder(e.stdout)
	out.SetEscapeHTML(false)
	erased := int64(0)
	for batch, err := range k.Restorable(e.ctx, q) {
		if err != nil {
			return err
		}
		erased += batch.Erased
		for _, row := range batch.Rows {
			if err := out.Encode(row); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
	}
	if erased > 0 {
		e.stderr.printf("%d rows were left out: their users were erased\n", erased)
	}
	return nil
}
