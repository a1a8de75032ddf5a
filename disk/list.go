package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// List yields the objects whose keys begin with prefix. Links and what else is no
// regular file are no objects.
func (o *Objects) List(ctx context.Context, prefix string) iter.Seq2[exportops.Object, error] {
	return func(yield func(exportops.Object, error) bool) {
		w := listing{ctx: ctx, store: o.store, prefix: prefix, yield: yield}
		err := o.store.present()
		if err == nil {
			err = w.folder("")
		}
		if err == nil && !w.stopped {
			// A list is worth something only if this was the right folder throughout.
			err = o.store.present()
		}
		if err != nil && !w.stopped {
			yield(exportops.Object{}, err)
		}
	}
}

type listing struct {
	ctx     context.Context // of one call of List
	store   *Store
	prefix  string
	yield   func(exportops.Object, error) bool
	stopped bool
}

// folder lists what is below a path, which is "" or ends in a slash.
func (w *listing) folder(below string) error {
	names, err := w.names(below)
	if err != nil {
		return err
	}
	for _, name := range names {
		key := below + name
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(key, "/") {
			if strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key) {
				err = w.folder(key)
			}
		} else if strings.HasPrefix(key, w.prefix) && checkObjectKey(key) == nil {
			err = w.file(key)
		}
		if err != nil || w.stopped {
			return err
		}
	}
	return nil
}

// names lists a folder in the order of keys: those of folders end in a slash.
func (w *listing) names(below string) ([]string, error) {
	path := "."
	if below != "" {
		path = strings.TrimSuffix(below, "/")
	}
	dir, err := w.store.openFolder(path)
	if isAbsent(err) || errors.Is(err, exportops.ErrBadKey) {
		return nil, nil // gone meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", below, cause(err))
	}
	defer dir.Close() // opened for reading
	entries, err := readDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", below, cause(err))
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.IsDir():
			names = append(names, e.Name()+"/")
		case e.Type().IsRegular():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func readDir(dir *os.Root) (entries []fs.DirEntry, err error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading
	return f.ReadDir(-1)
}

func (w *listing) file(key string) error {
	infos, err := w.store.Stat(w.ctx, []string{key})
	switch {
	case err != nil:
		return err
	case infos[0].Err != nil:
		return fmt.Errorf("list %q: %w", key, infos[0].Err)
	case !infos[0].Exists: // gone meanwhile
		return nil
	}
	w.stopped = !w.yield(exportops.Object{Key: key, Size: infos[0].Size, Modified: infos[0].Modified}, nil)
	return nil
}
