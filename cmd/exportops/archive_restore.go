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
	ToTable bool   `name:"to-table" xor:"into" help:"put the rows back into the export logs, under their own ids, instead of writing them"`
	Beside  string `name:"beside" xor:"into" placeholder:"TABLE" help:"put the rows into this table beside the export logs, which is made where it is missing"`
}

// Help says more of it.
func (archiveRestoreCmd) Help() string {
	return `Without --to-table and --beside the rows are written as JSON, one a line, and nothing is
changed.

With --to-table, rows come back with their metrics and are counted no second time; a row whose
id or export is there already is left alone. The next log cleanup archives and deletes
again what is older than the retention.

With --beside, a table of its own takes the rows, for looking at them: with their metrics
as JSON and the archive they come from, each row once, however often this is run. They
count for nothing, no retention deletes them and no hold keeps them; an erasure deletes
those of its user. The table stays until it is dropped: exportops archive drop-table. On
Postgres it lies in the schema of the export logs, unless the name has another in front.

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
	if c.Beside != "" {
		if err := exportops.CheckBeside(c.Beside); err != nil {
			return &usageError{err}
		}
	}
	return e.withArchives(func(k *archive.Keeper) error {
		if !c.ToTable && c.Beside == "" {
			return e.eachRestorable(k, q)
		}
		var done restored
		tell := func(r archive.Restored) {
			done.Found += r.Found
			done.Restored += r.Fresh
			done.Erased += r.Erased
			done.Present = done.Found - done.Restored - done.Erased
		}
		if c.Beside != "" {
			err = k.RestoreBeside(e.ctx, c.Beside, q, exportops.At(time.Now()), tell)
		} else {
			err = k.Restore(e.ctx, q, exportops.At(time.Now()), tell)
		}
		if err != nil {
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

type archiveDropTableCmd struct {
	Table string `arg:"" name:"table" help:"its name, as given to restore --beside"`
}

// Help says more of it.
func (archiveDropTableCmd) Help() string {
	return `The archives keep what they have, and the table can be made again. No other table is
ever dropped.`
}

// Run drops a table of archived rows.
func (c *archiveDropTableCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		if err := s.DropBeside(e.ctx, c.Table); err != nil {
			return err
		}
		answer := struct {
			Dropped string `json:"dropped"`
		}{c.Table}
		return e.show(answer, func() { e.stdout.printf("%s is dropped\n", oneLine(c.Table)) })
	})
}
