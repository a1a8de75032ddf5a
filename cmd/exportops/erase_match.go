package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/exportops/exportops"
)

type erasuresMatchCmd struct {
	File string `arg:"" help:"receipts as exportops erasures shows them, kept elsewhere; - is the standard input"`
}

// Help says more of it.
func (erasuresMatchCmd) Help() string {
	return `A receipt names nobody: it holds a hash, and the key of that is in the database. So
the database must be a backup of the one that gave the receipts. Every user who has a
row in the export logs is compared. Nothing is erased: do that with erase-user.`
}

// erasedUser is a user of the export logs whom a receipt says to be erased.
type erasedUser struct {
	UserID   string         `json:"user_id"`
	Receipt  string         `json:"receipt"`
	ErasedAt exportops.Time `json:"erased_at"`
}

type erasuresMatched struct {
	Receipts  int          `json:"receipts"`
	Unmatched int          `json:"unmatched"` // nobody in the export logs is meant
	Users     []erasedUser `json:"users"`
}

// Run looks for users whom receipts are about.
func (c *erasuresMatchCmd) Run(e *env) error {
	receipts, err := c.read(e)
	if err != nil {
		return err
	}
	byHash := make(map[string]exportops.Erasure, len(receipts))
	for _, r := range receipts {
		if old, ok := byHash[r.UserHash]; !ok || r.FinishedAt.After(old.FinishedAt.Time) {
			byHash[r.UserHash] = r
		}
	}
	return e.withStore(func(s exportops.Database) error {
		answer := erasuresMatched{Receipts: len(receipts), Users: []erasedUser{}}
		met := map[string]bool{}
		err := eachUser(e, s, func(id string) error {
			hash, err := s.UserHash(e.ctx, id)
			if r, ok := byHash[hash]; err == nil && ok {
				met[hash] = true
				answer.Users = append(answer.Users, erasedUser{id, r.ID, r.FinishedAt})
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range receipts {
			if !met[r.UserHash] {
				answer.Unmatched++
			}
		}
		return e.show(answer, func() {
			rows := make([][]string, len(answer.Users))
			for i, u := range answer.Users {
				rows[i] = []string{u.UserID, u.Receipt, instant(&u.ErasedAt)}
			}
			e.table("users that were erased, and are here", strings.Split("user,receipt,erased", ","), rows)
			e.stdout.printf("%d receipts, of which %d are about nobody in the export logs\n", answer.Receipts, answer.Unmatched)
		})
	})
}

// eachUser calls fn once for each user of the export logs.
func eachUser(e *env, s exportops.Database, fn func(id string) error) error {
	seen := map[string]bool{}
	f := exportops.ExportFilter{Limit: exportops.MaxPage}
	for {
		page, next, err := s.Exports(e.ctx, f)
		if err != nil {
			return err
		}
		for _, x := range page {
			id := strings.ToLower(x.UserID)
			if seen[id] {
				continue
			}
			seen[id] = true
			if err := fn(id); err != nil {
				return err
			}
		}
		if f.Cursor = next; next == "" {
			return nil
		}
	}
}

// read reads receipts: pages, lists of them, or one after the other.
func (c *erasuresMatchCmd) read(e *env) ([]exportops.Erasure, error) {
	in := e.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, &usageError{fmt.Errorf("open the receipts: %w", err)}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	var all []exportops.Erasure
	d := json.NewDecoder(in)
	for {
		var text json.RawMessage
		err := d.Decode(&text)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		var some []exportops.Erasure
		if err == nil {
			some, err = receiptsIn(text)
		}
		if err != nil {
			return nil, &usageError{fmt.Errorf("read the receipts: %w", err)}
		}
		all = append(all, some...)
	}
}

func receiptsIn(text json.RawMessage) (all []exportops.Erasure, err error) {
	var page struct {
		Erasures []exportops.Erasure `json:"erasures"`
	}
	var one exportops.Erasure
	switch {
	case bytes.HasPrefix(text, []byte("[")):
		err = json.Unmarshal(text, &all)
	case json.Unmarshal(text, &page) == nil && page.Erasures != nil:
		all = page.Erasures
	default:
		err = json.Unmarshal(text, &one)
		all = []exportops.Erasure{one}
	}
	for _, r := range all {
		if err == nil && (r.UserHash == "" || !r.Intact()) {
			err = exportops.Invalid("receipt", "%q is not as it was given: its digest does not fit", r.ID)
		}
	}
	return all, err
}
