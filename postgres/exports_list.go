package postgres

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Exports implements exportops.ExportStore.
func (s *Store) Exports(ctx context.Context, f exportops.ExportFilter) (page []exportops.Export, next string, err error) {
	limit := exportops.PageSize(f.Limit)
	query, args, err := listExports(f)
	if err != nil {
		return nil, "", err
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		page, next = []exportops.Export{}, ""
		rows, err := tx.Query(ctx, s.sql(query), append(args, limit+1)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var last [2]string
		for rows.Next() {
			e, at, err := scanExport(rows)
			if err != nil {
				return err
			}
			if len(page) == limit {
				next, err = exportCursor(last)
				return err
			}
			page, last = append(page, e), [2]string{at, e.ID}
		}
		return rows.Err()
	})
	switch c := code(err); {
	case f.Cursor != "" && (c == "22007" || c == "22008" || c == "22P02"):
		return nil, "", badCursor()
	case err != nil:
		return nil, "", fmt.Errorf("list exports: %w", err)
	}
	return page, next, nil
}

// listExports builds the query of one page. A user's exports are few and found
// by their index; for everything else the planner weighs the index of
// timestamps, newest first, against another. It takes few for many when one
// user has nearly all of the newest rows, so for a user the order is one that
// no index has.
func listExports(f exportops.ExportFilter) (query string, args []any, err error) {
	var where []string
	and := func(condition string, v ...any) {
		for _, a := range v {
			args = append(args, a)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	time := "e.timestamp"
	if f.UserID != "" {
		time = "(e.timestamp + interval '0')"
		and(`e.user_id = ?::uuid`, userArg(f.UserID))
	}
	if f.Status != "" {
		and(`e.status = ?`, string(f.Status))
	}
	if f.Format != "" {
		and(`e.format = ?`, string(f.Format))
	}
	if !f.From.IsZero() {
		and(`e.timestamp >= ?::timestamptz`, f.From.String())
	}
	if !f.To.IsZero() {
		and(`e.timestamp < ?::timestamptz`, f.To.String())
	}
	if f.Cursor != "" {
		at, err := parseExportCursor(f.Cursor)
		if err != nil {
			return "", nil, err
		}
		and(`(`+time+`, e.id) < (?::timestamptz, ?::uuid)`, at[0], at[1])
	}
	query = `SELECT` + exportColumns + ` FROM {logs} e`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return query + fmt.Sprintf(` ORDER BY %s DESC, e.id DESC LIMIT $%d`, time, len(args)+1), args, nil
}

// A cursor is the place of the last row of a page: its timestamp as stored, and
// its id.
func exportCursor(place [2]string) (string, error) {
	b, err := json.Marshal(place)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func parseExportCursor(s string) (place [2]string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &place)
	}
	if err != nil {
		return place, badCursor()
	}
	return place, nil
}

func badCursor() error {
	return exportops.Invalid("cursor", "it is none that was returned with a page")
}
