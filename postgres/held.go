package postgres

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// heldBy says whether an active hold covers an export and a user, which are SQL.
// Where there is no hold at all, which is the rule, that is looked up once for a
// statement, and nothing for a row.
func heldBy(export, user string) string {
	const active = `EXISTS (SELECT 1 FROM exportops.holds h WHERE h.released_at IS NULL`
	return `CASE WHEN ` + active + `) THEN ` + active + ` AND h.subject IS NULL)
		OR ` + active + ` AND h.subject = ` + export + ` AND h.scope = 'export')
		OR ` + active + ` AND h.subject = ` + user + ` AND h.scope = 'user') ELSE false END`
}

// underHolds selects columns of the rows that name a file and that active holds
// cover, those on everything aside, of holds with a greater id than $1.
func underHolds(columns string) string {
	from := func(scope, column string) string {
		return `SELECT ` + columns + ` FROM exportops.holds h JOIN {logs} e ON e.` + column + ` = h.subject
			WHERE h.id > $1 AND h.released_at IS NULL AND h.scope = '` + scope + `' AND e.file_url > ''`
	}
	return from("export", "export_id") + ` UNION ALL ` + from("user", "user_id")
}

const keyRowColumns = `coalesce(e.export_id::text, ''), coalesce(e.user_id::text, ''), coalesce(e.status::text, ''), coalesce(e.file_url, '')`

func scanKeyRow(rows pgx.Rows) (k exportops.KeyRow, says bool, err error) {
	err = rows.Scan(&k.ExportID, &k.UserID, (*string)(&k.Status), &k.FileURL)
	return k, true, err
}

// HeldRows implements exportops.HoldStore.
func (s *Store) HeldRows(ctx context.Context, after int64) iter.Seq2[exportops.KeyRow, error] {
	return stream(ctx, s, "read held rows", underHolds(keyRowColumns), []any{after}, scanKeyRow)
}

// unseenRows reads the rows that came under holds which a claim has not seen. It
// reports whether they are too many to be read while others wait.
func (s *Store) unseenRows(ctx context.Context, tx pgx.Tx, seen int64) (rows []exportops.Candidate, many bool, err error) {
	found, err := tx.Query(ctx, s.sql(underHolds(`e.id::text`)+fmt.Sprintf(` LIMIT %d`, exportops.MostHeldAtOnce+1)), seen)
	if err != nil {
		return nil, false, fmt.Errorf("look for new holds: %w", err)
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, false, fmt.Errorf("look for new holds: %w", err)
	}
	if len(ids) == 0 || len(ids) > exportops.MostHeldAtOnce {
		return nil, len(ids) > 0, nil
	}
	rows, err = s.scanCandidates(ctx, tx, order{}, `SELECT`+candidateColumns+candidateFrom+` WHERE e.id = ANY($1::uuid[])`, ids)
	return rows, false, err
}

// pausedIn reports whether a hold covers everything.
func pausedIn(ctx context.Context, tx pgx.Tx) (paused bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.holds h
		WHERE h.released_at IS NULL AND h.subject IS NULL)`).Scan(&paused)
	if err != nil {
		return false, fmt.Errorf("look for a hold on everything: %w", err)
	}
	return paused, nil
}

// dropHeld keeps the rows that came under a hold since they were read.
func (d *logDeletion) dropHeld(ctx context.Context) error {
	var some bool
	err := d.tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.holds h WHERE h.released_at IS NULL)`).Scan(&some)
	if err != nil {
		return fmt.Errorf("look for holds: %w", err)
	}
	if !some {
		return nil
	}
	at := d.going()
	exports, users := make([]*string, len(at)), make([]*string, len(at))
	for n, i := range at {
		exports[n], users[n] = nullText(d.rows[i].ExportID), nullText(d.rows[i].UserID)
	}
	rows, err := d.tx.Query(ctx, `
		SELECT g.n - 1 FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS g (export_id, user_id, n)
		WHERE `+heldBy("g.export_id", "g.user_id"), exports, users)
	if err != nil {
		return fmt.Errorf("look for holds: %w", err)
	}
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&n}, func() error { d.goes[at[n]] = false; return nil }); err != nil {
		return fmt.Errorf("look for holds: %w", err)
	}
	return nil
}
