package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
)

// exportColumns read a row of the export logs, for scanExport.
const exportColumns = ` e.id::text, coalesce(e.export_id::text, ''), coalesce(e.user_id::text, ''), e.timestamp::text,
	coalesce(e.format::text, ''), coalesce(e.config::text, 'null'), greatest(coalesce(e.conversation_count, 0), 0),
	CASE WHEN e.file_size >= 0 THEN e.file_size END, coalesce(e.status::text, ''), e.file_url, e.expires_at::text,
	e.error_message, e.created_at::text, e.updated_at::text, {downloaded}`

// scanExport reads a row: a time that nobody can read comes out as zero or nil,
// and does not stop the rows behind it. It also returns the timestamp as stored.
func scanExport(row pgx.Row) (e exportops.Export, timestamp string, err error) {
	var at, expires, created, updated *string
	var config []byte
	err = row.Scan(&e.ID, &e.ExportID, &e.UserID, &at, (*string)(&e.Format), &config, &e.ConversationCount, &e.FileSize,
		(*string)(&e.Status), &e.FileURL, &expires, &e.ErrorMessage, &created, &updated, &e.DownloadedCount)
	if err != nil {
		return e, "", err
	}
	instant := func(text *string) (t exportops.Time) {
		if text != nil {
			t, _ = storedTime(*text)
		}
		return t
	}
	e.Timestamp, e.CreatedAt, e.UpdatedAt = instant(at), instant(created), instant(updated)
	if t := instant(expires); !t.IsZero() {
		e.ExpiresAt = &t
	}
	if at != nil {
		timestamp = *at
	}
	var compact bytes.Buffer // jsonb is printed with spaces that nobody wrote
	if err := json.Compact(&compact, config); err != nil {
		return e, timestamp, fmt.Errorf("config of export %s: %w", e.ExportID, err)
	}
	e.Config = compact.Bytes()
	return e, timestamp, nil
}

// Export implements exportops.ExportStore.
func (s *Store) Export(ctx context.Context, exportID string) (e exportops.Export, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		e, err = s.export(ctx, tx, exportID)
		return err
	})
	return e, err
}

func (s *Store) export(ctx context.Context, tx pgx.Tx, exportID string) (e exportops.Export, err error) {
	e, _, err = scanExport(tx.QueryRow(ctx, s.sql(`SELECT`+exportColumns+` FROM {logs} e WHERE e.export_id = $1::uuid LIMIT 1`),
		userArg(exportID)))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return e, noExport()
	case err != nil:
		return e, fmt.Errorf("read export: %w", err)
	}
	return e, nil
}

func noExport() error {
	return &exportops.Error{Kind: exportops.KindNotFound, Field: "export_id", Message: "there is no such export"}
}

// CreateExport implements exportops.ExportStore. An id that is missing is made
// up; created_at that is missing is the timestamp, and updated_at created_at.
func (s *Store) CreateExport(ctx context.Context, e exportops.Export) (created exportops.Export, err error) {
	if e.DownloadedCount != 0 && !s.downloads {
		return created, noDownloads(s.table)
	}
	list := []exportops.Export{e}
	complete(list)
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			added, err := s.insertExports(ctx, tx, list, "")
			if code(err) == uniqueViolation {
				return &exportops.Error{
					Kind: exportops.KindConflict, Field: "export_id", Message: "there is an export with this id", Err: err,
					Hint: "change it with PATCH, or choose another id",
				}
			}
			if err != nil {
				return refused(err)
			}
			if !added[0] {
				return s.unpassed("a row that was added is not there")
			}
			if err := s.freeze(ctx, tx, list[0].UpdatedAt, []string{list[0].ExportID}); err != nil {
				return err
			}
			created, err = s.export(ctx, tx, list[0].ExportID)
			return err
		})
	})
	if err != nil {
		return exportops.Export{}, err
	}
	return created, nil
}

// complete fills in what may be missing, in a list that is the store's own.
func complete(list []exportops.Export) {
	for i := range list {
		e := &list[i]
		if e.ID == "" {
			e.ID = exportops.NewID()
		}
		for _, id := range []*string{&e.ID, &e.ExportID, &e.UserID} {
			*id = strings.ToLower(*id) // as Postgres prints it
		}
		if e.CreatedAt.IsZero() {
			e.CreatedAt = e.Timestamp
		}
		if e.UpdatedAt.IsZero() {
			e.UpdatedAt = e.CreatedAt
		}
	}
}

// code returns what Postgres calls an error, or "".
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// refused tells what the application's table does not take: it may have
// constraints of its own.
func refused(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == "23503":
		return &exportops.Error{
			Kind: exportops.KindInvalid, Field: "user_id", Message: "the export logs take exports of users that exist alone", Err: err,
		}
	case e.Code == "23514", e.Code == "23502", strings.HasPrefix(e.Code, "22"): // values that a type does not hold
		return &exportops.Error{
			Kind: exportops.KindInvalid, Field: e.ColumnName, Message: "the table of export logs refuses the row", Err: err,
		}
	}
	return err
}

// insertExports adds rows, and says of each whether it was added: not where
// onConflict lets a row that is in the way stay.
func (s *Store) insertExports(ctx context.Context, tx pgx.Tx, list []exportops.Export, onConflict string) ([]bool, error) {
	n := len(list)
	text := func(of func(*exportops.Export) string) []string {
		out := make([]string, n)
		for i := range list {
			out[i] = of(&list[i])
		}
		return out
	}
	maybe := func(of func(*exportops.Export) *string) []*string {
		out := make([]*string, n)
		for i := range list {
			out[i] = of(&list[i])
		}
		return out
	}
	counts, sizes, downloads := make([]int64, n), make([]*int64, n), make([]int64, n)
	for i, e := range list {
		counts[i], sizes[i], downloads[i] = e.ConversationCount, e.FileSize, e.DownloadedCount
	}
	args := []any{
		text(func(e *exportops.Export) string { return e.ID }), text(func(e *exportops.Export) string { return e.ExportID }),
		text(func(e *exportops.Export) string { return e.UserID }), text(func(e *exportops.Export) string { return e.Timestamp.String() }),
		text(func(e *exportops.Export) string { return string(e.Format) }), text(func(e *exportops.Export) string { return string(e.Config) }),
		counts, sizes, text(func(e *exportops.Export) string { return string(e.Status) }),
		maybe(func(e *exportops.Export) *string { return e.FileURL }), maybe(func(e *exportops.Export) *string { return timeText(e.ExpiresAt) }),
		maybe(func(e *exportops.Export) *string { return e.ErrorMessage }),
		text(func(e *exportops.Export) string { return e.CreatedAt.String() }), text(func(e *exportops.Export) string { return e.UpdatedAt.String() }),
	}
	column, value, list15 := "", "", "NULL::bigint[]"
	if s.downloads {
		column, value, list15 = ", downloaded_count", ", n.downloaded_count", "$15::bigint[]"
		args = append(args, downloads)
	}
	// Postgres writes json into a column of jsonb too.
	rows, err := tx.Query(ctx, s.sql(`
		INSERT INTO {logs} AS e (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
			expires_at, error_message, created_at, updated_at`+column+`)
		SELECT n.id, n.export_id, n.user_id, n.timestamp, n.format, n.config, n.conversation_count, n.file_size, n.status,
			n.file_url, n.expires_at, n.error_message, n.created_at, n.updated_at`+value+`
		FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::json[], $7::bigint[], $8::bigint[],
				$9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::timestamptz[], $14::timestamptz[], `+list15+`)
			WITH ORDINALITY AS n (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
				expires_at, error_message, created_at, updated_at, downloaded_count, at)
		ORDER BY n.at `+onConflict+` RETURNING e.id::text, e.export_id::text`), args...)
	if err != nil {
		return nil, err
	}
	// What comes back is in the order of what was handed in, with gaps.
	added, i := make([]bool, n), 0
	var id, export string
	_, err = pgx.ForEachRow(rows, []any{&id, &export}, func() error {
		for ; i < n; i++ {
			if list[i].ID == id && list[i].ExportID == export {
				added[i] = true
				i++
				return nil
			}
		}
		return s.unpassed("a row that was added came back as another")
	})
	return added, err
}

// UpdateExport implements exportops.ExportStore. The row is locked first: a
// cleanup that is about to claim it comes before or after.
func (s *Store) UpdateExport(ctx context.Context, exportID string, u exportops.ExportUpdate, expiry exportops.ExpiryOf,
	now exportops.Time,
) (updated exportops.Export, err error) {
	if u.DownloadedCount != nil && !s.downloads {
		return updated, noDownloads(s.table)
	}
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			locked, err := s.lockRows(ctx, tx, `e.export_id = ANY($1::uuid[])`, ``, known([]string{exportID}))
			if err != nil {
				return err
			}
			if len(locked) == 0 {
				return noExport()
			}
			if err := unclaimed(ctx, tx, exportID); err != nil {
				return err
			}
			var expires *exportops.Time
			over := false // that of the row is
			if u.Completes() && expiry != nil {
				was, err := s.export(ctx, tx, exportID)
				if err != nil {
					return err
				}
				if was.Status != exportops.Completed { // else it has had its promise, which may be never
					expires, over = expiry(u.Apply(was)), was.ExpiryOver(now)
				}
			}
			set, args := changes(u, expires, over, now)
			_, err = tx.Exec(ctx, s.sql(`UPDATE {logs} AS e SET `+set+` WHERE e.export_id = $1::uuid`), append([]any{exportID}, args...)...)
			if err != nil {
				return fmt.Errorf("update export: %w", refused(err))
			}
			if err := s.freeze(ctx, tx, now, []string{exportID}); err != nil {
				return err
			}
			updated, err = s.export(ctx, tx, exportID)
			return err
		})
	})
	if err != nil {
		return exportops.Export{}, err
	}
	return updated, nil
}

// changes returns what an update sets, with its arguments from $2 on. The expiry takes
// the place of none, or of one that is over.
func changes(u exportops.ExportUpdate, expires *exportops.Time, over bool, now exportops.Time) (set string, args []any) {
	var list []string
	change := func(column, value, kind string, v any) {
		args = append(args, v)
		list = append(list, column+" = "+strings.Replace(value, "?", fmt.Sprintf("$%d::%s", len(args)+1, kind), 1))
	}
	change("updated_at", "?", "timestamptz", now.String())
	if u.Status != nil {
		change("status", "?", "text", string(*u.Status))
	}
	if u.ConversationCount != nil {
		change("conversation_count", "?", "bigint", *u.ConversationCount)
	}
	if u.FileSize != nil {
		change("file_size", "?", "bigint", *u.FileSize)
	}
	if u.FileURL != nil {
		change("file_url", "?", "text", *u.FileURL)
	}
	if u.ErrorMessage != nil {
		change("error_message", "?", "text", *u.ErrorMessage)
	}
	if u.DownloadedCount != nil {
		change("downloaded_count", "?", "bigint", *u.DownloadedCount)
	}
	switch {
	case u.ExpiresAt != nil:
		change("expires_at", "?", "timestamptz", u.ExpiresAt.String())
	case over:
		change("expires_at", "?", "timestamptz", timeText(expires))
	case expires != nil:
		change("expires_at", "coalesce(e.expires_at, ?)", "timestamptz", expires.String())
	}
	return strings.Join(list, ", "), args
}

// unclaimed refuses to change an export whose file a cleanup is deleting: what
// the claim saw must stay true until its outcome is known.
func unclaimed(ctx context.Context, tx pgx.Tx, exportID string) error {
	var claimed bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.deletions
		WHERE export_id = $1::uuid AND state = 'claimed')`, exportID).Scan(&claimed)
	if err != nil {
		return fmt.Errorf("look for a claim: %w", err)
	}
	if claimed {
		return &exportops.Error{
			Kind: exportops.KindConflict, Field: "export_id",
			Message: "the export's file is being deleted", Hint: "try again in a minute",
		}
	}
	return nil
}

func noDownloads(table string) error {
	return exportops.Invalid("downloaded_count", "table %s has no such column", table)
}
