package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// exportColumns read a row of the export logs, for scanExport. A column of a
// foreign table may be declared as a time, which the driver would then parse:
// the cast keeps the text as it is.
const exportColumns = ` e.id, e.export_id, e.user_id, CAST(e.timestamp AS TEXT), e.format, CAST(e.config AS TEXT),
	e.conversation_count, e.file_size, e.status, e.file_url, CAST(e.expires_at AS TEXT), e.error_message,
	CAST(e.created_at AS TEXT), CAST(e.updated_at AS TEXT), {downloaded}`

// scanExport reads a row that any program may have written: what cannot be
// read comes out as zero or nil, and never stops the rows behind it. It also
// returns the timestamp as stored.
func scanExport(rows *sql.Rows) (e exportops.Export, timestamp string, err error) {
	var id, exportID, user, at, format, status, config, conversations, size, url, expires, message, created, updated, downloaded any
	err = rows.Scan(&id, &exportID, &user, &at, &format, &config, &conversations, &size, &status, &url, &expires, &message,
		&created, &updated, &downloaded)
	if err != nil {
		return e, "", err
	}
	count := func(v any) int64 {
		if n := asCount(v); n != nil {
			return *n
		}
		return 0
	}
	text := func(v any) *string {
		if v == nil {
			return nil
		}
		s := asText(v)
		return &s
	}
	instant := func(v any) exportops.Time {
		t, _ := storedTime(asText(v))
		return t
	}
	e = exportops.Export{
		ID: asText(id), ExportID: asText(exportID), UserID: asText(user), Timestamp: instant(at),
		Format: exportops.Format(asText(format)), Config: configOf(asText(config)), ConversationCount: count(conversations),
		FileSize: asCount(size), Status: exportops.Status(asText(status)), FileURL: text(url), ErrorMessage: text(message),
		CreatedAt: instant(created), UpdatedAt: instant(updated), DownloadedCount: count(downloaded),
	}
	if t, ok := storedTime(asText(expires)); ok {
		e.ExpiresAt = &t
	}
	return e, asText(at), nil
}

// configOf returns what was stored as JSON: text that is none becomes a string.
func configOf(s string) json.RawMessage {
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`null`) // a string always marshals
	}
	return b
}

// Export implements exportops.ExportStore.
func (s *Store) Export(ctx context.Context, exportID string) (exportops.Export, error) {
	e, err := s.export(ctx, s.read, exportID)
	return e, s.explain(err)
}

// export reads a row by its id, which may be written there in another case.
func (s *Store) export(ctx context.Context, q queryer, exportID string) (exportops.Export, error) {
	e, err := s.exportWhere(ctx, q, `e.export_id = ?`, exportID)
	if exportops.IsKind(err, exportops.KindNotFound) {
		e, err = s.exportWhere(ctx, q, `e.export_id IN (`+spellings("{logs}", "export_id", "?")+`)`, exportID)
	}
	return e, err
}

func (s *Store) exportWhere(ctx context.Context, q queryer, where, exportID string) (e exportops.Export, err error) {
	rows, err := q.QueryContext(ctx, s.sql(`SELECT`+exportColumns+` FROM {logs} e WHERE `+where+` LIMIT 1`), exportID)
	if err != nil {
		return e, fmt.Errorf("read export: %w", err)
	}
	found := false
	err = scanAll(rows, func() error {
		found = true
		e, _, err = scanExport(rows)
		return err
	})
	if err != nil {
		return e, fmt.Errorf("read export: %w", err)
	}
	if !found {
		return e, &exportops.Error{Kind: exportops.KindNotFound, Field: "export_id", Message: "there is no such export"}
	}
	return e, nil
}

// CreateExport implements exportops.ExportStore. An id that is missing is made
// up; created_at that is missing is the timestamp, and updated_at created_at.
func (s *Store) CreateExport(ctx context.Context, e exportops.Export) (created exportops.Export, err error) {
	if e.DownloadedCount != 0 && !s.countsDownloads() {
		return created, noDownloads(s.table)
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		known, err := s.spelt(ctx, tx, e.ExportID)
		if err != nil {
			return err
		}
		var at exportops.Time
		if known == "" {
			at, _, err = s.insertExport(ctx, tx, e, "")
		}
		if known != "" || isUnique(err) {
			return &exportops.Error{
				Kind: exportops.KindConflict, Field: "export_id", Message: "there is an export with this id", Err: err,
				Hint: "change it with PATCH, or choose another id",
			}
		}
		if err != nil {
			return fmt.Errorf("insert export: %w", refused(err))
		}
		if err := s.settleRow(ctx, tx, e.ExportID, at); err != nil {
			return err
		}
		created, err = s.export(ctx, tx, e.ExportID)
		return err
	})
	return created, err
}

// spelt returns an export's id as its row has it, in whichever case; "" without a row.
func (s *Store) spelt(ctx context.Context, tx *sql.Tx, exportID string) (id string, err error) {
	err = tx.QueryRowContext(ctx, s.sql(`SELECT e.export_id FROM {logs} e
		WHERE e.export_id IN (`+spellings("{logs}", "export_id", "?")+`) LIMIT 1`), exportID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for the export: %w", err)
	}
	return id, nil
}

// insertExport adds a row, with what is missing filled in, and returns its
// updated_at and how many rows were added: 0 or 1 where onConflict lets a row
// that is in the way stay.
func (s *Store) insertExport(ctx context.Context, tx *sql.Tx, e exportops.Export, onConflict string) (exportops.Time, int64, error) {
	if e.ID == "" {
		e.ID = exportops.NewID()
	}
	if e.CreatedAt.IsZero() {
		e.CreatedAt = e.Timestamp
	}
	if e.UpdatedAt.IsZero() {
		e.UpdatedAt = e.CreatedAt
	}
	columns := []string{
		"id", "export_id", "user_id", "timestamp", "format", "config", "conversation_count", "file_size",
		"status", "file_url", "expires_at", "error_message", "created_at", "updated_at",
	}
	args := []any{
		e.ID, e.ExportID, e.UserID, e.Timestamp.String(), string(e.Format), string(e.Config), e.ConversationCount,
		e.FileSize, string(e.Status), e.FileURL, timeText(e.ExpiresAt), e.ErrorMessage, e.CreatedAt.String(), e.UpdatedAt.String(),
	}
	if s.countsDownloads() {
		columns, args = append(columns, "downloaded_count"), append(args, e.DownloadedCount)
	}
	res, err := tx.ExecContext(ctx, s.sql(`INSERT INTO {logs} (`+strings.Join(columns, ", ")+`)
		VALUES (?`+strings.Repeat(", ?", len(args)-1)+`) `+onConflict), args...)
	if err != nil {
		return e.UpdatedAt, 0, err
	}
	n, err := res.RowsAffected()
	return e.UpdatedAt, n, err
}

// settleRow brings metrics in line with a row that was just written: a
// finished one is frozen, and metrics that came before it move to its hour.
func (s *Store) settleRow(ctx context.Context, tx *sql.Tx, exportID string, now exportops.Time) error {
	if _, err := s.observe(ctx, tx, now, `e.export_id = ?`, exportID); err != nil {
		return err
	}
	return s.place(ctx, tx, []string{exportID})
}

// UpdateExport implements exportops.ExportStore.
func (s *Store) UpdateExport(ctx context.Context, exportID string, u exportops.ExportUpdate, expiry exportops.ExpiryOf,
	now exportops.Time,
) (updated exportops.Export, err error) {
	if u.DownloadedCount != nil && !s.countsDownloads() {
		return updated, noDownloads(s.table)
	}
	set, args := []string{"updated_at = ?"}, []any{now.String()}
	change := func(column string, given bool, v any) {
		if given {
			set, args = append(set, column+" = ?"), append(args, v)
		}
	}
	change("status", u.Status != nil, (*string)(u.Status))
	change("conversation_count", u.ConversationCount != nil, u.ConversationCount)
	change("file_size", u.FileSize != nil, u.FileSize)
	change("file_url", u.FileURL != nil, u.FileURL)
	change("expires_at", u.ExpiresAt != nil, timeText(u.ExpiresAt))
	change("error_message", u.ErrorMessage != nil, u.ErrorMessage)
	change("downloaded_count", u.DownloadedCount != nil, u.DownloadedCount)
	err = s.tx(ctx, func(tx *sql.Tx) error {
		was, err := s.export(ctx, tx, exportID)
		if err != nil {
			return err
		}
		id := was.ExportID // as it is written there
		if err := s.unclaimed(ctx, tx, id); err != nil {
			return err
		}
		set, args := slices.Clone(set), slices.Clone(args)
		if u.Completes() && expiry != nil && was.Status != exportops.Completed { // else it has had its promise, which may be never
			given := "coalesce(expires_at, ?)"
			if was.ExpiryOver(now) {
				given = "?"
			}
			set, args = append(set, "expires_at = "+given), append(args, timeText(expiry(u.Apply(was))))
		}
		_, err = tx.ExecContext(ctx, s.sql(`UPDATE {logs} SET `+strings.Join(set, ", ")+` WHERE export_id = ?`),
			append(args, id)...)
		if err != nil {
			return fmt.Errorf("update export: %w", err)
		}
		if err := s.settleRow(ctx, tx, id, now); err != nil {
			return err
		}
		updated, err = s.export(ctx, tx, id)
		return err
	})
	return updated, err
}

// unclaimed refuses to change an export whose file a cleanup is deleting: what
// the claim saw must stay true until its outcome is known.
func (s *Store) unclaimed(ctx context.Context, tx *sql.Tx, exportID string) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM exportops_deletions WHERE export_id = ? AND state = 'claimed' LIMIT 1`,
		exportID).Scan(&one)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for a claim: %w", err)
	}
	return &exportops.Error{
		Kind: exportops.KindConflict, Field: "export_id",
		Message: "the export's file is being deleted", Hint: "try again in a minute",
	}
}

// countsDownloads reports whether the table has a downloaded_count.
func (s *Store) countsDownloads() bool { return s.sql("{downloaded}") != "0" }

func noDownloads(table string) error {
	return exportops.Invalid("downloaded_count", "table %s has no such column", table)
}
