package testworld

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/exportops/exportops"
)

// Objects is a place for archives with a hand on it: each field, where set, steps in.
// It lies in a folder, so that another process finds what this one wrote.
type Objects struct {
	Folder string
	Name   string // of the place; "" is that of all which have none

	// Before is called before an object is created. Its error is the answer.
	Before func(key string) error
	// Created is called after an object was created. Its error is the answer.
	Created func(key string) error
	// Opening is called before an object is read. Its error is the answer.
	Opening func(key string) error
}

var _ exportops.ObjectStore = (*Objects)(nil)

// ID implements exportops.ObjectStore.
func (o *Objects) ID() string { return cmp.Or(o.Name, "test://archive") }

func (o *Objects) path(key string) string { return filepath.Join(o.Folder, filepath.FromSlash(key)) }

func call(fn func(string) error, key string) error {
	if fn == nil {
		return nil
	}
	return fn(key)
}

// Create implements exportops.ObjectStore.
func (o *Objects) Create(_ context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	if err := call(o.Before, key); err != nil {
		return err
	}
	all, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if int64(len(all)) != size || sha256.Sum256(all) != sum {
		return fmt.Errorf("%s is not what was announced", key)
	}
	if err := o.Put(key, all); err != nil {
		return err
	}
	return call(o.Created, key)
}

// Put writes an object where there is none.
func (o *Objects) Put(key string, content []byte) error {
	name := o.path(key)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	whole := name + "~" + exportops.NewID()
	defer func() { _ = os.Remove(whole) }()
	if err := os.WriteFile(whole, content, 0o600); err != nil {
		return err
	}
	if err := os.Link(whole, name); errors.Is(err, fs.ErrExist) {
		return &exportops.Error{Kind: exportops.KindConflict, Message: "there is an object already"}
	} else if err != nil {
		return err
	}
	return nil
}

// Open implements exportops.ObjectStore.
func (o *Objects) Open(_ context.Context, key string) (io.ReadCloser, error) {
	if err := call(o.Opening, key); err != nil {
		return nil, err
	}
	all, err := os.ReadFile(o.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &exportops.Error{Kind: exportops.KindNotFound, Message: "there is no object " + key}
	}
	return io.NopCloser(bytes.NewReader(all)), err
}

// List implements exportops.ObjectStore.
func (o *Objects) List(_ context.Context, prefix string) iter.Seq2[exportops.Object, error] {
	return func(yield func(exportops.Object, error) bool) {
		err := filepath.WalkDir(o.Folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			key := filepath.ToSlash(strings.TrimPrefix(path, o.Folder+string(filepath.Separator)))
			info, err := d.Info()
			if err != nil || strings.Contains(key, "~") || !strings.HasPrefix(key, prefix) {
				return err
			}
			if !yield(exportops.Object{Key: key, Size: info.Size(), Modified: exportops.At(info.ModTime())}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(exportops.Object{}, err)
		}
	}
}

// Delete implements exportops.ObjectStore.
func (o *Objects) Delete(_ context.Context, key string) error {
	if err := os.Remove(o.path(key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep implements exportops.ObjectStore.
func (o *Objects) Sweep(context.Context) ([]string, error) { return nil, nil }

// ProbeCreate implements exportops.ObjectStore.
func (o *Objects) ProbeCreate(context.Context) error { return nil }

// Keys lists what there is.
func (o *Objects) Keys() (keys []string) {
	for x, err := range o.List(context.Background(), "") {
		if err != nil {
			panic(err) // a folder of the test's own
		}
		keys = append(keys, x.Key)
	}
	return keys
}

// Flip changes one byte in the middle of an object.
func (o *Objects) Flip(key string) error {
	all, err := os.ReadFile(o.path(key))
	if err != nil {
		return err
	}
	all[len(all)/2] ^= 1
	return os.WriteFile(o.path(key), all, 0o600) //nolint:gosec // a folder of the test's own
}
