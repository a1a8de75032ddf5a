package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

const (
	// checkpointEvery is how much time a bulk change lets pass between two
	// checkpoints: the longer, the more often a page is written into the log for
	// each time that it is written into the database.
	checkpointEvery = 4 * time.Second
	// fewFrames of the log are copied while the changes wait.
	fewFrames = 2000
	// copyRounds are the most that a checkpoint takes beside the changes.
	copyRounds = 8
	// autoCheckpoint is the pages of the log after which a commit copies them.
	autoCheckpoint = 2000
)

// bulkFenced is fenced for changes that no one is told about one by one, and
// that are made again where a power cut undoes them: their commits are not
// synced. The next commit that is, such as that which ends the run, syncs them
// too, so that nothing later lasts where they do not. Their checkpoints are made
// beside the writer, which others wait for.
func (s *Store) bulkFenced(ctx context.Context, c exportops.Checkpoint, fn func(*sql.Tx) error) error {
	return s.bulk(ctx, func(tx *sql.Tx) error { return s.inFence(ctx, tx, c, fn) })
}

func (s *Store) bulk(ctx context.Context, fn func(*sql.Tx) error) error {
	if s.copier == nil { // a rehearsal
		return s.tx(ctx, fn)
	}
	if err := s.copyLog(ctx); err != nil {
		return s.explain(err)
	}
	return s.unsynced(ctx, fn)
}

// unsynced runs fn in a transaction on the writer, which syncs again after it,
// come what may.
func (s *Store) unsynced(ctx context.Context, fn func(*sql.Tx) error) (err error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return s.explain(fmt.Errorf("begin: %w", err))
	}
	defer func() {
		if _, restore := conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA synchronous = FULL`); restore != nil {
			// A connection that does not sync must not be used by anybody.
			dropped := conn.Raw(func(any) error { return driver.ErrBadConn })
			err = errors.Join(err, fmt.Errorf("sync again: %w", restore), dropped)
		}
		err = errors.Join(err, conn.Close())
	}()
	_, err = conn.ExecContext(ctx, `PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0`)
	if err != nil {
		return s.explain(fmt.Errorf("begin: %w", err))
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(fmt.Errorf("begin: %w", err))
	}
	return s.end(tx, fn(tx))
}

// copyLog copies the log into the database, once in a while, on a connection of
// its own. All but the last of it is copied while the changes go on; the rest
// while they wait, and what others wrote meanwhile on the writer, so that the log
// begins anew.
func (s *Store) copyLog(ctx context.Context) error {
	s.copying.Lock()
	defer s.copying.Unlock()
	if s.idle != nil {
		s.idle.Stop()
	}
	s.idle = time.AfterFunc(2*checkpointEvery, s.endBulk)
	switch {
	case time.Since(s.copied) < checkpointEvery:
		return nil
	case s.beside == nil:
		s.beside = make(chan error, 1)
		go func() { s.beside <- s.copyMost(context.WithoutCancel(ctx)) }()
		return nil
	case len(s.beside) == 0:
		return nil
	}
	err := s.awaitCopy()
	for _, db := range []*sql.DB{s.copier, s.write} {
		if err == nil {
			_, err = checkpoint(ctx, db)
		}
	}
	s.copied = time.Now()
	return err
}

// copyMost copies in rounds what is written meanwhile. That shrinks from round to
// round, as copying is faster than changing.
func (s *Store) copyMost(ctx context.Context) error {
	for rounds, before := 0, int64(0); ; rounds++ {
		done, err := checkpoint(ctx, s.copier)
		if err != nil || done-before < fewFrames || rounds == copyRounds {
			return err
		}
		before = done
	}
}

// awaitCopy waits for the checkpoint that is made while changes go on.
func (s *Store) awaitCopy() error {
	if s.beside == nil {
		return nil
	}
	err := <-s.beside
	s.beside = nil
	return err
}

// endBulk gives the checkpoints back to the writer's commits, of which the first
// should find little to copy. Where it fails the database is unusable, and
// whoever uses it next says so.
func (s *Store) endBulk() {
	s.copying.Lock()
	defer s.copying.Unlock()
	ctx := context.Background() // it belongs to no call
	_ = s.awaitCopy()
	_, _ = checkpoint(ctx, s.copier)
	_, _ = s.write.ExecContext(ctx, fmt.Sprintf(`PRAGMA wal_autocheckpoint = %d`, autoCheckpoint))
}

// checkpoint copies what it can without waiting for anybody, and returns how
// many frames of the log have been copied since it began.
func checkpoint(ctx context.Context, db *sql.DB) (done int64, err error) {
	var busy, log int64
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &log, &done); err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	return done, nil
}
