package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const deadlockDetected = "40P01"

// again runs a transaction once more when the database ended it to untie a
// deadlock: nothing of it was done. It lets the other go first: one that begins
// again at once may take the lock from whoever has waited for it. After some
// times that is told.
func (s *Store) again(ctx context.Context, do func() error) error {
	const most = 3
	for try := 1; ; try++ {
		err := do()
		var e *pgconn.PgError
		if try == most || ctx.Err() != nil || !errors.As(err, &e) || e.Code != deadlockDetected {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * (20*time.Millisecond + rand.N(80*time.Millisecond))): //nolint:gosec // it spreads, and hides nothing
		}
	}
}
