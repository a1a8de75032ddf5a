package exportops

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// The chain of the ledger. Each entry that has an outcome is a link of the day on
// which it was linked:
//
//	digest  = SHA-256(salt, what identifies the entry)
//	content = SHA-256(the entry's number, every other column, digest)
//	hash    = SHA-256(the hash before, day, place in the day, the entry's number, content)
//
// An erasure takes what identifies the entry and the salt with it; the digest
// stays, and says nothing to anybody any more. An entry that changes for a reason,
// because it is tried again, leaves its link behind and gets another.

// LedgerRow is an entry of the ledger as its chain sees it. The values are as the
// store reads them: nil, int64, float64, string or []byte.
type LedgerRow struct {
	ID       int64
	Identity []any // export, user, key, file_url and error: what an erasure takes away
	Facts    []any // every other column that says something
}

// Seal is what an entry keeps of its link, its place and hash aside.
type Seal struct {
	Salt    []byte // nil after an erasure
	Digest  []byte
	Content []byte
}

// ChainLink is one place in the chain of a day.
type ChainLink struct {
	Seal
	ID   int64 // of the entry
	Seq  int64 // from 1
	Hash []byte
	// Row is the entry as it is now; nil where it has gone on since, and its later
	// link, if it has one already, says what it is.
	Row *LedgerRow
	// Lost says of a link without a Row that there is no entry that could have gone
	// on from it.
	Lost bool
}

// ChainDay is what is kept of a day's chain beside its links.
type ChainDay struct {
	Day    string `json:"day"`
	Before []byte `json:"-"`     // the hash that the day begins from
	Hash   []byte `json:"-"`     // of its last link
	Links  int64  `json:"links"` // how many it has, or had
	// Pruned says that links are being taken from the day's beginning, or were:
	// what is left of the chain begins with its Hash.
	Pruned bool `json:"pruned,omitempty"`
}

// beginning is the hash that the first day begins from.
var beginning = make([]byte, sha256.Size)

// LinkDeletions links entries, in order, to the end of a chain: last is its last
// day, nil where there is none, and now decides which day it is, except that days
// never go backwards. The error is that of a value that no store reads.
func LinkDeletions(last *ChainDay, now Time, rows []LedgerRow) (day ChainDay, links []ChainLink, err error) {
	today := now.Day().Format("2006-01-02")
	switch {
	case last == nil:
		day = ChainDay{Day: today, Before: beginning, Hash: beginning}
	case today > last.Day:
		day = ChainDay{Day: today, Before: last.Hash, Hash: last.Hash}
	default:
		day = *last
	}
	salts := make([]byte, saltSize*len(rows))
	rand.Read(salts)
	links = make([]ChainLink, len(rows))
	for i, r := range rows {
		l := ChainLink{ID: r.ID, Seal: Seal{Salt: salts[saltSize*i : saltSize*(i+1)]}}
		if l.Digest, err = r.digest(l.Salt); err != nil {
			return day, nil, err
		}
		if l.Content, err = r.content(l.Digest); err != nil {
			return day, nil, err
		}
		day.Links++
		l.Seq = day.Links
		l.Hash = l.after(day.Hash, day.Day)
		day.Hash, links[i] = l.Hash, l
	}
	return day, links, nil
}

const saltSize = 16

func (r LedgerRow) digest(salt []byte) ([]byte, error) {
	return hashOf("exportops identity", append([]any{salt}, r.Identity...)...)
}

func (r LedgerRow) content(digest []byte) ([]byte, error) {
	return hashOf("exportops entry", append([]any{r.ID, digest}, r.Facts...)...)
}

// after is the hash that the link has behind another.
func (l ChainLink) after(before []byte, day string) []byte {
	h, err := hashOf("exportops link", before, day, l.Seq, l.ID, l.Content)
	if err != nil {
		panic(err) // it knows these types
	}
	return h
}

// erased reports whether nothing is left of what identifies the entry.
func (r LedgerRow) erased() bool {
	for _, v := range r.Identity {
		if v != nil && v != "" {
			return false
		}
	}
	return true
}

// hashOf hashes values with their types and lengths, so that no two lists of
// values look alike. The name keeps hashes of different things apart.
func hashOf(name string, values ...any) ([]byte, error) {
	h := sha256.New()
	write := func(kind byte, b []byte) {
		var head [9]byte
		head[0] = kind
		binary.BigEndian.PutUint64(head[1:], uint64(len(b)))
		h.Write(head[:])
		h.Write(b)
	}
	write('s', []byte(name))
	var number [8]byte
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			write('n', nil)
		case int64:
			binary.BigEndian.PutUint64(number[:], uint64(v))
			write('i', number[:])
		case float64:
			binary.BigEndian.PutUint64(number[:], math.Float64bits(v))
			write('f', number[:])
		case string:
			write('s', []byte(v))
		case []byte:
			write('b', v)
		default:
			return nil, fmt.Errorf("hash a value of type %T", v)
		}
	}
	return h.Sum(nil), nil
}

// ChainReader reads the chain of the ledger.
type ChainReader interface {
	// ChainDays returns the days that the chain has or had links of, oldest first;
	// the days that only links know of come with no hashes.
	ChainDays(ctx context.Context) ([]ChainDay, error)
	// ChainLinks yields the links of a day in order.
	ChainLinks(ctx context.Context, day string) iter.Seq2[ChainLink, error]
	// Unchained counts the entries that have an outcome and no link yet.
	Unchained(ctx context.Context) (int64, error)
}

// ChainStore keeps the chain of the ledger.
type ChainStore interface {
	ChainReader
	// ChainDeletions links entries that have an outcome and no link, in the order of
	// their numbers: of a page after the given one. It returns how many, and the
	// number to go on after, 0 at the end. Of several processes that link at once
	// each waits for the others.
	ChainDeletions(ctx context.Context, c Checkpoint, after int64, limit int) (n int, last int64, err error)
}

// same compares hashes.
func same(a, b []byte) bool { return bytes.Equal(a, b) }
