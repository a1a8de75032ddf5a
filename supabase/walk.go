package supabase

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/exportops/exportops"
)

// The bounds of a walk: how many entries of one folder are held at once, of which
// more passes are made where there are more, and how deep it goes.
const (
	walkNames = 20_000
	walkDepth = 100
)

// errEnough says that whoever walks wants no more.
var errEnough = errors.New("enough was seen")

// Walk yields objects, folder by folder. Servers sort names in ways of their own,
// so they are put in order here. A server may read a folder's name as a pattern,
// and tell of an object in another folder as one in this: whoever acts on a
// single object looks at it first.
func (s *Store) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	return func(yield func(exportops.WalkedFile, error) bool) {
		w := walk{store: s, after: after, last: after, yield: func(f exportops.WalkedFile) bool { return yield(f, nil) }}
		err := s.present(ctx)
		if err == nil {
			err = w.folder(ctx, s.prefix, 0)
		}
		if err == nil {
			err = s.present(ctx) // of a bucket that is gone, lists are empty
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(exportops.WalkedFile{}, s.unusable("list files", err))
		}
	}
}

type walk struct {
	store       *Store
	after, last string
	yield       func(exportops.WalkedFile) bool
}

// folder walks through a folder, which is "" or ends in a slash. Some servers
// answer with folders, some with the objects in them.
func (w *walk) folder(ctx context.Context, folder string, depth int) error {
	for from, more := "", true; more; {
		least := exportops.NewLeast[object](walkNames)
		err := w.store.pages(ctx, folder, "", 0, func(o object) (bool, error) {
			if key, ok := w.keyIn(folder, o); ok && key > from {
				least.Add(key, o)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		var page []exportops.Keyed[object]
		page, more = least.Sorted()
		for _, e := range page {
			if err := w.entry(ctx, e.Key, e.Value, depth); err != nil {
				return err
			}
			from = e.Key
		}
	}
	return nil
}

// keyIn is the key of an entry of a folder's list, or the path of a folder with a
// slash behind it; false for what does not lie ahead.
func (w *walk) keyIn(folder string, o object) (string, bool) {
	key := folder + o.Name
	if strings.Contains(o.Name, "/") {
		key = o.Name
	}
	if o.isFolder() {
		key += "/"
	}
	rest, ours := strings.CutPrefix(key, folder)
	ahead := key > w.last || (o.isFolder() && strings.HasPrefix(w.last, key))
	return key, ours && rest != "" && rest != "/" && ahead && !strings.HasPrefix(strings.ToLower(key), strings.ToLower(w.store.prefix)+reserved)
}

func (w *walk) entry(ctx context.Context, key string, o object, depth int) error {
	f := exportops.WalkedFile{Key: key}
	switch {
	case o.isFolder() && depth < walkDepth:
		return w.folder(ctx, key, depth+1)
	case o.isFolder():
		f.Odd = "it is a folder below too many others, and was not looked into"
	case key <= w.last:
		return nil // it was told of already, with the whole key
	default:
		info, err := o.info()
		if err == nil {
			err = w.store.checkKey(key)
		}
		if err != nil {
			f.Odd = err.Error()
		}
		f.Size, f.Modified, f.Version = info.Size, info.Modified, info.Version
	}
	w.last = key
	if !w.yield(f) {
		return errEnough
	}
	return nil
}
