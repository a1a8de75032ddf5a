package archive

import (
	"context"

	"github.com/exportops/exportops"
)

// Restore puts the rows that a query selects back into the export logs, and tells
// what became of each batch: how many were found, and how many of them were not
// there. What was restored before an error stays.
func (k *Keeper) Restore(ctx context.Context, q Query, now exportops.Time, tell func(found, fresh int64)) error {
	const most, mostBytes = 200, 4 << 20
	var batch []exportops.ArchivedRow
	bytes := 0
	put := func() error {
		if len(batch) == 0 {
			return nil
		}
		added, err := k.Store.RestoreRows(ctx, batch, now)
		if err != nil {
			return err
		}
		fresh := int64(0)
		for _, is := range added {
			if is {
				fresh++
			}
		}
		tell(int64(len(batch)), fresh)
		batch, bytes = batch[:0], 0
		return nil
	}
	for found, err := range k.Search(ctx, q) {
		if err != nil {
			return err
		}
		batch = append(batch, found.ArchivedRow)
		if bytes += weight(&found.ArchivedRow); len(batch) < most && bytes < mostBytes {
			continue
		}
		if err := put(); err != nil {
			return err
		}
	}
	return put()
}
