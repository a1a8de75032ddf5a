package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/exportops/exportops"
)

const (
	// checkpointEvery is how much time a bulk change lets pass between two
	// checkpoints: the longer, the more often a page is written into the log for
	// each time that it is written into the database.
	checkpointEvery = 4 * time.Second
	// checkpointTries are how often one is begun before the log is left to grow until
	// the next, and checkpointPause is how long to wait for readers before trying again.
	checkpointTries = 40
	checkpointPause = 5 * time.Millisecond
	// quietRounds are the checkpoints in a row that found fewFrames at most, after which
	// the database is taken to be synced: SQLite does so only where nothing was added
	// to the log while it copied, and of these one was so.
	quietRounds, fewFrames = 3, 100
	// autoCheckpoint is the pages of the log after which a commit copies them.
	autoCheckpoint = 2000
)

// bulkFenced is fenced for changes that no one is told about one by one, and
// that are made again where a power cut undoes them: their commits are not
// synced. The next commit that is, such as that which ends the run, syncs them
// too, so that nothing later lasts where they do not. Their checkpoints are made
// between them, and beside the writer, which others wait for.
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
func (s *Store) unsynced(ctx context.Context, fn func(*sql.Tx) error) error {
	return s.onWriter(ctx, func(conn *sql.Conn) (err error) {
		defer func() {
			if _, restore := conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA synchronous = FULL`); restore != nil {
				// A connection that does not sync must not be used by anybody.
				dropped := conn.Raw(func(any) error { return driver.ErrBadConn })
				err = errors.Join(err, fmt.Errorf("sync again: %w", restore), dropped)
			}
		}()
		_, err = conn.ExecContext(ctx, `PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0`)
		if err != nil {
			return s.explain(fmt.Errorf("begin: %w", err))
		}
		return s.begin(ctx, conn, fn)
	})
}

// copyLog copies the log into the database, once in a while, and has it begin anew.
// The log is synced before, while the changes go on. Then they wait, and others hardly
// do: the copies are made, and synced, on a connection of its own.
func (s *Store) copyLog(ctx context.Context) error {
	if err := s.copying.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for a checkpoint: %w", err)
	}
	defer s.copying.Release(1)
	if s.idle != nil {
		s.idle.Stop()
	}
	s.idle = time.AfterFunc(2*checkpointEvery, s.endBulk)
	switch {
	case time.Since(s.copied) < checkpointEvery:
		return nil
	case s.beside == nil:
		synced := make(chan error, 1)
		s.beside = synced
		go func() { synced <- s.syncLog() }()
		return nil
	case len(s.beside) == 0:
		return nil
	}
	defer func() { s.copied = time.Now() }()
	if err := s.awaitSync(); err != nil {
		return err
	}
	return s.copyAll(ctx)
}

// syncLog syncs the log, as a checkpoint does to begin with, while changes go on.
// Where it is not beside the database, as behind a link, that is left to do then.
// Nobody locks that file: SQLite's locks are in others.
func (s *Store) syncLog() error {
	log, err := os.OpenFile(s.path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(log.Sync(), log.Close())
	}
	if err != nil {
		return unavailable(s.path, fmt.Errorf("sync the log: %w", err))
	}
	return nil
}

// awaitSync waits for the sync of the log that goes on beside the changes.
func (s *Store) awaitSync() error {
	if s.beside == nil {
		return nil
	}
	err := <-s.beside
	s.beside = nil
	return err
}

// copyAll copies all of the log, and has it begin anew where nobody reads.
func (s *Store) copyAll(ctx context.Context) error {
	quiet, before := 0, int64(0)
	for range checkpointTries {
		done, all, err := checkpoint(ctx, s.copier)
		if err != nil {
			return err
		}
		if quiet++; !all || done-before > fewFrames {
			quiet = 0
		}
		before = done
		if quiet >= quietRounds {
			if anew, err := s.beginAnew(ctx); anew || err != nil {
				return err
			}
		} else if all {
			continue
		}
		select { // until readers are gone
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(checkpointPause):
		}
	}
	return nil
}

// beginAnew copies what was added since, with the writer held, after which the next
// change begins the log anew. It does nothing, and says so, while somebody reads: the
// log is added to then, until the next checkpoint.
func (s *Store) beginAnew(ctx context.Context) (anew bool, err error) {
	err = s.onWriter(ctx, func(conn *sql.Conn) error {
		if s.read.Stats().InUse > 0 {
			return nil
		}
		anew = true
		_, _, err := checkpoint(ctx, conn)
		return err
	})
	return anew, err
}

// endBulk gives the checkpoints back to the writer's commits, of which the first
// should find little to copy. Where it fails the database is unusable, and
// whoever uses it next says so.
func (s *Store) endBulk() {
	ctx := context.Background() // it belongs to no call, and does not end
	if err := s.copying.Acquire(ctx, 1); err != nil {
		return
	}
	defer s.copying.Release(1)
	_ = s.awaitSync()
	_, _, _ = checkpoint(ctx, s.copier)
	_ = s.onWriter(ctx, func(conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA wal_autocheckpoint = %d`, autoCheckpoint))
		return err
	})
}

// checkpoint copies what it can without waiting for anybody. It returns how many
// frames of the log are in the database, and whether these are all: readers, and
// another process that does the same, can be in the way.
func checkpoint(ctx context.Context, db queryer) (done int64, all bool, err error) {
	var busy, log int64
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &log, &done); err != nil {
		return 0, false, fmt.Errorf("checkpoint: %w", err)
	}
	return done, busy == 0 && done == log, nil
}
