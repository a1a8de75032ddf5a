package archive

import (
	"cmp"
	"context"
	"errors"
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
type Found = exportops.FoundRow

// Search yields the rows that a query selects, from the oldest archive on, without those
// of users who were erased since. An archive that is not as it was written is an error
// before any row of it is yielded, which ends the search: what came before is no
// complete answer.
func (k *Keeper) Search(ctx context.Context, q Query) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for batch, err := range k.Restorable(ctx, q) {
			for _, row := range batch.Rows {
				if !yield(row, nil) {
					return
				}
			}
			if err != nil {
				yield(Found{}, err)
				return
			}
		}
	}
}

// search yields all rows that a query selects.
func (k *Keeper) search(ctx context.Context, q Query) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		in, err := k.selected(ctx, q)
		for _, a := range in {
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

// selected returns the archives that may hold selected rows, oldest first. One that was
// replaced while the others were listed is followed to what took its place.
func (k *Keeper) selected(ctx context.Context, q Query) (in []exportops.Archive, err error) {
	listed := map[int64]bool{}
	var replaced []exportops.Archive
	err = k.all(ctx, func(a exportops.Archive) error {
		switch {
		case a.State.Trusted():
			listed[a.ID] = true
			if q.mayHold(a) {
				in = append(in, a)
			}
		case a.ReplacedBy != 0:
			replaced = append(replaced, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// An archive is listed after those that replace it: where one of them had not yet
	// taken its place then, it has by now.
	for _, a := range replaced {
		if listed[a.ReplacedBy] {
			continue
		}
		last, err := k.last(ctx, a)
		if err != nil {
			return nil, err
		}
		if !listed[last.ID] && q.mayHold(last) {
			in = append(in, last)
		}
		listed[a.ReplacedBy], listed[last.ID] = true, true
	}
	slices.SortFunc(in, func(a, b exportops.Archive) int { return cmp.Compare(a.ID, b.ID) })
	return in, nil
}

// last follows an archive to what has its rows now. Where no row is left that is no
// archive that is trusted.
func (k *Keeper) last(ctx context.Context, a exportops.Archive) (exportops.Archive, error) {
	for a.ReplacedBy != 0 {
		var err error
		if a, err = k.Store.Archive(ctx, a.ReplacedBy); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (k *Keeper) searchOne(ctx context.Context, a exportops.Archive, q Query, yield func(Found, error) bool) (more bool, err error) {
	o, err := k.open(ctx, a)
	if err != nil {
		now, again := k.Store.Archive(ctx, a.ID)
		if again != nil || now.State.Trusted() {
			return false, errors.Join(err, again)
		}
		// Somebody replaced it since it was listed.
		if now, err = k.last(ctx, now); err != nil || !now.State.Trusted() {
			return err == nil, err
		}
		return k.searchOne(ctx, now, q, yield)
	}
	defer func() { err = errors.Join(err, o.close()) }()
	for row, err := range o.rows {
		if err != nil {
			return false, err
		}
		if q.takes(row) && !yield(Found{Archive: a.Key, ArchivedRow: *row}, nil) {
			return false, nil
		}
	}
	return true, nil
}
