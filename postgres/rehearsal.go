package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Rehearse implements exportops.Database.
func (s *Store) Rehearse(ctx context.Context, fn func(exportops.Store) error) error {
	return s.rehearse(ctx, func(play *Store) error { return fn(play) })
}

// rehearse runs fn with a store whose every transaction is a part of one that is
// rolled back. It takes one connection. Where that is lost, the server rolls
// back.
func (s *Store) rehearse(ctx context.Context, fn func(*Store) error) (err error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{
		BeginQuery: opening("", s.opened.LockTimeout, s.opened.StatementTimeout),
	})
	if err != nil {
		return s.explain(fmt.Errorf("begin a rehearsal: %w", err))
	}
	play := *s
	play.stage = &stage{tx: tx, turn: make(chan struct{}, 1), patience: s.opened.LockTimeout}
	defer func() { // also when fn panicked, or ctx has ended
		const most = 5 * time.Second
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
		defer cancel()
		if rb := tx.Rollback(ctx); rb != nil && !tx.Conn().IsClosed() {
			err = errors.Join(err, fmt.Errorf("roll a rehearsal back: %w", rb), tx.Conn().Close(ctx))
		}
	}()
	return fn(&play)
}

// stage is the transaction of a rehearsal. What are transactions elsewhere are
// savepoints in it, one after the other: a connection does one thing at a time.
type stage struct {
	tx       pgx.Tx
	turn     chan struct{}
	patience time.Duration
}

var errCrossed = errors.New("a rehearsal waits for itself: one of its transactions was begun inside another")

func (st *stage) begin(ctx context.Context, fn func(pgx.Tx) error) error {
	late := time.NewTimer(st.patience)
	defer late.Stop()
	select {
	case st.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errCrossed
	}
	defer func() { <-st.turn }()
	return pgx.BeginFunc(ctx, st.tx, fn)
}
