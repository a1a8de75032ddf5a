package archive

import (
	"context"
	"errors"
	"iter"

	"github.com/exportops/exportops"
)

// Restored says what came of rows that were to be restored.
type Restored struct {
	Found  int64
	Fresh  int64 // of them, that were not there
	Erased int64 // of them, that stay erased: their user was erased after they were written
}

// Restore puts the rows that a query selects back into the export logs, and tells
// what became of each batch. Rows of users who were erased are left out. What was
// restored before an error stays. It is KindConflict where a user is erased meanwhile.
func (k *Keeper) Restore(ctx context.Context, q Query, now exportops.Time, tell func(Restored)) error {
	epoch, err := k.Store.ArchiveEpoch(ctx)
	if err != nil {
		return err
	}
	return k.restore(ctx, q, tell, func(found []Found) ([]bool, error) {
		rows := make([]exportops.ArchivedRow, len(found))
		for i, row := range found {
			rows[i] = row.ArchivedRow
		}
		return k.Store.RestoreRows(ctx, rows, epoch, now)
	})
}

// RestoreBeside is Restore into a table beside the export logs. It is made before any
// archive is read, so that one that cannot be made costs nothing.
func (k *Keeper) RestoreBeside(ctx context.Context, table string, q Query, now exportops.Time, tell func(Restored)) error {
	epoch, err := k.Store.ArchiveEpoch(ctx)
	if err != nil {
		return err
	}
	put := func(found []Found) ([]bool, error) { return k.Store.RestoreBeside(ctx, table, found, epoch, now) }
	if _, err := put(nil); err != nil {
		return inEpoch(err)
	}
	return k.restore(ctx, q, tell, put)
}

// restore has put take the rows that a query selects, batch by batch, and say which of
// them are new.
func (k *Keeper) restore(ctx context.Context, q Query, tell func(Restored), put func([]Found) ([]bool, error)) error {
	for batch, err := range k.Restorable(ctx, q) {
		if err != nil {
			return err
		}
		done := Restored{Found: int64(len(batch.Rows)) + batch.Erased, Erased: batch.Erased}
		added, err := put(batch.Rows)
		if err != nil {
			return inEpoch(err)
		}
		for _, fresh := range added {
			if fresh {
				done.Fresh++
			}
		}
		tell(done)
	}
	return nil
}

// inEpoch says of ErrEpoch what to do.
func inEpoch(err error) error {
	if !errors.Is(err, exportops.ErrEpoch) {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindConflict, Field: "archive", Message: "a user is being erased, and rows of the user may be among these", Err: err,
		Hint: "restore again once that has ended: what is there already stays as it is",
	}
}

// Batch is some rows that may be restored, and how many more may not.
type Batch struct {
	Rows   []Found
	Erased int64
}

// Restorable yields the rows that a query selects in batches that keep memory flat,
// without those of users who were erased.
func (k *Keeper) Restorable(ctx context.Context, q Query) iter.Seq2[Batch, error] {
	const most, mostBytes = 200, 4 << 20
	return func(yield func(Batch, error) bool) {
		var rows []Found
		bytes := 0
		put := func() bool {
			batch, err := k.unerased(ctx, rows)
			rows, bytes = nil, 0
			return yield(batch, err) && err == nil
		}
		for found, err := range k.search(ctx, q) {
			if err != nil {
				if len(rows) == 0 || put() {
					yield(Batch{}, err)
				}
				return
			}
			rows = append(rows, found)
			if bytes += found.Size(); (len(rows) == most || bytes >= mostBytes) && !put() {
				return
			}
		}
		if len(rows) > 0 {
			put()
		}
	}
}

// unerased leaves out the rows of users who were erased.
func (k *Keeper) unerased(ctx context.Context, rows []Found) (b Batch, err error) {
	users := make([]string, 0, len(rows))
	for i, row := range rows {
		if i == 0 || row.UserID != rows[i-1].UserID {
			users = append(users, row.UserID)
		}
	}
	erased, err := k.Store.ErasedAt(ctx, users)
	if err != nil {
		return b, err
	}
	for _, row := range rows {
		if at, was := erased[row.UserID]; was && row.ErasedBy(at) {
			b.Erased++
			continue
		}
		b.Rows = append(b.Rows, row)
	}
	return b, nil
}
