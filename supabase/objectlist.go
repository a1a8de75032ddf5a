package supabase

import (
	"context"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// List yields the objects whose keys begin with prefix. Storage lists by folder and
// in the order of some language, so the list is complete before it begins. Where the
// server answers with names alone, each object is looked at: it may read the folder
// as a pattern, and answer with names of another one.
func (o *Objects) List(ctx context.Context, prefix string) iter.Seq2[exportops.Object, error] {
	return func(yield func(exportops.Object, error) bool) {
		found := map[string]exportops.Object{} // without a size where that is to be looked for
		err := ctx.Err()
		if err == nil {
			// Begun at the deepest folder that holds all of them.
			folder, _ := path.Split(o.store.prefix + prefix)
			if err = o.gather(ctx, folder, o.store.prefix+prefix, found, map[string]bool{}); err == nil {
				err = o.confirm(ctx, found)
			}
			if err == nil {
				err = o.store.present(ctx) // of a bucket that is gone the list is empty
			}
		}
		if err != nil {
			yield(exportops.Object{}, o.store.unusable("list objects", err))
			return
		}
		for _, key := range slices.Sorted(maps.Keys(found)) {
			if !yield(found[key], nil) {
				return
			}
		}
	}
}

// gather collects the objects of a folder and of those below it whose whole keys
// begin with prefix.
func (o *Objects) gather(ctx context.Context, folder, prefix string, found map[string]exportops.Object, seen map[string]bool) error {
	seen[folder] = true
	var folders []string
	err := o.store.list(ctx, folder, "", func(x object) (more bool, err error) {
		key, whole := x.Name, strings.Contains(x.Name, "/") || folder == ""
		if !whole {
			key = folder + key
		}
		switch {
		case x.isFolder():
			if below := key + "/"; strings.HasPrefix(below, folder) && (strings.HasPrefix(below, prefix) || strings.HasPrefix(prefix, below)) && !seen[below] {
				folders = append(folders, below)
			}
			return true, nil
		case !strings.HasPrefix(key, prefix) || o.store.checkKey(key) != nil:
			return true, nil //nolint:nilerr // what is no object's key is no object
		}
		info, err := x.info()
		if err != nil {
			return false, err
		}
		if !whole {
			info.Size = unconfirmed
		}
		key = strings.TrimPrefix(key, o.store.prefix)
		found[key] = exportops.Object{Key: key, Size: info.Size, Modified: info.Modified}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, below := range folders {
		if err := o.gather(ctx, below, prefix, found, seen); err != nil {
			return err
		}
	}
	return nil
}

const unconfirmed = -1

// confirm looks at the objects of which the list was no proof.
func (o *Objects) confirm(ctx context.Context, found map[string]exportops.Object) error {
	var keys []string
	for key, x := range found {
		if x.Size == unconfirmed {
			keys = append(keys, o.store.prefix+key)
		}
	}
	for some := range slices.Chunk(keys, maxBatch) {
		infos, err := o.store.Stat(ctx, some)
		if err != nil {
			return err
		}
		for i, info := range infos {
			key := strings.TrimPrefix(some[i], o.store.prefix)
			switch {
			case info.Err != nil:
				return info.Err
			case info.Exists:
				found[key] = exportops.Object{Key: key, Size: info.Size, Modified: info.Modified}
			default:
				delete(found, key)
			}
		}
	}
	return nil
}
