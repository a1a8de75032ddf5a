package cleanup

import (
	"context"

	"github.com/exportops/exportops"
)

// RegisterArchives records archives that the database does not know. It adds to res.
func (c *Cleaner) RegisterArchives(ctx context.Context, w Work, res *exportops.RegisterResult) error {
	next := func() (exportops.Checkpoint, error) { return c.checkpoint(w, *res) }
	return c.Archives.Register(ctx, next, func() bool {
		w.report(*res)
		return c.ended(ctx, w)
	}, res)
}
