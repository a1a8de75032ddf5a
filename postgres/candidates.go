package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// candidateColumns reads rows that any program may have written, with the
// ledger's entry for the same generation of the row. {config} is null unless rules
// ask for something of it.
var candidateColumns = `
	coalesce(e.id::text, ''), coalesce(e.export_id::text, ''), coalesce(e.user_id::text, ''), coalesce(e.status::text, ''),
	e.file_url, e.expires_at::text, coalesce(e.created_at::text, ''), coalesce(e.timestamp::text, ''), e.file_size,
	coalesce(e.format::text, ''), {config}, ` + heldBy("e.export_id", "e.user_id") + `,
	d.id, d.state, d.attempts, d.failures, d.error, d.run_id, d.claimed_at, d.finished_at`

const candidateFrom = `
	FROM {logs} e` + withLedger

// withLedger finds the newest entry by the index on the export: in the order of
// the plain id, the planner might walk through the ledger backwards for each row.
const withLedger = ` LEFT JOIN LATERAL (
		SELECT x.* FROM exportops.deletions x
		WHERE x.export_id = e.export_id AND x.file_url IS NOT DISTINCT FROM e.file_url
			AND x.expires_at IS NOT DISTINCT FROM e.expires_at
		ORDER BY x.id + 0 DESC LIMIT 1) d ON true`

// readableFrom is the first time that the domain can read; -infinity and the
// years before say nothing.
const readableFrom = `'0001-01-01 00:00:00+00'`

// order is how a selection walks through the table: by an index of the
// contract, with ties broken by the row's id.
type order struct {
	where  string // with $1, $2 … for args
	args   []any
	sort   string // the column of the index, or "" for the id alone
	ledger string // what the ledger must say of a row as well, as d; "" for anything
}

func orderOf(s exportops.Selection) (order, error) {
	switch s.Mode {
	case exportops.ByExpiry:
		return order{
			where: `e.expires_at <= $1::timestamptz AND e.expires_at >= ` + readableFrom + ` AND e.status = 'completed'`,
			args:  []any{s.Now.String()}, sort: "expires_at",
		}, nil
	case exportops.ByAge:
		return order{ // no index is in the order of created_at
			where: `e.status = 'completed' AND e.created_at < $1::timestamptz AND e.created_at >= ` + readableFrom,
			args:  []any{s.Cut.String()},
		}, nil
	case exportops.ByLogCleanup:
		return order{
			where: `e.timestamp < $1::timestamptz AND e.timestamp >= ` + readableFrom + ` AND e.status IN ('expired', 'failed')
				AND e.file_url > ''`,
			args: []any{s.Cut.String()}, sort: "timestamp",
			ledger: `coalesce(d.state, '') NOT IN ('deleted', 'absent')`,
		}, nil
	case exportops.ByPolicy:
		return order{where: `true`}, nil
	case exportops.ByErasure:
		return order{
			where:  `e.user_id = $1::uuid AND e.status NOT IN ('queued', 'processing') AND e.file_url > ''`,
			args:   []any{userArg(s.UserID)},
			ledger: `NOT (e.status <> 'completed' AND coalesce(d.state, '') IN ('deleted', 'absent'))`,
		}, nil
	}
	return order{}, fmt.Errorf("no selection by %q", s.Mode)
}

// userArg is null for what is no id: it selects no row.
func userArg(id string) *string {
	id, err := exportops.ParseID("user_id", id)
	if err != nil {
		return nil
	}
	return &id
}

// place is a cursor: the value of the sorted column, to the microsecond, and the
// row's id.
type place struct {
	Sort string `json:"s,omitempty"`
	ID   string `json:"i"`
}

// after adds the condition that follows a cursor.
func (o order) after(c exportops.Cursor) (order, error) {
	if c == "" {
		return o, nil
	}
	var p place
	if err := json.Unmarshal([]byte(c), &p); err != nil {
		return o, fmt.Errorf("cursor %q: %w", c, err)
	}
	if o.sort == "" {
		return o.and(` AND e.id > ?::uuid`, p.ID), nil
	}
	return o.and(` AND (e.`+o.sort+`, e.id) > (?::timestamptz, ?::uuid)`, p.Sort, p.ID), nil
}

// upTo adds the condition that comes no further than a cursor.
func (o order) upTo(c exportops.Cursor) (order, error) {
	var p place
	if err := json.Unmarshal([]byte(c), &p); err != nil {
		return o, fmt.Errorf("cursor %q: %w", c, err)
	}
	return o.and(` AND (e.`+o.sort+`, e.id) <= (?::timestamptz, ?::uuid)`, p.Sort, p.ID), nil
}

// and adds a condition, with ? for its arguments.
func (o order) and(condition string, args ...any) order {
	o.args = append([]any{}, o.args...)
	for _, a := range args {
		o.args = append(o.args, a)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(o.args)), 1)
	}
	o.where += condition
	return o
}

// filter is all that is asked of a row; d is the ledger's entry where ledger is set.
func (o order) filter() string {
	if o.ledger == "" {
		return o.where
	}
	return o.where + ` AND ` + o.ledger
}

// counted are the rows to count: looking into the ledger for each takes ten times
// as long as counting them by an index.
func (o order) counted() string {
	if o.ledger == "" {
		return ` FROM {logs} e WHERE ` + o.where
	}
	return candidateFrom + ` WHERE ` + o.filter()
}

func (o order) by() string {
	if o.sort == "" {
		return ` ORDER BY e.id`
	}
	return ` ORDER BY e.` + o.sort + `, e.id`
}

func (o order) cursor(r candidateRow) exportops.Cursor {
	p := place{ID: r.ID}
	switch {
	case o.sort == "timestamp":
		p.Sort = r.timestamp
	case o.sort == "expires_at" && r.ExpiresAt != nil:
		p.Sort = *r.ExpiresAt
	}
	return p.cursor()
}

func (p place) cursor() exportops.Cursor {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // two texts cannot fail
	}
	return exportops.Cursor(b)
}

// candidateRow is a candidate with what only the store needs.
type candidateRow struct {
	exportops.Candidate
	timestamp string // to the microsecond
}

func (s *Store) scanCandidate(row pgx.Row, more ...any) (c candidateRow, err error) {
	var id *int64
	var state, reason, run, config *string
	var attempts, failures *int
	var claimed, finished *time.Time
	into := append([]any{
		&c.ID, &c.ExportID, &c.UserID, (*string)(&c.Status), &c.FileURL, &c.ExpiresAt, &c.CreatedAt, &c.timestamp,
		&c.FileSize, (*string)(&c.Format), &config, &c.Held, &id, &state, &attempts, &failures, &reason, &run,
		&claimed, &finished,
	}, more...)
	if err := row.Scan(into...); err != nil {
		return c, err
	}
	if config != nil {
		c.Config = exportops.ReadConfig([]byte(*config), s.opened.ConfigKeys)
	}
	c.ExpiresAt, c.timestamp = canonicalPtr(c.ExpiresAt), canonical(c.timestamp)
	c.CreatedAt, c.Timestamp = toMillis(canonical(c.CreatedAt)), toMillis(c.timestamp)
	if id != nil {
		c.Prior = &exportops.Deletion{
			ID: *id, ExportID: c.ExportID, State: exportops.DeletionState(*state),
			Attempts: *attempts, Failures: *failures, Error: *reason, RunID: *run,
			ClaimedAt: exportops.At(*claimed), FinishedAt: timePtr(finished),
		}
	}
	return c, nil
}

// scanCandidates reads the candidates that a query yields.
func (s *Store) scanCandidates(ctx context.Context, tx pgx.Tx, o order, query string, args ...any) (
	[]exportops.Candidate, error,
) {
	rows, err := tx.Query(ctx, s.sql(query), args...)
	if err != nil {
		return nil, fmt.Errorf("read candidates: %w", err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (exportops.Candidate, error) {
		r, err := s.scanCandidate(row)
		r.Cursor = o.cursor(r)
		return r.Candidate, err
	})
	if err != nil {
		return nil, fmt.Errorf("read candidates: %w", err)
	}
	return page, nil
}

// Candidates implements exportops.DeletionStore.
func (s *Store) Candidates(ctx context.Context, sel exportops.Selection, after exportops.Cursor, limit int) (
	page []exportops.Candidate, next exportops.Cursor, err error,
) {
	o, err := orderOf(sel)
	if err != nil {
		return nil, "", err
	}
	for part, err := range s.stretches(ctx, o, after, int64(limit)) {
		if err == nil {
			err = s.reading(ctx, func(tx pgx.Tx) error {
				more, err := s.scanCandidates(ctx, tx, part, `SELECT`+candidateColumns+candidateFrom+` WHERE `+part.filter()+part.by()+
					fmt.Sprintf(` LIMIT %d`, limit-len(page)), part.args...)
				page = append(page, more...)
				return err
			})
		}
		if err != nil {
			return nil, "", err
		}
		if len(page) == limit {
			break
		}
	}
	if len(page) == limit && limit > 0 {
		next = page[limit-1].Cursor
	}
	return page, next, nil
}

// CountCandidates implements exportops.DeletionStore.
func (s *Store) CountCandidates(ctx context.Context, sel exportops.Selection, after exportops.Cursor) (int64, error) {
	o, err := orderOf(sel)
	if err != nil {
		return 0, err
	}
	return s.countRows(ctx, o, after)
}

// CandidatesByID implements exportops.DeletionStore.
func (s *Store) CandidatesByID(ctx context.Context, exportIDs []string) (rows []exportops.Candidate, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err = s.candidatesByID(ctx, tx, exportIDs)
		return err
	})
	return rows, err
}

func (s *Store) candidatesByID(ctx context.Context, tx pgx.Tx, exportIDs []string) ([]exportops.Candidate, error) {
	ids := known(exportIDs)
	if len(ids) == 0 {
		return nil, nil
	}
	return s.scanCandidates(ctx, tx, order{}, `SELECT`+candidateColumns+candidateFrom+`
		WHERE e.export_id = ANY($1::uuid[])`, ids)
}
