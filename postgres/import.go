package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ImportExports implements exportops.ExportStore.
func (s *Store) ImportExports(ctx context.Context, batch []exportops.Export, now exportops.Time) (
	receipts []exportops.Receipt, err error,
) {
	if len(batch) == 0 {
		return nil, nil
	}
	batch = slices.Clone(batch)
	complete(batch)
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			receipts, err = s.importExports(ctx, tx, batch, now)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

func (s *Store) importExports(ctx context.Context, tx pgx.Tx, batch []exportops.Export, now exportops.Time) (
	[]exportops.Receipt, error,
) {
	for i := range batch {
		if _, err := exportops.ParseID("id", batch[i].ID); err != nil {
			return nil, err
		}
	}
	added, err := s.insertExports(ctx, tx, batch, "ON CONFLICT DO NOTHING")
	if err != nil {
		return nil, fmt.Errorf("import exports: %w", refused(err))
	}
	receipts := make([]exportops.Receipt, len(batch))
	var exports []string
	var hours []exportops.Time
	for i := range batch {
		if receipts[i].New = added[i]; added[i] {
			exports, hours = append(exports, batch[i].ExportID), append(hours, batch[i].Timestamp.Hour())
		}
	}
	if err := s.compareExports(ctx, tx, batch, receipts); err != nil || len(exports) == 0 {
		return receipts, err
	}
	if err := takeTurns(ctx, tx, exports); err != nil {
		return nil, err
	}
	// Hours that were closed may have got exports that are under way.
	if _, err := dirty(ctx, tx, hours); err != nil {
		return nil, err
	}
	return receipts, s.freeze(ctx, tx, now, exports)
}

// compareExports says of rows that were not added whether the one in the way is
// the same export, in the milliseconds that an export has.
func (s *Store) compareExports(ctx context.Context, tx pgx.Tx, batch []exportops.Export, receipts []exportops.Receipt) error {
	var there []int64
	var e struct {
		ids, users, times, formats, configs, statuses, created []string
		counts                                                 []int64
		sizes                                                  []*int64
		urls, expires, errs                                    []*string
	}
	for i, x := range batch {
		if receipts[i].New {
			continue
		}
		there = append(there, int64(i))
		e.ids, e.users, e.times = append(e.ids, x.ExportID), append(e.users, x.UserID), append(e.times, x.Timestamp.String())
		e.formats, e.configs = append(e.formats, string(x.Format)), append(e.configs, string(x.Config))
		e.statuses, e.created = append(e.statuses, string(x.Status)), append(e.created, x.CreatedAt.String())
		e.counts, e.sizes, e.urls = append(e.counts, x.ConversationCount), append(e.sizes, x.FileSize), append(e.urls, x.FileURL)
		e.expires, e.errs = append(e.expires, timeText(x.ExpiresAt)), append(e.errs, x.ErrorMessage)
	}
	if len(there) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, s.sql(`
		SELECT n.i, e.export_id IS NOT NULL, coalesce(e.user_id = n.user_id AND `+toTheMillisecond("timestamp")+`
			AND e.format = n.format AND e.config::jsonb = n.config::jsonb AND e.conversation_count = n.conversation_count
			AND e.file_size IS NOT DISTINCT FROM n.file_size AND (e.status = n.status OR e.status = 'expired')
			AND e.file_url IS NOT DISTINCT FROM n.file_url AND `+toTheMillisecond("expires_at")+`
			AND e.error_message IS NOT DISTINCT FROM n.error_message AND `+toTheMillisecond("created_at")+`, false)
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
				$9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::timestamptz[])
			AS n (i, export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
				expires_at, error_message, created_at)
			LEFT JOIN {logs} e ON e.export_id = n.export_id`),
		there, e.ids, e.users, e.times, e.formats, e.configs, e.counts, e.sizes, e.statuses, e.urls, e.expires, e.errs, e.created)
	if err != nil {
		return fmt.Errorf("compare with what is there: %w", err)
	}
	var i int64
	var found, same bool
	_, err = pgx.ForEachRow(rows, []any{&i, &found, &same}, func() error {
		switch {
		case !found:
			receipts[i].Err = &exportops.Error{Kind: exportops.KindConflict, Field: "id", Message: "another export has this id"}
		case !same:
			receipts[i].Err = &exportops.Error{
				Kind: exportops.KindConflict, Field: "export_id", Message: "there is an export with this id and other content",
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare with what is there: %w", err)
	}
	return nil
}

func toTheMillisecond(column string) string {
	return `date_trunc('milliseconds', e.` + column + `) IS NOT DISTINCT FROM n.` + column
}
