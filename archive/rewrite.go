package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

// Rewrite writes an archive that is done anew, without the rows of a user, and reads
// it back: each row that stays is compared with the one that was there. The new archive
// is written then, and nothing relies on it yet. Its id is 0 where no row of the user
// is in the archive, and where no other row is. One that it gives up is abandoned.
func (k *Keeper) Rewrite(ctx context.Context, next Checkpoints, a exportops.Archive, userID string) (
	by exportops.Archive, gone exportops.ArchivedOf, err error,
) {
	old, err := k.open(ctx, a)
	if err != nil {
		return by, gone, err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	if gone, err = goneOf(old, userID); err != nil || gone.Rows == 0 || gone.Rows == a.Rows {
		return by, gone, err
	}
	file, err := newSpool(k.Dir)
	if err != nil {
		return by, gone, err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	w := NewWriter(file)
	for row, err := range old.without(userID) {
		if err == nil {
			err = w.Write(row)
		}
		if err != nil {
			return by, gone, err
		}
	}
	s, err := w.Close()
	if err != nil {
		return by, gone, err
	}
	by = k.describe(a.Month, s)
	by.Replaces = a.ID
	if by, err = k.intend(ctx, next, by, 0, nil, named(a.Month, s)); err != nil {
		return by, gone, err
	}
	if by, err = k.create(ctx, next, by, file, s); err != nil {
		return by, gone, err
	}
	return by, gone, k.proveRewritten(ctx, next, old, by, s, userID)
}

// Holding counts the rows of a user in an archive.
func (k *Keeper) Holding(ctx context.Context, a exportops.Archive, userID string) (n int64, err error) {
	old, err := k.open(ctx, a)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	gone, err := goneOf(old, userID)
	return gone.Rows, err
}

func goneOf(o opened, userID string) (gone exportops.ArchivedOf, err error) {
	for row, err := range o.rows {
		if err != nil {
			return gone, err
		}
		if of(row, userID) {
			gone.Rows++
			gone.Exports = append(gone.Exports, strings.Clone(row.ExportID)) // not the page it lies in
		}
	}
	return gone, nil
}

func of(row *exportops.ArchivedRow, userID string) bool { return strings.EqualFold(row.UserID, userID) }

// proveRewritten reads a new archive back. One that is not as it was written is
// abandoned.
func (k *Keeper) proveRewritten(ctx context.Context, next Checkpoints, old opened, by exportops.Archive, s Summary, userID string) error {
	fault, err := k.compareRewritten(ctx, old, by, userID)
	if fault == "" && err == nil {
		fault, err = k.manifest(ctx, by, s, true)
	}
	if fault == "" && err == nil {
		fault, err = k.manifest(ctx, by, s, false) // now it is there
	}
	if err != nil {
		return fmt.Errorf("read archive %s back: %w", by.Key, err)
	}
	if fault == "" {
		return nil
	}
	if _, err := k.move(ctx, next, by.ID, exportops.ArchiveAbandoned, fault); err != nil {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_ARCHIVE_URL",
		Message: fmt.Sprintf("archive %s, which was to replace archive %d, was read back: %s; the old one stays", by.Key, by.Replaces, fault),
		Hint:    "run the erasure again, which writes it anew",
	}
}

func (k *Keeper) compareRewritten(ctx context.Context, old opened, by exportops.Archive, userID string) (fault string, err error) {
	file, err := newSpool(k.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	size, sum, err := fetch(ctx, k.Objects, by.Key, file, by.Bytes)
	switch {
	case exportops.IsKind(err, exportops.KindNotFound):
		return "there is no such object", nil
	case err != nil:
		return "", err
	case size != by.Bytes || hex.EncodeToString(sum[:]) != by.SHA256:
		return "it is not what was written", nil
	}
	err = Verify(file, size, sum, func(yield func([32]byte, error) bool) {
		for row, err := range old.without(userID) {
			if err != nil {
				yield([32]byte{}, err)
				return
			}
			if !yield(row.Hash(), nil) {
				return
			}
		}
	})
	// The old archive was read to its end before: it is the new one that is not right.
	if errors.Is(err, ErrCorrupt) {
		return err.Error(), nil
	}
	return "", err
}

// Sweep removes what is left of archives that were not written to their end, and names
// those that are being written.
func (k *Keeper) Sweep(ctx context.Context) (writing []string, err error) {
	if writing, err = k.Objects.Sweep(ctx); err != nil {
		return nil, fmt.Errorf("look for what is left of archives: %w", err)
	}
	return writing, nil
}

// Remove deletes the object of an archive that nothing relies on, and its manifest, and
// looks whether they are gone.
func (k *Keeper) Remove(ctx context.Context, a exportops.Archive) error {
	if err := k.here(a); err != nil {
		return err
	}
	name, err := ParseKey(a.Key)
	if err != nil {
		return err
	}
	for _, key := range []string{name.Key(), name.ManifestKey()} {
		if err := k.Objects.Delete(ctx, key); err != nil {
			return fmt.Errorf("delete %s: %w", key, err)
		}
		body, err := k.Objects.Open(ctx, key)
		if err == nil {
			return errors.Join(&exportops.Error{
				Kind: exportops.KindUnavailable, Field: "EXPORT_ARCHIVE_URL",
				Message: fmt.Sprintf("%s was deleted, and is there all the same", key),
				Hint:    "look whether the storage keeps what is deleted, or answers from a cache; then run it again",
			}, body.Close())
		}
		if !exportops.IsKind(err, exportops.KindNotFound) {
			return fmt.Errorf("look whether %s is gone: %w", key, err)
		}
	}
	return nil
}
