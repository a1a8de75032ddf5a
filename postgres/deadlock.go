package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

const deadlockDetected = "40P01"

// again runs a transaction once more when the database ended it to untie a
// deadlock: nothing of it was done. After some times that is told.
func (s *Store) again(ctx context.Context, do func() error) error {
	const most = 3
	for try := 1; ; try++ {
		err := do()
		var e *pgconn.PgError
		if try == most || ctx.Err() != nil || !errors.As(err, &e) || e.Code != deadlockDetected {
			return err
		}
	}
}
