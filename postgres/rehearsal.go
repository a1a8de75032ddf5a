package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// stage is the one transaction of a rehearsal. What the store does on it takes
// turns, as a connection does one thing at a time.
type stage struct {
	mu sync.Mutex
	tx pgx.Tx
}

// errOver ends the transaction of a rehearsal.
var errOver = errors.New("the rehearsal is over")

// Rehearse implements exportops.Database. The store's transactions are
// savepoints in one that is rolled back; a connection that breaks, or a process
// that dies, rolls it back too.
func (s *Store) Rehearse(ctx context.Context, fn func(exportops.Store) error) error {
	var played error
	err := s.tx(ctx, func(tx pgx.Tx) error {
		play := *s
		play.stage = &stage{tx: tx}
		played = fn(&play)
		return errOver
	})
	if !errors.Is(err, errOver) {
		return errors.Join(played, err)
	}
	return played
}

// within runs fn in a savepoint. A reader's too: one that fails would end the
// whole transaction.
func (st *stage) within(ctx context.Context, fn func(pgx.Tx) error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := pgx.BeginFunc(ctx, st.tx, fn); err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	return nil
}
