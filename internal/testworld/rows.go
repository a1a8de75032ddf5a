package testworld

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// Row is a row of export_logs as any program may write it. Zero fields take
// the values of an export of four days ago, completed, whose file expired three
// days ago.
type Row struct {
	ExportID, UserID           string
	Timestamp, Created, Format string
	Status                     exportops.Status
	URL                        string // "" for null
	Expires                    string // "" for the default, Never for null
	Size                       int64  // 0 for null
	Error                      string // "" for null
}

// Never is a row without an expiry.
const Never = "never"

// User is whose exports they are where a row says nothing else.
const User = "5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"

// ID returns the n-th export id.
func ID(n int) string { return fmt.Sprintf("7f3c2a10-9b1e-4c55-8a54-%012x", n) }

// Ago is a time before the clock's, as it is stored.
func (w *World) Ago(d time.Duration) string { return exportops.At(w.Clock.Now().Add(-d)).String() }

// Day is as long as it says.
const Day = 24 * time.Hour

// Insert writes rows by plain SQL, as an application does.
func (w *World) Insert(rows ...Row) {
	w.Helper()
	tx, err := w.Store.Writer().BeginTx(w.Context(), nil)
	w.Must(err)
	st, err := tx.PrepareContext(w.Context(), `INSERT INTO export_logs (export_id, user_id, timestamp, format, config,
		conversation_count, file_size, status, file_url, expires_at, error_message, created_at, updated_at)
		VALUES (?, ?, ?, ?, '{}', 10, ?, ?, ?, ?, ?, ?, ?)`)
	w.Must(err)
	defer st.Close()
	for _, r := range rows {
		w.fill(&r)
		updated := r.Created
		if created, ok := exportops.ParseStoredTime(r.Created); ok {
			updated = exportops.At(created.Add(2 * time.Second)).String()
		}
		_, err := st.ExecContext(w.Context(), r.ExportID, r.UserID, r.Timestamp, r.Format, null(r.Size, 0), r.Status,
			null(r.URL, ""), null(r.Expires, Never), null(r.Error, ""), r.Created, updated)
		w.Must(err)
	}
	w.Must(tx.Commit())
}

func (w *World) fill(r *Row) {
	for field, value := range map[*string]string{
		&r.UserID: User, &r.Timestamp: w.Ago(4 * Day), &r.Format: string(exportops.JSONL),
		(*string)(&r.Status): string(exportops.Completed), &r.Expires: w.Ago(3 * Day),
	} {
		if *field == "" {
			*field = value
		}
	}
	if r.ExportID == "" {
		r.ExportID = exportops.NewID()
	}
	if r.Created == "" {
		r.Created = r.Timestamp
	}
}

func null[T comparable](v, none T) any {
	if v == none {
		return nil
	}
	return v
}

// Exec runs plain SQL.
func (w *World) Exec(query string, args ...any) {
	w.Helper()
	_, err := w.Store.Writer().ExecContext(w.Context(), query, args...)
	w.Must(err)
}

// Count returns the number a query yields.
func (w *World) Count(query string, args ...any) (n int64) {
	w.Helper()
	w.Must(w.Store.Writer().QueryRowContext(w.Context(), query, args...).Scan(&n))
	return n
}

// Statuses returns the status of every row, by export.
func (w *World) Statuses() map[string]exportops.Status {
	w.Helper()
	out := map[string]exportops.Status{}
	w.each(`SELECT export_id, status FROM export_logs`, func(rows *sql.Rows) error {
		var id string
		var status exportops.Status
		err := rows.Scan(&id, &status)
		out[id] = status
		return err
	})
	return out
}

// Status returns the status of one row, "" when it is gone.
func (w *World) Status(n int) exportops.Status {
	w.Helper()
	return w.Statuses()[ID(n)]
}

// Ledger returns the entries about one export, oldest first, as "state" or
// "state evidence".
func (w *World) Ledger(n int) []string {
	w.Helper()
	return w.Strings(fmt.Sprintf(`SELECT trim(state || ' ' || evidence) FROM exportops_deletions
		WHERE export_id = '%s' ORDER BY id`, ID(n)))
}

// Strings returns the one column a query yields.
func (w *World) Strings(query string) []string {
	w.Helper()
	var out []string
	w.each(query, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		out = append(out, s)
		return err
	})
	return out
}

// Dump returns everything the database holds, table by table, row by row.
func (w *World) Dump() []string {
	w.Helper()
	var tables, out []string
	w.each(`SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		tables = append(tables, name)
		return err
	})
	for _, table := range tables {
		w.each(`SELECT * FROM `+table, func(rows *sql.Rows) error {
			names, err := rows.Columns()
			if err != nil {
				return err
			}
			values := make([]any, len(names))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				return err
			}
			line := []any{table}
			for _, v := range values {
				line = append(line, *v.(*any))
			}
			out = append(out, fmt.Sprintln(line...))
			return nil
		})
	}
	return out
}

func (w *World) each(query string, row func(*sql.Rows) error) {
	w.Helper()
	rows, err := w.Store.Writer().QueryContext(w.Context(), query)
	w.Must(err)
	defer rows.Close()
	for rows.Next() {
		w.Must(row(rows))
	}
	w.Must(rows.Err())
}
