package exportops

import (
	"slices"
	"strings"
)

// WalkedFile is what a walk through a file store came across.
type WalkedFile struct {
	Key      string
	Size     int64 // bytes
	Modified Time
	Version  string // ETag or the like where the store knows one, else ""
	// Odd says why this can be no export's file, such as "it is a symbolic link";
	// "" for a regular file under a clean key. Nothing else is known of it then, and
	// Key may be any text.
	Odd string
}

// Keyed is a value under a key.
type Keyed[T any] struct {
	Key   string
	Value T
}

// Least keeps those of many values that come first in the order of their keys, so
// that a store which knows no order can be walked in one: in as many passes as
// it takes, and with flat memory.
type Least[T any] struct {
	most int
	kept []Keyed[T]
	full bool
	last string // where full, nothing behind it is kept
}

// NewLeast keeps the first so many.
func NewLeast[T any](most int) *Least[T] { return &Least[T]{most: most} }

// Wants reports whether a value under this key would be kept.
func (l *Least[T]) Wants(key string) bool { return !l.full || key <= l.last }

// Add takes a value, unless enough come before it.
func (l *Least[T]) Add(key string, v T) {
	if !l.Wants(key) {
		return
	}
	if l.kept = append(l.kept, Keyed[T]{key, v}); len(l.kept) >= 2*l.most {
		l.cut()
	}
}

func (l *Least[T]) cut() {
	slices.SortFunc(l.kept, func(a, b Keyed[T]) int { return strings.Compare(a.Key, b.Key) })
	if len(l.kept) > l.most {
		clear(l.kept[l.most:]) // lets go of the keys
		l.kept, l.full = l.kept[:l.most], true
		l.last = l.kept[l.most-1].Key
	}
}

// Sorted returns what was kept, and whether there was more.
func (l *Least[T]) Sorted() (kept []Keyed[T], more bool) {
	l.cut()
	return l.kept, l.full
}
