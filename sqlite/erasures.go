package sqlite

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/exportops/exportops"
)

// UserHash implements exportops.ErasureStore.
func (s *Store) UserHash(ctx context.Context, userID string) (hash string, err error) {
	key := make([]byte, 32)
	rand.Read(key)
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO exportops_erasure_key (one, key) VALUES (1, ?) ON CONFLICT DO NOTHING`, key); err != nil {
			return fmt.Errorf("keep the key of erasures: %w", err)
		}
		return tx.QueryRowContext(ctx, `SELECT key FROM exportops_erasure_key`).Scan(&key)
	})
	if err != nil {
		return "", err
	}
	return exportops.HashUser(key, userID), nil
}

// ErasedAt implements exportops.ErasureStore.
func (s *Store) ErasedAt(ctx context.Context, userIDs []string) (map[string]exportops.Time, error) {
	var key []byte
	err := s.read.QueryRowContext(ctx, `SELECT key FROM exportops_erasure_key WHERE one = 1`).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(userIDs) == 0 {
		return nil, nil // nobody was erased
	}
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the key of erasures: %w", err))
	}
	of := exportops.HashUsers(key, userIDs)
	list, err := jsonList(slices.Collect(maps.Keys(of)))
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT e.user_hash, max(e.finished_at) FROM json_each(?) j
		CROSS JOIN exportops_erasures e ON e.user_hash = j.value GROUP BY e.user_hash`, list)
	if err != nil {
		return nil, s.explain(fmt.Errorf("look for erased users: %w", err))
	}
	erased := map[string]exportops.Time{}
	err = scanAll(rows, func() error {
		var hash, text string
		if err := rows.Scan(&hash, &text); err != nil {
			return err
		}
		at, err := exportops.ParseTime(text)
		for _, user := range of[hash] {
			erased[user] = at
		}
		return err
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("look for erased users: %w", err))
	}
	return erased, nil
}

// RecordErasure implements exportops.ErasureStore.
func (s *Store) RecordErasure(ctx context.Context, c exportops.Checkpoint, userID string, e exportops.Erasure) error {
	receipt, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("keep the receipt: %w", err)
	}
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		if hold, err := holdCovering(ctx, tx, userID, "[]"); err != nil || hold != 0 {
			return cmp.Or(err, exportops.HeldUser(hold))
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO exportops_erasures (id, user_hash, finished_at, receipt) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, e.ID, e.UserHash, e.FinishedAt.String(), string(receipt))
		if err != nil {
			return fmt.Errorf("keep the receipt: %w", err)
		}
		return nil
	})
}

// Erasures implements exportops.ErasureStore.
func (s *Store) Erasures(ctx context.Context, cursor string, limit int) (page []exportops.Erasure, next string, err error) {
	size := exportops.PageSize(limit)
	before, err := exportops.PageBefore(cursor)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT seq, receipt FROM exportops_erasures WHERE seq < ? ORDER BY seq DESC LIMIT ?`, before, size+1)
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("read receipts: %w", err))
	}
	var last int64
	err = scanAll(rows, func() error {
		if len(page) == size {
			next = strconv.FormatInt(last, 10)
			return nil
		}
		var receipt string
		if err := rows.Scan(&last, &receipt); err != nil {
			return err
		}
		page = append(page, exportops.Erasure{})
		return json.Unmarshal([]byte(receipt), &page[len(page)-1])
	})
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("read receipts: %w", err))
	}
	return page, next, nil
}

// Scrub implements exportops.ErasureStore: what was deleted is overwritten in the
// database by itself; its log begins anew.
func (s *Store) Scrub(ctx context.Context) error {
	if s.copier == nil { // a rehearsal
		return nil
	}
	// Beside a checkpoint that a bulk change makes, nobody can make another.
	if err := s.copying.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for a checkpoint: %w", err)
	}
	defer s.copying.Release(1)
	var busy, frames, copied int64
	err := s.onWriter(ctx, func(conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &copied)
	})
	if err != nil {
		return s.explain(fmt.Errorf("empty the log: %w", err))
	}
	if busy != 0 {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Message: "the log of the database cannot be emptied while others read from it",
			Hint: "run the erasure again when they are done",
		}
	}
	return nil
}
