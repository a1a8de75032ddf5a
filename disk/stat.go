package disk

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/exportops/exportops"
)

// Stat describes regular files, in order. A folder knows no versions. What is
// no regular file, or cannot be looked at, is described by its Err alone.
func (s *Store) Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error) {
	if err := checkBatch(len(keys)); err != nil {
		return nil, err
	}
	if err := s.present(); err != nil {
		return nil, err
	}
	infos := make([]exportops.FileInfo, len(keys))
	folders := byFolder(len(keys),
		func(i int) string { return keys[i] },
		func(i int, err error) { infos[i] = unknown(err) })
	inParallel(runtime.GOMAXPROCS(0), folders, func(f *folder) { s.statIn(ctx, f, keys, infos) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.present(); err != nil {
		return nil, err
	}
	return infos, nil
}

func (s *Store) statIn(ctx context.Context, f *folder, keys []string, infos []exportops.FileInfo) {
	root, err := s.openFolder(f.path)
	if err == nil {
		defer root.Close() // nothing was written
	}
	for _, i := range f.files {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			infos[i] = unknown(err)
		default:
			infos[i] = describeFile(root, keys[i])
		}
	}
}

func describeFile(dir *os.Root, key string) exportops.FileInfo {
	info, err := lstat(dir, key)
	if err != nil {
		return unknown(err)
	}
	return exportops.FileInfo{Exists: true, Size: info.Size(), Modified: exportops.At(info.ModTime())}
}

// unknown is what can be said of a file when looking at it returned err.
func unknown(err error) exportops.FileInfo {
	if isAbsent(err) {
		return exportops.FileInfo{}
	}
	return exportops.FileInfo{Exists: true, Err: fmt.Errorf("look at it: %w", cause(err))}
}
