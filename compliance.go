package exportops

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ReportReader is what a compliance report reads.
type ReportReader interface {
	Exports(ctx context.Context, f ExportFilter) (page []Export, next string, err error)
	DeletionsOf(ctx context.Context, exportIDs []string) ([]Deletion, error)
	Holds(ctx context.Context, f HoldFilter) ([]Hold, error)
}

// reportRow is an export with those entries of the ledger, oldest first, that are
// about the file which it names now.
type reportRow struct {
	Export
	entries []Deletion
	kept    Retention // the log row
	held    bool      // an active hold covers it
}

// last is the entry that says what became of the file, nil without one.
func (r *reportRow) last() *Deletion {
	if len(r.entries) == 0 {
		return nil
	}
	return &r.entries[len(r.entries)-1]
}

// reportColumns are the columns of the compliance report, with what each says of
// an export.
var reportColumns = []struct {
	name string
	cell func(r *reportRow) string
}{
	{"export_id", func(r *reportRow) string { return r.ExportID }},
	{"user_id", func(r *reportRow) string { return r.UserID }},
	{"format", func(r *reportRow) string { return string(r.Format) }},
	{"asked_at", func(r *reportRow) string { return timeCell(&r.Timestamp) }},
	{"created_at", func(r *reportRow) string { return timeCell(&r.CreatedAt) }},
	{"expires_at", func(r *reportRow) string { return timeCell(r.ExpiresAt) }},
	{"status", func(r *reportRow) string { return string(r.Status) }},
	{"file_url", func(r *reportRow) string {
		if r.FileURL == nil {
			return ""
		}
		return *r.FileURL
	}},
	{"file_size", func(r *reportRow) string {
		if r.FileSize == nil {
			return ""
		}
		return strconv.FormatInt(*r.FileSize, 10)
	}},
	{"deletion", ofEntry(func(d *Deletion) string { return string(d.State) })},
	{"file_deleted_at", ofEntry(func(d *Deletion) string {
		if !d.State.Confirmed() {
			return ""
		}
		return timeCell(d.FinishedAt)
	})},
	{"deletion_mode", ofEntry(func(d *Deletion) string { return string(d.Mode) })},
	{"evidence", ofEntry(func(d *Deletion) string { return d.Evidence })},
	{"run_id", ofEntry(func(d *Deletion) string { return d.RunID })},
	{"bytes_freed", ofEntry(func(d *Deletion) string { return strconv.FormatInt(d.Bytes, 10) })},
	{"failures", ofEntry(func(d *Deletion) string { return strconv.Itoa(d.Failures) })},
	{"deletion_error", ofEntry(func(d *Deletion) string { return d.Error })},
	{"ledger_entry", ofEntry(func(d *Deletion) string { return strconv.FormatInt(d.ID, 10) })},
	{"held", func(r *reportRow) string { return strconv.FormatBool(r.held) }},
	{"log_kept_until", func(r *reportRow) string {
		if r.Timestamp.IsZero() {
			return "" // it could not be read, and never is old enough
		}
		until, _ := r.kept.After(r.Timestamp)
		return timeCell(&until)
	}},
}

func ofEntry(cell func(d *Deletion) string) func(*reportRow) string {
	return func(r *reportRow) string {
		if d := r.last(); d != nil {
			return cell(d)
		}
		return ""
	}
}

func timeCell(t *Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.String()
}

// ReportTerms say which exports a compliance report is of, and how long log rows are
// kept.
type ReportTerms struct {
	Span
	LogRetention time.Duration // where there is no policy
	Policy       *Policy       // takes its place; nil for none
	Now          Time          // at which the policy is asked
}

// logsOf is how long the log row of an export is kept.
func (t ReportTerms) logsOf(e Export) Retention {
	if t.Policy == nil {
		return KeepFor(t.LogRetention)
	}
	return t.Policy.Choose(e.Candidate(t.Policy.keys), t.Now).Logs
}

// WriteReport writes the compliance report as CSV (RFC 4180): a line for each
// export that was asked for in the span and still has its log row, newest first,
// with what became of its file. Memory is flat. It returns how many lines it
// wrote; after an error the report is not whole.
func WriteReport(ctx context.Context, w io.Writer, s ReportReader, terms ReportTerms) (lines int64, err error) {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	record := make([]string, len(reportColumns))
	for i, c := range reportColumns {
		record[i] = c.name
	}
	if err := out.Write(record); err != nil {
		return 0, fmt.Errorf("write the report: %w", err)
	}
	held, err := readHeld(ctx, s)
	if err != nil {
		return 0, err
	}
	f := ExportFilter{From: terms.From, To: terms.To, Limit: MaxPage}
	for {
		page, next, err := s.Exports(ctx, f)
		if err != nil {
			return lines, err
		}
		rows, err := withEntries(ctx, s, page)
		if err != nil {
			return lines, err
		}
		for i := range rows {
			rows[i].held, rows[i].kept = held.covers(rows[i].Export), terms.logsOf(rows[i].Export)
			for k, c := range reportColumns {
				record[k] = harmless(c.cell(&rows[i]))
			}
			if err := out.Write(record); err != nil {
				return lines, fmt.Errorf("write the report: %w", err)
			}
			lines++
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return lines, fmt.Errorf("write the report: %w", err)
	}
	return lines, nil
}

// heldNow is what active holds are about.
type heldNow map[HoldScope]map[string]bool

func readHeld(ctx context.Context, s ReportReader) (heldNow, error) {
	held := heldNow{HoldExport: {}, HoldUser: {}, HoldAll: {}}
	f := HoldFilter{Limit: MaxPage}
	for {
		page, err := s.Holds(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, h := range page {
			held[h.Scope][strings.ToLower(h.Subject)], f.Before = true, h.ID
		}
		if len(page) < f.Limit {
			return held, nil
		}
	}
}

func (h heldNow) covers(e Export) bool {
	return h[HoldAll][""] || h[HoldUser][strings.ToLower(e.UserID)] || h[HoldExport][strings.ToLower(e.ExportID)]
}

func withEntries(ctx context.Context, s ReportReader, page []Export) ([]reportRow, error) {
	if len(page) == 0 {
		return nil, nil
	}
	rows, ids, at := make([]reportRow, len(page)), make([]string, len(page)), make(map[string]int, len(page))
	for i, e := range page {
		rows[i], ids[i], at[e.ExportID] = reportRow{Export: e}, e.ExportID, i
	}
	entries, err := s.DeletionsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, d := range entries {
		if i, ok := at[d.ExportID]; ok && d.about(page[i]) {
			rows[i].entries = append(rows[i].entries, d)
		}
	}
	return rows, nil
}

// about reports whether the entry is of this generation of the row. An export that
// was made again names another file, or the same until later.
func (d Deletion) about(e Export) bool {
	var expires *Time
	if d.ExpiresAt != nil {
		if t, ok := ParseExactTime(*d.ExpiresAt); ok {
			expires = &t
		}
	}
	switch {
	case (d.FileURL == nil) != (e.FileURL == nil) || (expires == nil) != (e.ExpiresAt == nil):
		return false
	case d.FileURL != nil && *d.FileURL != *e.FileURL:
		return false
	}
	return expires == nil || At(expires.Time).Equal(At(e.ExpiresAt.Time).Time)
}

// harmless keeps a spreadsheet from taking a cell for a formula: what begins as one
// gets an apostrophe before it, which spreadsheets do not show.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
		return "'" + cell
	}
	return cell
}
