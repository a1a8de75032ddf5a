package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// RecordMetrics implements exportops.MetricStore.
func (s *Store) RecordMetrics(ctx context.Context, batch []exportops.Metric) (receipts []exportops.Receipt, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	const most = 5
	for range most {
		err = s.again(ctx, func() error {
			return s.tx(ctx, func(tx pgx.Tx) error {
				r := recording{tx: tx, batch: batch, known: map[metricKey]*exportops.Metric{}}
				if err := r.record(ctx); err != nil {
					return fmt.Errorf("record metrics: %w", err)
				}
				receipts = r.receipts
				return s.recount(ctx, tx, r.touched, r.changes)
			})
		})
		if !errors.Is(err, errGone) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

// errGone says that a metric was deleted with its row between two looks at it.
var errGone = errors.New("a metric of the same key was deleted meanwhile")

// metricKey is what a metric is known by.
type metricKey struct {
	export  string
	status  exportops.Status
	attempt int64
}

func keyOf(m *exportops.Metric) metricKey { return metricKey{m.ExportID, m.Status, m.Attempt} }

// recording is the transaction of one batch.
type recording struct {
	tx       pgx.Tx
	batch    []exportops.Metric
	receipts []exportops.Receipt
	known    map[metricKey]*exportops.Metric // what is stored of a key as measured
	touched  []string                        // exports with a new metric
	changes  []exportops.Delta               // what replaced metrics take from the rollups
}

// record goes through the batch as if its metrics came one after the other: of
// those with one key, the first is stored and the others are compared with it.
func (r *recording) record(ctx context.Context) error {
	exports := make([]string, len(r.batch))
	first := make([]*exportops.Metric, 0, len(r.batch))
	for i := range r.batch {
		m := &r.batch[i]
		exports[i] = m.ExportID
		if k := keyOf(m); r.known[k] == nil {
			r.known[k], first = m, append(first, m)
		}
	}
	if err := takeTurns(ctx, r.tx, exports); err != nil {
		return err
	}
	fresh, err := r.insert(ctx, first)
	if err != nil {
		return err
	}
	if len(fresh) < len(first) {
		var taken []*exportops.Metric
		for _, m := range first {
			if !fresh[keyOf(m)] {
				taken = append(taken, m)
			}
		}
		if err := r.compare(ctx, taken, fresh); err != nil {
			return err
		}
	}
	r.receipts = make([]exportops.Receipt, len(r.batch))
	for i := range r.batch {
		m := &r.batch[i]
		k := keyOf(m)
		if fresh[k] {
			fresh[k], r.receipts[i].New = false, true
			r.touched = append(r.touched, m.ExportID)
			continue
		}
		r.receipts[i].Err = m.Conflict(r.known[k])
	}
	return nil
}

// insert stores metrics whose key is not taken, and returns the keys of those.
func (r *recording) insert(ctx context.Context, list []*exportops.Metric) (map[metricKey]bool, error) {
	v := columnsOfMetrics(list)
	rows, err := r.tx.Query(ctx, `
		INSERT INTO exportops.export_metrics (source, received_at, export_id, user_id, format, status, attempt,
			conversation_count, duration_ms, file_size_bytes, error_type, error_message, timestamp)
		SELECT 'measured', now(), n.* FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[],
			$6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::timestamptz[]) n
		ON CONFLICT (export_id, status, attempt) DO NOTHING RETURNING export_id::text, status, attempt`, v.all()...)
	if err != nil {
		return nil, err
	}
	fresh := make(map[metricKey]bool, len(list))
	var k metricKey
	_, err = pgx.ForEachRow(rows, []any{&k.export, (*string)(&k.status), &k.attempt}, func() error {
		fresh[k] = true
		return nil
	})
	return fresh, err
}

// compare reads what has the keys of metrics. What was observed is replaced, and
// its key is fresh then; what was measured stays known.
func (r *recording) compare(ctx context.Context, list []*exportops.Metric, fresh map[metricKey]bool) error {
	exports, statuses, attempts := make([]string, len(list)), make([]string, len(list)), make([]int64, len(list))
	for i, m := range list {
		exports[i], statuses[i], attempts[i] = m.ExportID, string(m.Status), m.Attempt
	}
	rows, err := r.tx.Query(ctx, `
		SELECT m.id, m.source, m.export_id::text, m.attempt, m.error_type, m.error_message,`+countedColumns+`
		FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS n (export_id, status, attempt)
			JOIN exportops.export_metrics m ON m.export_id = n.export_id AND m.status = n.status AND m.attempt = n.attempt`,
		exports, statuses, attempts)
	if err != nil {
		return err
	}
	var id int64
	var source string
	var have exportops.Metric
	var c counted
	found := 0
	var ids []int64
	var replaced []*exportops.Metric
	_, err = pgx.ForEachRow(rows, append([]any{&id, &source, &have.ExportID, &have.Attempt, &have.ErrorType, &have.ErrorMessage},
		c.columns()...), func() error {
		found++
		m := have
		m.UserID, m.Format, m.Status, m.ConversationCount = *c.user, exportops.Format(*c.format), exportops.Status(*c.status), *c.conversations
		m.DurationMS, m.FileSizeBytes = c.duration, c.size
		k := keyOf(&m)
		if source == string(exportops.Measured) {
			r.known[k] = &m
			return nil
		}
		ids, replaced, fresh[k] = append(ids, id), append(replaced, r.known[k]), true
		o, hour, err := c.outcome()
		if !hour.IsZero() {
			r.changes = append(r.changes, exportops.Delta{Hour: hour, Old: o})
		}
		return err
	})
	if err != nil {
		return err
	}
	if found != len(list) {
		return errGone // rows are deleted without taking turns
	}
	return r.replace(ctx, ids, replaced)
}

// replace puts what was measured in place of what was observed.
func (r *recording) replace(ctx context.Context, ids []int64, list []*exportops.Metric) error {
	if len(ids) == 0 {
		return nil
	}
	v := columnsOfMetrics(list)
	tag, err := r.tx.Exec(ctx, `
		UPDATE exportops.export_metrics AS m SET source = 'measured', outcome = false, counted_hour = NULL,
			user_id = n.user_id, format = n.format, conversation_count = n.conversation_count, duration_ms = n.duration_ms,
			file_size_bytes = n.file_size_bytes, error_type = n.error_type, error_message = n.error_message, timestamp = n.timestamp
		FROM unnest($12::bigint[], $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
				$8::bigint[], $9::text[], $10::text[], $11::timestamptz[])
			AS n (id, export_id, user_id, format, status, attempt, conversation_count, duration_ms, file_size_bytes,
				error_type, error_message, timestamp)
		WHERE m.id = n.id`, append(v.all(), ids)...)
	if err == nil && tag.RowsAffected() != int64(len(ids)) {
		return errGone
	}
	return err
}

// metricColumns are metrics as arrays, one a column.
type metricColumns struct {
	exports, users, formats, statuses, times []string
	attempts, conversations                  []int64
	durations, sizes                         []*int64
	errorTypes, errorMessages                []*string
}

func columnsOfMetrics(list []*exportops.Metric) metricColumns {
	n := len(list)
	v := metricColumns{
		exports: make([]string, n), users: make([]string, n), formats: make([]string, n), statuses: make([]string, n),
		times: make([]string, n), attempts: make([]int64, n), conversations: make([]int64, n),
		durations: make([]*int64, n), sizes: make([]*int64, n), errorTypes: make([]*string, n), errorMessages: make([]*string, n),
	}
	for i, m := range list {
		v.exports[i], v.users[i], v.formats[i], v.statuses[i] = m.ExportID, m.UserID, string(m.Format), string(m.Status)
		v.times[i], v.attempts[i], v.conversations[i] = m.Timestamp.String(), m.Attempt, m.ConversationCount
		v.durations[i], v.sizes[i], v.errorTypes[i], v.errorMessages[i] = m.DurationMS, m.FileSizeBytes, m.ErrorType, m.ErrorMessage
	}
	return v
}

func (v metricColumns) all() []any {
	return []any{
		v.exports, v.users, v.formats, v.statuses, v.attempts, v.conversations, v.durations, v.sizes,
		v.errorTypes, v.errorMessages, v.times,
	}
}
