package main

import (
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
again what is older than the retention.`
}

// restored says what came back.
type restored struct {
	Found    int64 `json:"found"`
	Restored int64 `json:"restored"`
	Present  int64 `json:"already_present"` // their id or export was there, and stays as it is
}

// Run writes rows, or puts them back.
func (c *archiveRestoreCmd) Run(e *env) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return e.withArchives(func(k *archive.Keeper) error {
		if !c.ToTable {
			return e.eachLine(k, q)
		}
		var done restored
		if err := k.Restore(e.ctx, q, exportops.At(time.Now()), func(found, fresh int64) {
			done.Found += found
			done.Restored += fresh
			done.Present = done.Found - done.Restored
		}); err != nil {
			e.stderr.printf("%d rows were restored before this\n", done.Restored)
			return err
		}
		return e.show(done, func() {
			e.table("restored", nil, [][]string{
				{"found in archives", number(done.Found)}, {"restored", number(done.Restored)}, {"were there already", number(done.Present)},
			})
		})
	})
}
