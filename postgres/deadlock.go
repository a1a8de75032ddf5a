package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

const deadlockDetected = "40P01"

// again runs a transaction once more when the database ended it to untie a
// deadlock: nothing of it was done. A second one is told.
func (s *Store) again(ctx context.Context, do func() error) error {
	err := do()
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == deadlockDetected && ctx.Err() == nil {
		return do()
	}
	return err
}
