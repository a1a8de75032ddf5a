package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

// Exports implements exportops.ExportStore.
func (s *Store) Exports(ctx context.Context, f exportops.ExportFilter) ([]exportops.Export, string, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = exportops.DefaultPage
	}
	limit = min(limit, exportops.MaxPage)
	query, args, err := listExports(f)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.read.QueryContext(ctx, s.sql(query), append(args, limit+1)...)
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("list exports: %w", err))
	}
	page, next := []exportops.Export{}, ""
	var last [2]string
	err = scanAll(rows, func() error {
		e, at, err := scanExport(rows)
		if err != nil {
			return err
		}
		if len(page) == limit {
			next, err = exportCursor(last)
			return err
		}
		page, last = append(page, e), [2]string{at, e.ID}
		return nil
	})
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("list exports: %w", err))
	}
	return page, next, nil
}

// listExports builds the query of one page. A user's exports, failures and
// those under way are few and found by their index; everything else walks the
// index of timestamps, newest first, and stops when the page is full. A unary
// plus keeps the planner from choosing otherwise.
func listExports(f exportops.ExportFilter) (query string, args []any, err error) {
	var where []string
	and := func(cond string, v ...any) {
		where, args = append(where, cond), append(args, v...)
	}
	few := f.UserID != "" || f.Status == exportops.Failed || f.Status.InProgress()
	time := "e.timestamp"
	if few {
		time = "+e.timestamp"
	}
	if f.UserID != "" {
		and(ofUser, f.UserID)
	}
	switch {
	case f.Status == "":
	case few && f.UserID == "":
		and(`e.status = ?`, string(f.Status))
	default:
		and(`+e.status = ?`, string(f.Status))
	}
	if f.Format != "" {
		and(`+e.format = ?`, string(f.Format))
	}
	if !f.From.IsZero() {
		and(time+` >= ?`, f.From.String())
	}
	if !f.To.IsZero() {
		and(time+` < ?`, f.To.String())
	}
	if f.Cursor != "" {
		at, err := parseExportCursor(f.Cursor)
		if err != nil {
			return "", nil, err
		}
		and(time+` <= ? AND (+e.timestamp < ? OR e.id < ?)`, at[0], at[0], at[1])
	}
	query = `SELECT` + exportColumns + ` FROM {logs} e`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return query + ` ORDER BY ` + time + ` DESC, e.id DESC LIMIT ?`, args, nil
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
		return place, exportops.Invalid("cursor", "it is none that was returned with a page")
	}
	return place, nil
}
