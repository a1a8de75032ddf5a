package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"

	"github.com/exportops/exportops"
)

// openFolders is how many folders a batch holds open at a time: they are deleted
// from together and then flushed together, as a journal commits them all at
// once.
const openFolders = 64

// flushes is how many folders are flushed at a time: devices merge flushes that
// are asked for together.
const flushes = 16

// Delete deletes regular files and answers for each in order. Each folder that
// was deleted from is flushed to disk once, before anything is said about its
// files. The error is set when the folder of all files is not the one that was
// opened, before the batch or after it. When ctx ends, the files not yet
// reached are Unproven.
func (s *Store) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	if err := checkBatch(len(refs)); err != nil {
		return nil, err
	}
	if err := s.present(); err != nil {
		return nil, err
	}
	results := make([]exportops.FileResult, len(refs))
	folders := byFolder(len(refs),
		func(i int) string { return refs[i].Key },
		func(i int, err error) { results[i] = unproven(err) })
	for some := range slices.Chunk(folders, openFolders) {
		inParallel(runtime.GOMAXPROCS(0), some, func(f *folder) { s.deleteIn(ctx, f, refs, results) })
		inParallel(flushes, some, func(f *folder) { f.finish(results) })
	}
	// "Absent" is worth something only if this was the right folder throughout.
	if err := s.present(); err != nil {
		return nil, err
	}
	return results, nil
}

// deleteIn deletes the files of one folder and leaves it open.
func (s *Store) deleteIn(ctx context.Context, f *folder, refs []exportops.FileRef, results []exportops.FileResult) {
	var err error
	if f.root, err = s.openFolder(f.path); err != nil {
		for _, i := range f.files {
			results[i] = failed("open its folder", err)
		}
		return
	}
	for _, i := range f.files {
		if err := ctx.Err(); err != nil {
			results[i] = unproven(fmt.Errorf("not attempted: %w", err))
			continue
		}
		results[i] = deleteFile(f.root, refs[i])
	}
}

// finish flushes a folder to disk and closes it. Absent files count as well:
// a run that died before this line may have deleted them.
func (f *folder) finish(results []exportops.FileResult) {
	if f.root == nil {
		return
	}
	gone := func(i int) bool {
		return results[i].Removal == exportops.Removed || results[i].Removal == exportops.Absent
	}
	var err error
	if slices.ContainsFunc(f.files, gone) {
		err = f.sync()
	}
	if closeErr := f.root.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return
	}
	for _, i := range f.files {
		if gone(i) {
			results[i] = unproven(fmt.Errorf("flush its folder: %w", cause(err)))
		}
	}
}

func deleteFile(dir *os.Root, ref exportops.FileRef) exportops.FileResult {
	info, err := lstat(dir, ref.Key)
	if err != nil {
		return failed("look at it", err)
	}
	if err := unguarded(info, ref.Guard); err != nil {
		return exportops.FileResult{Removal: exportops.Replaced, Err: err}
	}
	if err := dir.Remove(path.Base(ref.Key)); err != nil {
		return failed("delete it", err)
	}
	return exportops.FileResult{Removal: exportops.Removed, Bytes: info.Size()}
}

// unguarded says in what the file differs from the one that was claimed.
func unguarded(info fs.FileInfo, g *exportops.FileGuard) error {
	switch written := exportops.At(info.ModTime()); {
	case g == nil:
		return nil
	case g.Size != nil && *g.Size != info.Size():
		return fmt.Errorf("it has %d bytes and %d were claimed", info.Size(), *g.Size)
	case !g.NotAfter.IsZero() && written.After(g.NotAfter.Time):
		return fmt.Errorf("it was written at %s, after %s", written, g.NotAfter)
	case g.Version != "":
		return errors.New("a folder knows no versions, and one was claimed")
	}
	return nil
}

// failed is the outcome when an operation returned err.
func failed(did string, err error) exportops.FileResult {
	switch {
	case isAbsent(err):
		return exportops.FileResult{Removal: exportops.Absent}
	case errors.Is(err, exportops.ErrBadKey):
		return unproven(err)
	}
	return unproven(fmt.Errorf("%s: %w", did, cause(err)))
}

func unproven(err error) exportops.FileResult {
	return exportops.FileResult{Removal: exportops.Unproven, Err: err}
}
