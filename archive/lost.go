package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// Lose records that the object of an archive is gone, and who says why. Rows that were
// deleted because of it are gone with it; those that are in the export logs are archived
// again. It is KindConflict where the object is there. With unseen nobody looks, as it
// lay in a storage that is no more.
func (k *Keeper) Lose(ctx context.Context, id int64, reason, by string, unseen bool, now exportops.Time) (exportops.Archive, error) {
	a, err := k.Store.Archive(ctx, id)
	if err != nil {
		return a, err
	}
	if a.State.Gone() {
		return a, nil
	}
	why := fmt.Sprintf("lost: %s (%s)", reason, by)
	switch {
	case !unseen:
		err = k.missing(ctx, a)
	case a.Store == k.Objects.ID():
		err = exportops.Invalid("unseen", "archive %d lies in the storage that is configured, where its object can be looked for", id)
	default:
		why = fmt.Sprintf("lost with %s, where nobody could look: %s (%s)", a.Store, reason, by)
	}
	if err != nil {
		return a, err
	}
	return k.Store.LoseArchive(ctx, id, why, now)
}

// missing fails unless the object of an archive is seen not to be there.
func (k *Keeper) missing(ctx context.Context, a exportops.Archive) error {
	if err := k.here(a); err != nil {
		return err
	}
	body, err := k.Objects.Open(ctx, a.Key)
	switch {
	case exportops.IsKind(err, exportops.KindNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look for archive %s: %w", a.Key, err)
	}
	return errors.Join(&exportops.Error{
		Kind: exportops.KindConflict, Field: "archive", Message: fmt.Sprintf("archive %d is not lost: %s is there", a.ID, a.Key),
		Hint: "look at what is wrong with it: exportops archive verify",
	}, body.Close())
}
