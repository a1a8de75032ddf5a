package exportops

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// HoldScope says what a hold is about.
type HoldScope string

// The scopes of a hold.
const (
	HoldExport HoldScope = "export" // one export: its file, its row and its metric
	HoldUser   HoldScope = "user"   // all exports of one user, those that come later included
	HoldAll    HoldScope = "all"    // everything: no deletion begins
)

// HoldScopes lists them.
var HoldScopes = []HoldScope{HoldExport, HoldUser, HoldAll}

// Hold is a legal hold: while it is active, nothing that it is about is deleted
// by any job. Holds are independent of each other; what several cover is free
// when the last of them was released.
type Hold struct {
	ID         int64     `json:"id"` // a later hold has a greater one
	Scope      HoldScope `json:"scope"`
	Subject    string    `json:"subject"` // an export id, a user id, or "" for all
	Reason     string    `json:"reason"`
	PlacedBy   string    `json:"placed_by"`
	PlacedAt   Time      `json:"placed_at"`
	ReleasedAt *Time     `json:"released_at"` // null while it is active
	ReleasedBy string    `json:"released_by,omitempty"`
	// RowOnly lets a hold on an export be placed whose file we have deleted
	// already: its row and its metric are held.
	RowOnly bool `json:"row_only,omitempty"`

	// UnderWay is set in the answer to placing a hold on everything: how many
	// files had been claimed before, whose deletion may still come to its end.
	UnderWay int64 `json:"under_way,omitempty"`
}

// Active reports whether the hold has not been released.
func (h Hold) Active() bool { return h.ReleasedAt == nil }

// The longest texts of a hold, in bytes.
const (
	MaxHoldReason = 2000
	MaxHoldName   = 200
)

// Check returns the hold with its texts in their usual form. The errors are
// KindInvalid and name each field that is wrong.
func (h Hold) Check() (Hold, error) {
	var errs []error
	switch h.Scope {
	case HoldExport, HoldUser:
		id, err := ParseID("subject", h.Subject)
		if err != nil {
			errs = append(errs, err)
		}
		h.Subject = id
	case HoldAll:
		if h.Subject != "" {
			errs = append(errs, Invalid("subject", "a hold on everything has no subject"))
		}
	default:
		errs = append(errs, Invalid("scope", "%s is not one of export, user, all", quoteShort(string(h.Scope))))
	}
	if h.RowOnly && h.Scope != HoldExport {
		errs = append(errs, Invalid("row_only", "only a hold on an export can be on its row alone"))
	}
	h.Reason, h.PlacedBy = strings.TrimSpace(h.Reason), strings.TrimSpace(h.PlacedBy)
	return h, errors.Join(append(errs,
		CheckText("reason", h.Reason, "why it is held", MaxHoldReason), CheckHoldName("placed_by", h.PlacedBy))...)
}

// CheckHoldName checks who placed or released a hold; the error names field.
func CheckHoldName(field, name string) error {
	return CheckText(field, name, "who does it", MaxHoldName)
}

// CheckText checks what somebody says in their own words, in most bytes; the error names
// field, and where there is nothing it asks for what is wanted.
func CheckText(field, s, want string, most int) error {
	switch {
	case strings.TrimSpace(s) == "":
		return &Error{Kind: KindInvalid, Field: field, Message: "missing", Hint: "say " + want}
	case len(s) > most:
		return Invalid(field, "longer than %d bytes", most)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return Invalid(field, "it holds what is no text")
	}
	return nil
}

// ClaimOver returns the first open claim that a hold comes too late for: of an
// export that the hold is about, of a file that one of its rows may name, or of one
// that no row names and that has the id of what is held in its key. The rows are
// those of the hold. It returns nil where there is none.
func (h Hold) ClaimOver(open []Deletion, l Locator, rows iter.Seq2[KeyRow, error]) (*Deletion, error) {
	if h.Scope == HoldAll || len(open) == 0 {
		return nil, nil
	}
	exports, files := map[string]*Deletion{}, map[string]*Deletion{}
	for i := range open {
		d := &open[i]
		if files[d.Key] = d; d.ExportID != "" {
			exports[strings.ToLower(d.ExportID)] = d
		}
		if d.Mode == ByReconcile {
			for _, id := range IDsIn(d.Key) {
				exports[id] = d
			}
		}
		if (d.Mode == ByReconcile && strings.Contains(strings.ToLower(d.Key), h.Subject)) || (h.Scope == HoldExport && strings.EqualFold(d.ExportID, h.Subject)) ||
			(h.Scope == HoldUser && strings.EqualFold(d.UserID, h.Subject)) {
			return d, nil
		}
	}
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		if d := exports[strings.ToLower(row.ExportID)]; d != nil {
			return d, nil
		}
		if row.FileURL == "" {
			continue
		}
		for key := range l.MayName(row.FileURL, row.UserID) {
			if d := files[key]; d != nil {
				return d, nil
			}
		}
	}
	return nil, nil
}

// TooLate is the refusal of a hold that came after a claim, or after the deletion.
func (h Hold) TooLate(d Deletion) error {
	of := "of export " + d.ExportID
	if d.Mode == ByReconcile {
		of = "that no row named, " + quoteShort(d.Key) + ","
	}
	e := &Error{
		Kind: KindConflict,
		Message: fmt.Sprintf("the hold came too late: the file %s is claimed for deletion by run %s since %s, and may be gone already; nothing was held",
			of, d.RunID, d.ClaimedAt),
		Hint: "wait until the run has ended, look at what became of the file, and place the hold again for what is left",
	}
	if d.State != DeletionClaimed {
		e.Message = fmt.Sprintf("the hold came too late: the file of export %s is %s, claimed by run %s at %s; nothing was held",
			d.ExportID, d.State, d.RunID, d.ClaimedAt)
		e.Hint = "to hold its row and its metric all the same, say so with row_only"
	}
	return e
}

// NothingToHold is the refusal of a hold on an export that there is nothing of.
func (h Hold) NothingToHold() error {
	return &Error{
		Kind: KindNotFound, Field: "subject",
		Message: fmt.Sprintf("there is nothing of an export %s: neither a row nor a metric", h.Subject),
		Hint:    "look for it with exportops exports, or hold its user",
	}
}

// NoSuchHold is the answer about a hold that there is none of.
func NoSuchHold(id int64) error {
	return &Error{Kind: KindNotFound, Message: fmt.Sprintf("there is no hold %d", id), Hint: "exportops hold ls --all lists them"}
}

// HoldFilter selects holds. Zero fields do not filter.
type HoldFilter struct {
	All     bool // released ones as well
	Scope   HoldScope
	Subject string // in lower case
	Before  int64  // holds with a smaller id, for paging
	Limit   int
}

// Go sets where a list goes on: the cursor of the page before, or "" to begin.
func (f *HoldFilter) Go(cursor string) error {
	if cursor == "" {
		return nil
	}
	id, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || id < 1 {
		return Invalid("cursor", "%s is no cursor of a list of holds", quoteShort(cursor))
	}
	f.Before = id
	return nil
}

// Next returns the cursor of the page after one, "" after the last.
func (f HoldFilter) Next(page []Hold) string {
	if len(page) == 0 || len(page) < f.Limit {
		return ""
	}
	return strconv.FormatInt(page[len(page)-1].ID, 10)
}

// MostHeldAtOnce is how many rows that came under a hold a claim reads while
// others wait for it.
const MostHeldAtOnce = 1000

// HoldStore keeps legal holds. A hold and the claims, and deletions of rows, that
// it is about never overlap: whichever commits first is seen by the other.
type HoldStore interface {
	// PlaceHold records a hold that was checked, unless an open claim covers what
	// it is about or the file of its export was deleted by us (TooLate), or there is
	// nothing of its export (NothingToHold). A hold on everything is placed all the same, and says how many claims are
	// open. An active hold that says the same is returned as it is.
	PlaceHold(ctx context.Context, h Hold, l Locator) (Hold, error)
	// ReleaseHold ends a hold; one that was released before stays as it is.
	ReleaseHold(ctx context.Context, id int64, by string, now Time) (Hold, error)
	// Holds returns holds, newest first.
	Holds(ctx context.Context, f HoldFilter) ([]Hold, error)
	// LastHold returns the id of the hold that was placed last, 0 without any.
	LastHold(ctx context.Context) (int64, error)
	// HeldRows yields the rows that name a file and that an active hold on their
	// export or user covers, whatever their status: of holds with a greater id
	// than after.
	HeldRows(ctx context.Context, after int64) iter.Seq2[KeyRow, error]
	// ForgetHolds deletes holds that were released before the given time.
	ForgetHolds(ctx context.Context, c Checkpoint, before Time, limit int) (int64, error)
}
