package archive

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/exportops/exportops"
)

// opened is an archive that was fetched whole, and is as it was written.
type opened struct {
	spool
	reader *Reader
	key    string
}

// open fetches an archive. An error wraps what the storage said of it.
func (k *Keeper) open(ctx context.Context, a exportops.Archive) (o opened, err error) {
	if err := k.here(a); err != nil {
		return o, err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			_ = file.close() // why it could not be read says more
		}
	}()
	size, sum, err := fetch(ctx, k.Objects, a.Key, file, a.Bytes)
	if exportops.IsKind(err, exportops.KindNotFound) {
		return o, &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "archive", Message: fmt.Sprintf("archive %s is not there", a.Key),
			Hint: fmt.Sprintf("put its object back, from a backup or an earlier version; if it is gone for good: exportops archive lost %d", a.ID), Err: err,
		}
	}
	if err != nil {
		return o, fmt.Errorf("read archive %s: %w", a.Key, err)
	}
	if size != a.Bytes || hex.EncodeToString(sum[:]) != a.SHA256 {
		return o, &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "archive", Message: fmt.Sprintf("archive %s is not as it was written", a.Key),
			Hint: "look at all of them with: exportops archive verify",
		}
	}
	r, err := Open(file, size)
	if err != nil {
		return o, fmt.Errorf("read archive %s: %w", a.Key, err)
	}
	return opened{file, r, a.Key}, nil
}

// rows yields the rows, each one new. An error ends them.
func (o opened) rows(yield func(*exportops.ArchivedRow, error) bool) {
	for row, err := range o.reader.Rows() {
		if err != nil {
			err = fmt.Errorf("read archive %s: %w", o.key, err)
		}
		if !yield(row, err) {
			return
		}
	}
}

// without yields the rows that are not a user's.
func (o opened) without(userID string) iter.Seq2[*exportops.ArchivedRow, error] {
	return func(yield func(*exportops.ArchivedRow, error) bool) {
		for row, err := range o.rows {
			if (err != nil || !of(row, userID)) && !yield(row, err) {
				return
			}
		}
	}
}
