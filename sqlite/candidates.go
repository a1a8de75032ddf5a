package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/exportops/exportops"
)

// queryer is what a pool and a transaction have in common.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readable is the shape of a stored time; other text sorts anywhere and says
// nothing.
const readable = `GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]Z'`

// candidateColumns reads rows that any program may have written: a null or a
// value of another type must not stop the others. The ledger's entry for the
// same generation of the row comes with it. A column that was declared as a time
// would be parsed by the driver: the casts keep what is stored as it is. {config}
// is null unless rules ask for something of it.
var candidateColumns = `
	e.{row}, coalesce(e.id, ''), coalesce(e.export_id, ''), coalesce(e.user_id, ''), coalesce(e.status, ''),
	CAST(e.file_url AS TEXT), CAST(e.expires_at AS TEXT), coalesce(e.created_at, ''), coalesce(e.timestamp, ''),
	iif(typeof(e.file_size) = 'integer', e.file_size, NULL), iif(typeof(e.format) = 'text', e.format, ''), {config},
	` + heldBy("e.export_id", "e.user_id") + `,
	d.id, d.state, d.attempts, d.failures, d.error, d.run_id, d.claimed_at, d.finished_at`

// config reads what rules ask for. What no export of ours can have is not read.
func (s *Store) config() string {
	if len(s.configKeys) == 0 {
		return "NULL"
	}
	return fmt.Sprintf("CASE WHEN length(CAST(e.config AS BLOB)) <= %d THEN CAST(e.config AS TEXT) END", exportops.MaxConfigBytes)
}

const candidateFrom = `
	FROM {logs} e` + withLedger

const withLedger = ` LEFT JOIN exportops_deletions d ON d.id = (
		SELECT max(x.id) FROM exportops_deletions x
		WHERE x.export_id = e.export_id AND x.file_url IS CAST(e.file_url AS TEXT)
			AND x.expires_at IS CAST(e.expires_at AS TEXT))`

// order is how a selection walks through the table: by an index of the
// contract, with ties broken by the row's own place.
type order struct {
	where string
	args  []any
	sort  string // the column of the index, or "" for the row's place alone
	// down is set where the index itself is descending: walked backwards, its
	// ties come with the last row first.
	down bool
}

// orderOf keeps the planner on the index it names: a unary plus takes the
// other conditions out of its choice.
func orderOf(s exportops.Selection) (order, error) {
	switch s.Mode {
	case exportops.ByExpiry:
		return order{
			where: `e.expires_at <= ? AND e.expires_at ` + readable + ` AND +e.status = 'completed'`,
			args:  []any{s.Now.String()}, sort: "expires_at",
		}, nil
	case exportops.ByAge:
		return order{
			// Neither time has an index in the right order: all completed rows are
			// read, in their own places.
			where: `e.status = 'completed' AND e.created_at < ?`,
			args:  []any{s.Cut.String()},
		}, nil
	case exportops.ByLogCleanup:
		return order{
			where: `e.timestamp >= '' AND e.timestamp < ? AND +e.status IN ('expired', 'failed') AND e.file_url > ''
				AND coalesce(d.state, '') NOT IN ('deleted', 'absent')`,
			args: []any{s.Cut.String()}, sort: "timestamp", down: true,
		}, nil
	case exportops.ByPolicy:
		return order{where: `1`}, nil
	case exportops.ByErasure:
		return order{
			where: ofUser + ` AND +e.status NOT IN ('queued', 'processing') AND e.file_url > ''
				AND NOT (+e.status <> 'completed' AND coalesce(d.state, '') IN ('deleted', 'absent'))`,
			args: []any{s.UserID}, sort: "user_id",
		}, nil
	}
	return order{}, fmt.Errorf("no selection by %q", s.Mode)
}

// place is a cursor: the value of the sorted column, byte by byte, and the
// row's own place.
type place struct {
	Sort []byte
	Row  any    // a number
	Text []byte // the id where the table is a view, byte by byte
}

// placeOf reads a cursor. A number in it is kept to the last digit.
func placeOf(c exportops.Cursor) (p place, err error) {
	d := json.NewDecoder(strings.NewReader(string(c)))
	d.UseNumber()
	err = d.Decode(&p)
	if n, ok := p.Row.(json.Number); ok && err == nil {
		if p.Row, err = n.Int64(); err != nil {
			p.Row, err = n.Float64() // a view's id may be any
		}
	}
	if err != nil {
		return p, fmt.Errorf("cursor %q: %w", c, err)
	}
	if p.Text != nil {
		p.Row = string(p.Text)
	}
	return p, nil
}

// parts returns the conditions that follow a cursor, to be read one after the
// other: what is left of the ties at the cursor, then what sorts after it. In
// one condition SQLite would walk through all ties again for every page.
func (o order) parts(c exportops.Cursor) ([]order, error) {
	if c == "" {
		return []order{o}, nil
	}
	p, err := placeOf(c)
	if err != nil {
		return nil, err
	}
	beyond := ` > ?`
	if o.down {
		beyond = ` < ?`
	}
	if o.sort == "" {
		return []order{o.and(` AND e.{row}`+beyond, p.Row)}, nil
	}
	return []order{
		o.and(` AND e.`+o.sort+` = ? AND e.{row}`+beyond, string(p.Sort), p.Row),
		o.and(` AND e.`+o.sort+` > ?`, string(p.Sort)),
	}, nil
}

func (o order) and(condition string, args ...any) order {
	o.where += condition
	o.args = append(append([]any{}, o.args...), args...)
	return o
}

// atHand is the selection, asked of rows that were found by their places: under the
// write lock nothing is looked for.
func (o order) atHand() string {
	return strings.Replace(o.where, ofUser, `lower(e.user_id) = lower(?)`, 1)
}

func (o order) by() string {
	switch {
	case o.sort == "":
		return ` ORDER BY e.{row} LIMIT ?`
	case o.down:
		return ` ORDER BY e.` + o.sort + `, e.{row} DESC LIMIT ?`
	}
	return ` ORDER BY e.` + o.sort + `, e.{row} LIMIT ?`
}

func (o order) cursor(c exportops.Candidate, row any) exportops.Cursor {
	p := place{Row: row}
	if id, ok := row.(string); ok {
		p.Row, p.Text = nil, []byte(id)
	}
	switch {
	case o.sort == "timestamp":
		p.Sort = []byte(c.Timestamp)
	case o.sort == "user_id":
		p.Sort = []byte(c.UserID)
	case o.sort == "expires_at" && c.ExpiresAt != nil:
		p.Sort = []byte(*c.ExpiresAt)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // a string and an integer cannot fail
	}
	return exportops.Cursor(b)
}

// Candidates implements exportops.DeletionStore.
func (s *Store) Candidates(ctx context.Context, sel exportops.Selection, after exportops.Cursor, limit int) (
	[]exportops.Candidate, exportops.Cursor, error,
) {
	page, _, next, err := s.candidatePage(ctx, sel, after, limit)
	return page, next, s.explain(err)
}

// candidatePage reads a page, and beside each row the value that names its
// place. It may walk through a whole table to find few rows, so it reads beside
// the writer and never inside a transaction that others wait for.
func (s *Store) candidatePage(ctx context.Context, sel exportops.Selection, after exportops.Cursor, limit int) (
	page []exportops.Candidate, places []any, next exportops.Cursor, err error,
) {
	o, err := orderOf(sel)
	if err != nil {
		return nil, nil, "", err
	}
	parts, err := o.parts(after)
	if err != nil {
		return nil, nil, "", err
	}
	for _, p := range parts {
		query := `SELECT` + candidateColumns + candidateFrom + ` WHERE ` + p.where + p.by()
		more, at, err := s.scanCandidates(ctx, s.read, p, query, append(p.args, limit-len(page))...)
		if err != nil {
			return nil, nil, "", err
		}
		if page, places = append(page, more...), append(places, at...); len(page) == limit {
			return page, places, page[limit-1].Cursor, nil
		}
	}
	return page, places, "", nil
}

// candidatesAt reads the rows at some places again, as far as the selection
// still takes them.
func (s *Store) candidatesAt(ctx context.Context, q queryer, sel exportops.Selection, places []any) (
	[]exportops.Candidate, error,
) {
	o, err := orderOf(sel)
	if err != nil {
		return nil, err
	}
	list, err := jsonList(places)
	if err != nil {
		return nil, err
	}
	query := `SELECT` + candidateColumns + ` FROM json_each(?) j CROSS JOIN {logs} e ON e.{row} = j.value` + withLedger +
		` WHERE ` + o.atHand()
	page, _, err := s.scanCandidates(ctx, q, o, query, append([]any{list}, o.args...)...)
	return page, err
}

func (s *Store) scanCandidates(ctx context.Context, q queryer, o order, query string, args ...any) (
	page []exportops.Candidate, places []any, err error,
) {
	rows, err := q.QueryContext(ctx, s.sql(query), args...)
	if err != nil {
		return nil, nil, fmt.Errorf("read candidates: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		c, row, err := s.scanCandidate(rows)
		if err != nil {
			return nil, nil, fmt.Errorf("read candidates: %w", err)
		}
		c.Cursor = o.cursor(c, row)
		page, places = append(page, c), append(places, row)
	}
	return page, places, rows.Err()
}

func (s *Store) scanCandidate(rows *sql.Rows, more ...any) (c exportops.Candidate, row any, err error) {
	var id sql.NullInt64
	var state, reason, run, claimed, finished sql.NullString
	var config sql.RawBytes
	var attempts, failures sql.NullInt64
	into := append([]any{
		&row, &c.ID, &c.ExportID, &c.UserID, &c.Status, &c.FileURL, &c.ExpiresAt, &c.CreatedAt, &c.Timestamp,
		&c.FileSize, &c.Format, &config, &c.Held, &id, &state, &attempts, &failures, &reason, &run,
		&claimed, &finished,
	}, more...)
	if err := rows.Scan(into...); err != nil {
		return c, nil, err
	}
	if _, blob := row.([]byte); blob {
		return c, nil, s.blobIDs()
	}
	c.Config = exportops.ReadConfig(config, s.configKeys)
	if id.Valid {
		c.Prior = &exportops.Deletion{
			ID: id.Int64, ExportID: c.ExportID, State: exportops.DeletionState(state.String),
			Attempts: int(attempts.Int64), Failures: int(failures.Int64), Error: reason.String, RunID: run.String,
			FinishedAt: timePtr(finished),
		}
		c.Prior.ClaimedAt, _ = exportops.ParseStoredTime(claimed.String)
	}
	return c, row, nil
}

// blobIDs says that the rows of a view cannot be walked through: texts and blobs never
// are the same, so that no page would come to an end.
func (s *Store) blobIDs() error {
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE",
		Message: fmt.Sprintf("the view %s has ids that are blobs", s.table), Hint: "have it give them as texts: hex(id) AS id",
	}
}

// CountCandidates implements exportops.DeletionStore.
func (s *Store) CountCandidates(ctx context.Context, sel exportops.Selection, after exportops.Cursor) (int64, error) {
	o, err := orderOf(sel)
	if err != nil {
		return 0, err
	}
	return s.countRows(ctx, o, candidateFrom, after)
}

func (s *Store) countRows(ctx context.Context, o order, from string, after exportops.Cursor) (total int64, err error) {
	parts, err := o.parts(after)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		var n int64
		query := s.sql(`SELECT count(*) ` + from + ` WHERE ` + p.where)
		if err := s.read.QueryRowContext(ctx, query, p.args...).Scan(&n); err != nil {
			return 0, s.explain(err)
		}
		total += n
	}
	return total, nil
}

// KeyRows implements exportops.DeletionStore.
func (s *Store) KeyRows(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error] {
	query := `SELECT coalesce(export_id, ''), coalesce(user_id, ''), status, file_url FROM {logs}
		WHERE status IN ('completed', 'queued', 'processing') AND file_url > ''`
	var args []any
	if !since.IsZero() {
		query = `SELECT coalesce(export_id, ''), coalesce(user_id, ''), status, file_url FROM {logs}
			WHERE timestamp >= ? AND +status IN ('completed', 'queued', 'processing') AND file_url > ''`
		args = append(args, since.String())
	}
	return s.keyRows(ctx, s.read, query, args...)
}
