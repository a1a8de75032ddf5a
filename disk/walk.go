package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/exportops/exportops"
)

// The bounds of a walk: how many names of one folder are held at once, of which
// more passes are made where there are more, and how many folders are opened
// within each other.
const (
	walkNames = 20_000
	walkDepth = 100
)

// Walk yields regular files. Symbolic links and other things that are no files
// are told of and never followed; so is a folder that may not be read, or lies
// deeper than one should.
func (s *Store) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	return func(yield func(exportops.WalkedFile, error) bool) {
		w := walk{ctx: ctx, after: after, yield: func(f exportops.WalkedFile) bool { return yield(f, nil) }}
		err := s.present()
		if err == nil {
			err = w.from(s.root)
		}
		if err == nil {
			err = s.present() // or files seem to be gone that are not
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(exportops.WalkedFile{}, err)
		}
	}
}

// errEnough says that whoever walks wants no more.
var errEnough = errors.New("enough was seen")

type walk struct {
	ctx   context.Context //nolint:containedctx // of one call
	after string
	yield func(exportops.WalkedFile) bool
}

func (w *walk) from(root *os.Root) error {
	dir, err := root.OpenRoot(".")
	if err != nil {
		return fmt.Errorf("read the storage folder: %w", cause(err))
	}
	return errors.Join(w.folder(dir, "", 0), dir.Close())
}

// folder walks through one folder; prefix is "" or its path and a slash.
func (w *walk) folder(dir *os.Root, prefix string, depth int) error {
	for from, more := "", true; more; {
		var page []exportops.Keyed[fs.FileInfo]
		var err error
		if page, more, err = w.page(dir, prefix, from); err != nil {
			return err
		}
		for _, e := range page {
			if err := w.entry(dir, prefix, e, depth); err != nil {
				return err
			}
			from = e.Key
		}
	}
	return nil
}

// page reads the next names of a folder. A folder's name stands with the slash
// that its files' keys have there.
func (w *walk) page(dir *os.Root, prefix, from string) ([]exportops.Keyed[fs.FileInfo], bool, error) {
	list, err := dir.Open(".")
	if err != nil {
		return nil, false, fmt.Errorf("read the folder %q: %w", prefix, cause(err))
	}
	defer list.Close() // opened for reading: nothing to lose
	least := exportops.NewLeast[fs.FileInfo](walkNames)
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
		names, err := list.Readdirnames(512)
		for _, name := range names {
			if !least.Wants(name) || name+"/" <= from || (prefix == "" && isReserved(name)) {
				continue
			}
			info, err := dir.Lstat(name)
			switch {
			case isAbsent(err):
				continue // it went in this moment
			case err != nil:
				return nil, false, fmt.Errorf("look at %q: %w", prefix+name, cause(err))
			case info.IsDir():
				name += "/"
			}
			if name > from && w.ahead(prefix+name) {
				least.Add(name, info)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			page, more := least.Sorted()
			return page, more, nil
		case err != nil:
			return nil, false, fmt.Errorf("read the folder %q: %w", prefix, cause(err))
		}
	}
}

// ahead reports whether a file, or anything in a folder, comes after the place
// where the walk begins.
func (w *walk) ahead(key string) bool {
	return key > w.after || (strings.HasSuffix(key, "/") && strings.HasPrefix(w.after, key))
}

func (w *walk) entry(dir *os.Root, prefix string, e exportops.Keyed[fs.FileInfo], depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	f := exportops.WalkedFile{Key: prefix + e.Key}
	name, isFolder := strings.CutSuffix(e.Key, "/")
	switch {
	case isFolder:
		child, err := openChild(dir, name)
		switch {
		case isAbsent(err):
			return nil
		case err == nil && depth < walkDepth:
			return errors.Join(w.folder(child, f.Key, depth+1), child.Close())
		case err == nil:
			f.Odd = fmt.Sprintf("it is a folder below %d others, and was not looked into", walkDepth)
			err = child.Close()
			if err != nil {
				return err
			}
		case errors.Is(err, fs.ErrPermission):
			f.Odd = "it is a folder that this process may not read"
		case errors.Is(err, exportops.ErrBadKey):
			f.Odd = "it was a folder, and became something else"
		default:
			return fmt.Errorf("open the folder %q: %w", f.Key, cause(err))
		}
	case !e.Value.Mode().IsRegular():
		f.Odd = "it is " + describe(e.Value.Mode())
	default:
		f.Size, f.Modified = e.Value.Size(), exportops.At(e.Value.ModTime())
		if err := exportops.CheckKey(f.Key); err != nil {
			f.Odd = err.Error()
		}
	}
	if !w.yield(f) {
		return errEnough
	}
	return nil
}

func isReserved(name string) bool {
	return len(name) >= len(reserved) && strings.EqualFold(name[:len(reserved)], reserved)
}
