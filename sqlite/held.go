package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/exportops/exportops"
)

// heldBy is 1 where an active hold covers an export and a user, which are SQL.
// Where there is no hold at all, which is the rule, that is looked up once for a
// statement, and nothing for a row. Rows may be written in either case.
func heldBy(export, user string) string {
	const active = `EXISTS (SELECT 1 FROM exportops_holds h WHERE h.released_at IS NULL`
	return `CASE WHEN ` + active + `) THEN ` + active + ` AND h.subject = '')
		OR ` + active + ` AND h.subject = lower(` + export + `) AND h.scope = 'export')
		OR ` + active + ` AND h.subject = lower(` + user + `) AND h.scope = 'user') ELSE 0 END`
}

// rowsOfHolds are the rows that name a file and that active holds cover, those
// on everything aside. The first argument is the id that theirs are greater than.
// The cross joins keep SQLite from walking through the rows to look for holds.
var rowsOfHolds = `
	FROM exportops_holds h CROSS JOIN {logs} e ON e.export_id IN (` + spellings("{logs}", "export_id", "h.subject") + `)
	WHERE h.id > ?1 AND h.released_at IS NULL AND h.scope = 'export' AND e.file_url > ''`

var rowsOfHeldUsers = `
	FROM exportops_holds h CROSS JOIN {logs} e ON e.user_id IN (` + spellings("{logs}", "user_id", "h.subject") + `)
	WHERE h.id > ?1 AND h.released_at IS NULL AND h.scope = 'user' AND e.file_url > ''`

const keyRowColumns = `coalesce(e.export_id, ''), coalesce(e.user_id, ''), coalesce(e.status, ''), coalesce(CAST(e.file_url AS TEXT), '')`

// HeldRows implements exportops.HoldStore.
func (s *Store) HeldRows(ctx context.Context, after int64) iter.Seq2[exportops.KeyRow, error] {
	return s.keyRows(ctx, s.read, `SELECT `+keyRowColumns+rowsOfHolds+`
		UNION ALL SELECT `+keyRowColumns+rowsOfHeldUsers, after)
}

// keyRows yields the rows of a query as they are read.
func (s *Store) keyRows(ctx context.Context, q queryer, query string, args ...any) iter.Seq2[exportops.KeyRow, error] {
	return func(yield func(exportops.KeyRow, error) bool) {
		rows, err := q.QueryContext(ctx, s.sql(query), args...)
		if err != nil {
			yield(exportops.KeyRow{}, s.explain(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var k exportops.KeyRow
			if err := rows.Scan(&k.ExportID, &k.UserID, &k.Status, &k.FileURL); err != nil {
				yield(k, s.explain(err))
				return
			}
			if !yield(k, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(exportops.KeyRow{}, s.explain(err))
		}
	}
}

// unseenRows reads the rows that came under holds which a claim has not seen. It
// reports whether they are too many to be read while others wait.
func (s *Store) unseenRows(ctx context.Context, tx *sql.Tx, seen int64) (rows []exportops.Candidate, many bool, err error) {
	found, err := tx.QueryContext(ctx, s.sql(`SELECT e.{row}`+rowsOfHolds+`
		UNION ALL SELECT e.{row}`+rowsOfHeldUsers+` LIMIT ?2`), seen, exportops.MostHeldAtOnce+1)
	if err != nil {
		return nil, false, fmt.Errorf("look for new holds: %w", err)
	}
	var places []any
	err = scanAll(found, func() error {
		places = append(places, nil)
		return found.Scan(&places[len(places)-1])
	})
	if err != nil || len(places) == 0 || len(places) > exportops.MostHeldAtOnce {
		return nil, len(places) > exportops.MostHeldAtOnce, err
	}
	list, err := jsonList(places)
	if err != nil {
		return nil, false, err
	}
	rows, _, err = s.scanCandidates(ctx, tx, order{}, `SELECT`+candidateColumns+atPlaces+withLedger, list)
	return rows, false, err
}

// pausedIn reports whether a hold covers everything.
func pausedIn(ctx context.Context, tx *sql.Tx) (paused bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exportops_holds
		WHERE released_at IS NULL AND subject = '')`).Scan(&paused)
	if err != nil {
		return false, fmt.Errorf("look for a hold on everything: %w", err)
	}
	return paused, nil
}

// dropHeld keeps the rows that came under a hold since they were read.
func dropHeld(ctx context.Context, tx *sql.Tx, rows []exportops.LogRow, goes []bool) error {
	var some bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exportops_holds WHERE released_at IS NULL)`).Scan(&some)
	if err != nil {
		return fmt.Errorf("look for holds: %w", err)
	}
	if !some {
		return nil
	}
	exports, users := make([]string, len(rows)), make([]string, len(rows))
	for i, r := range rows {
		exports[i], users[i] = r.ExportID, r.UserID
	}
	exportList, err := jsonList(exports)
	if err != nil {
		return err
	}
	userList, err := jsonList(users)
	if err != nil {
		return err
	}
	held, err := tx.QueryContext(ctx, `SELECT x.key FROM json_each(?) x CROSS JOIN json_each(?) u ON u.key = x.key
		WHERE `+heldBy("x.value", "u.value"), exportList, userList)
	if err != nil {
		return fmt.Errorf("look for holds: %w", err)
	}
	return scanAll(held, func() error {
		var i int
		err := held.Scan(&i)
		goes[i] = false
		return err
	})
}
