package main

import (
	"time"

	"github.com/exportops/exportops"
)

// besideFor is how long a table of archived rows may be there before the doctor reminds
// of it.
const besideFor = 30 * 24 * time.Hour

// beside looks at the tables beside the export logs, which nothing but a person drops.
func (d *doctor) beside(store exportops.Database) {
	const check = "restored tables"
	tables, err := store.BesideTables(d.env.ctx)
	if err != nil {
		d.wrong(check, err)
		return
	}
	for _, t := range tables {
		if err := t.Usable(); err != nil {
			d.wrong(check, err)
		} else if d.now.Sub(t.CreatedAt.Time) > besideFor {
			d.say(check, note, "once nobody needs it: exportops archive drop-table "+t.Name,
				"the table %s has held archived rows since %s, which no retention deletes", t.Name, t.CreatedAt)
		}
	}
}
