package testworld

import (
	"context"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Unclaiming is a store that says when claims have been given back.
type Unclaiming struct {
	jobs.Store
	Gave func()
}

// Unclaim implements exportops.DeletionStore.
func (s *Unclaiming) Unclaim(ctx context.Context, c exportops.Checkpoint, p exportops.ClaimPage) error {
	err := s.Store.Unclaim(ctx, c, p)
	s.Gave()
	return err
}
