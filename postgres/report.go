package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Whatever decides what exports count as works in one order, so that replicas
// follow each other instead of waiting crosswise: rows of export_logs, the
// ledger, the turn of the exports, hours by their start, metrics.

// turns is how many exports can be decided about at once, at most: they are
// spread over so many locks.
const turns = 64

// takeTurns waits until nobody else decides what any of these exports counts as.
// Two attempts of one export that are recorded at the same instant do not see
// each other, and both would count. A lock for each export would fill the
// server's table of locks, so exports share some.
func takeTurns(ctx context.Context, tx pgx.Tx, exports []string) error {
	var taken [turns]bool
	for _, id := range exports {
		taken[turnOf(id)] = true
	}
	locks := make([]int32, 0, turns)
	for i, is := range taken {
		if is {
			locks = append(locks, int32(i))
		}
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, k) FROM unnest($2::int[]) k`, lockExports, locks); err != nil {
		return fmt.Errorf("wait for others that count exports: %w", err)
	}
	return nil
}

// turnOf spreads ids, which are random for the most part (FNV-1a).
func turnOf(id string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(id) {
		h = (h ^ uint32(c|' ')) * 16777619 // a letter of either case is the same id
	}
	return h % turns
}

// countedColumns are what a rollup takes of a metric, for scanCounted.
const countedColumns = ` m.counted_hour::text, m.user_id::text, m.format, m.conversation_count, m.status, m.duration_ms,
	m.file_size_bytes, CASE m.status WHEN 'failed' THEN coalesce(nullif(m.error_type, ''), 'Unknown') ELSE '' END`

// counted is a row of countedColumns.
type counted struct {
	hour, user, format, status, failure *string
	conversations, duration, size       *int64
}

func (c *counted) columns() []any {
	return []any{&c.hour, &c.user, &c.format, &c.conversations, &c.status, &c.duration, &c.size, &c.failure}
}

// outcome returns what is counted, and in which hour: none where nothing is. The
// columns of a metric that is not there are null.
func (c *counted) outcome() (o *exportops.Outcome, hour exportops.Time, err error) {
	if c.user == nil {
		return nil, hour, nil
	}
	o = &exportops.Outcome{
		UserID: *c.user, Format: exportops.Format(*c.format), Status: exportops.Status(*c.status), ErrorType: *c.failure,
		CountRange: exportops.CountRangeOf(*c.conversations), DurationMS: c.duration, SizeBytes: c.size,
	}
	if c.hour != nil {
		hour, err = timeOf(*c.hour)
	}
	o.Time = hour
	return o, hour, err
}

// report tells the rollups that outcomes change, in the transaction that changes
// them and before it does: hours become dirty and stay locked, and sealed ones,
// which can never be computed again, take the change as it is.
func (s *Store) report(ctx context.Context, tx pgx.Tx, changes []exportops.Delta) error {
	if len(changes) == 0 {
		return nil
	}
	byHour := map[string][]exportops.Delta{}
	hours := make([]exportops.Time, 0, len(changes))
	for _, c := range changes {
		h := c.Hour.String()
		byHour[h] = append(byHour[h], c)
		hours = append(hours, c.Hour)
	}
	sealed, err := dirty(ctx, tx, hours)
	if err != nil {
		return err
	}
	for _, h := range sealed {
		if err := applyDeltas(ctx, tx, h, byHour[h.String()]); err != nil {
			return fmt.Errorf("add to sealed hour %s: %w", h, err)
		}
	}
	return nil
}

// dirty says that the rollups of hours no longer are what their metrics add up
// to, and returns those that are sealed. It gives an hour without a state one,
// so that whoever is computing it loses the version check, and takes the days'
// rollups away. A sealed hour stays clean: its version alone rises, for whoever
// is computing its day.
func dirty(ctx context.Context, tx pgx.Tx, hours []exportops.Time) (sealed []exportops.Time, err error) {
	hours = slices.Clone(hours)
	slices.SortFunc(hours, func(a, b exportops.Time) int { return a.Compare(b.Time) })
	hours = slices.CompactFunc(hours, func(a, b exportops.Time) bool { return a.Equal(b.Time) })
	rows, err := tx.Query(ctx, `
		INSERT INTO exportops.rollup_hours AS h (start, version)
		SELECT n.start, 1 FROM unnest($1::timestamptz[]) WITH ORDINALITY AS n (start, at) ORDER BY n.at
		ON CONFLICT (start) DO UPDATE SET version = h.version + 1, clean = h.clean AND h.sealed
		RETURNING h.start::text, h.sealed`, timeTexts(hours))
	if err != nil {
		return nil, fmt.Errorf("mark hours dirty: %w", err)
	}
	var start string
	var is bool
	_, err = pgx.ForEachRow(rows, []any{&start, &is}, func() error {
		if !is {
			return nil
		}
		t, err := timeOf(start)
		sealed = append(sealed, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mark hours dirty: %w", err)
	}
	// The day's cells stay until they are replaced: whoever is about to read
	// them finds them a moment old rather than gone.
	_, err = tx.Exec(ctx, `DELETE FROM exportops.rollup_days WHERE start IN (
		SELECT date_trunc('day', n, 'UTC') FROM unnest($1::timestamptz[]) n)`, timeTexts(hours))
	if err != nil {
		return nil, fmt.Errorf("take away the days of dirty hours: %w", err)
	}
	return sealed, nil
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
