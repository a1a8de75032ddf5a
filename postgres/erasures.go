package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// UserHash implements exportops.ErasureStore.
func (s *Store) UserHash(ctx context.Context, userID string) (string, error) {
	key := make([]byte, 32)
	rand.Read(key)
	err := s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO exportops.erasure_key (one, key) VALUES (1, $1) ON CONFLICT DO NOTHING`, key); err != nil {
			return fmt.Errorf("keep the key of erasures: %w", err)
		}
		return tx.QueryRow(ctx, `SELECT key FROM exportops.erasure_key`).Scan(&key)
	})
	if err != nil {
		return "", err
	}
	return exportops.HashUser(key, userID), nil
}

// ErasedAt implements exportops.ErasureStore.
func (s *Store) ErasedAt(ctx context.Context, userIDs []string) (map[string]exportops.Time, error) {
	erased := map[string]exportops.Time{}
	err := s.reading(ctx, func(tx pgx.Tx) error {
		var key []byte
		err := tx.QueryRow(ctx, `SELECT key FROM exportops.erasure_key`).Scan(&key)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && len(userIDs) == 0 {
			return nil // nobody was erased
		}
		if err != nil {
			return fmt.Errorf("read the key of erasures: %w", err)
		}
		of := exportops.HashUsers(key, userIDs)
		rows, err := tx.Query(ctx, `SELECT e.user_hash, max(e.finished_at) FROM exportops.erasures e
			WHERE e.user_hash = ANY($1::text[]) GROUP BY e.user_hash`, slices.Collect(maps.Keys(of)))
		if err != nil {
			return fmt.Errorf("look for erased users: %w", err)
		}
		var hash string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&hash, &at}, func() error {
			for _, user := range of[hash] {
				erased[user] = exportops.At(at)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for erased users: %w", err)
		}
		return nil
	})
	return erased, err
}

// RecordErasure implements exportops.ErasureStore.
func (s *Store) RecordErasure(ctx context.Context, c exportops.Checkpoint, userID string, e exportops.Erasure) error {
	receipt, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("keep the receipt: %w", err)
	}
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		if err := s.shareHolds(ctx, tx); err != nil {
			return err
		}
		if hold, err := holdCovering(ctx, tx, userID, nil); err != nil || hold != 0 {
			return cmp.Or(err, exportops.HeldUser(hold))
		}
		_, err := tx.Exec(ctx, `INSERT INTO exportops.erasures (id, user_hash, finished_at, receipt)
			VALUES ($1::uuid, $2, $3::timestamptz, $4::json) ON CONFLICT (id) DO NOTHING`,
			e.ID, e.UserHash, e.FinishedAt.String(), string(receipt))
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
	err = s.reading(ctx, func(tx pgx.Tx) error {
		page, next = nil, ""
		rows, err := tx.Query(ctx, `SELECT e.seq, e.receipt::text FROM exportops.erasures e WHERE e.seq < $1
			ORDER BY e.seq DESC LIMIT $2`, before, size+1)
		if err != nil {
			return fmt.Errorf("read receipts: %w", err)
		}
		var seq, last int64
		var receipt string
		_, err = pgx.ForEachRow(rows, []any{&seq, &receipt}, func() error {
			if len(page) == size {
				next = strconv.FormatInt(last, 10)
				return nil
			}
			last, page = seq, append(page, exportops.Erasure{})
			return json.Unmarshal([]byte(receipt), &page[len(page)-1])
		})
		if err != nil {
			return fmt.Errorf("read receipts: %w", err)
		}
		return nil
	})
	return page, next, err
}

// Scrub implements exportops.ErasureStore: when deleted rows leave the server's
// files is for its vacuum to say.
func (s *Store) Scrub(context.Context) error { return nil }
