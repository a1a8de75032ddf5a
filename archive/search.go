package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// Query selects archived rows. Zero fields do not select.
type Query struct {
	UserID, ExportID string
	Format           exportops.Format
	From             exportops.Time // timestamp not before
	To               exportops.Time // timestamp before
}

// takes reports whether a row is selected. One whose time cannot be read is not,
// where it is about times.
func (q Query) takes(r *exportops.ArchivedRow) bool {
	if q.UserID != "" && !strings.EqualFold(q.UserID, r.UserID) ||
		q.ExportID != "" && !strings.EqualFold(q.ExportID, r.ExportID) || q.Format != "" && string(q.Format) != r.Format {
		return false
	}
	if q.From.IsZero() && q.To.IsZero() {
		return true
	}
	t, ok := instant(r.Timestamp)
	return ok && (q.From.IsZero() || !t.Before(q.From.Time)) && (q.To.IsZero() || t.Before(q.To.Time))
}

// mayHold reports whether an archive may hold selected rows.
func (q Query) mayHold(a exportops.Archive) bool {
	if !a.State.Trusted() {
		return false
	}
	if q.From.IsZero() && q.To.IsZero() {
		return true
	}
	// The newest is cut outwards.
	return a.Oldest != nil && (q.From.IsZero() || !a.Newest.Before(q.From.Time)) && (q.To.IsZero() || a.Oldest.Before(q.To.Time))
}

// Found is an archived row, and where it lies.
type Found struct {
	Archive string `json:"archive"` // its key
	exportops.ArchivedRow
}

// Search yields the rows that a query selects, from the oldest archive on. An archive
// that is not as it was written is an error before any row of it is yielded, which
// ends the search: what came before is no complete answer.
func (k *Keeper) Search(ctx context.Context, q Query) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		var in []exportops.Archive
		err := k.all(ctx, func(a exportops.Archive) error {
			if q.mayHold(a) {
				in = append(in, a)
			}
			return nil
		})
		for _, a := range slices.Backward(in) {
			if err != nil {
				break
			}
			var more bool
			if more, err = k.searchOne(ctx, a, q, yield); !more && err == nil {
				return
			}
		}
		if err != nil {
			yield(Found{}, err)
		}
	}
}

func (k *Keeper) searchOne(ctx context.Context, a exportops.Archive, q Query, yield func(Found, error) bool) (more bool, err error) {
	if err := k.here(a); err != nil {
		return false, err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	size, sum, err := fetch(ctx, k.Objects, a.Key, file, a.Bytes)
	if err != nil {
		return false, fmt.Errorf("search archive %s: %w", a.Key, err)
	}
	if size != a.Bytes || hex.EncodeToString(sum[:]) != a.SHA256 {
		return false, &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "archive", Message: fmt.Sprintf("archive %s is not as it was written", a.Key),
			Hint: "look at all of them with: exportops archive verify",
		}
	}
	r, err := Open(file, size)
	if err != nil {
		return false, fmt.Errorf("search archive %s: %w", a.Key, err)
	}
	for row, err := range r.Rows() {
		if err != nil {
			return false, fmt.Errorf("search archive %s: %w", a.Key, err)
		}
		if q.takes(row) && !yield(Found{a.Key, *row}, nil) {
			return false, nil
		}
	}
	return true, nil
}
