package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	deadlockDetected = "40P01"
	outcomeIndex     = "export_metrics_outcome" // at most one metric of an export is its outcome
)

// errAgain says that what a transaction was about to rest on has changed since
// it looked.
var errAgain = errors.New("another process was faster, again and again")

// again runs a transaction once more when another came between: the database
// ended it to untie a deadlock, or the other gave an export its outcome first.
// Nothing of it was done. After some times that is told.
func (s *Store) again(ctx context.Context, do func() error) error {
	const most = 5
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == most || ctx.Err() != nil || !overtaken(err) {
			return err
		}
	}
}

func overtaken(err error) bool {
	var e *pgconn.PgError
	return errors.Is(err, errAgain) || errors.As(err, &e) &&
		(e.Code == deadlockDetected || e.Code == uniqueViolation && e.ConstraintName == outcomeIndex)
}
