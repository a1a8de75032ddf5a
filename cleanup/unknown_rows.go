package cleanup

import (
	"context"
	"path"

	"github.com/exportops/exportops"
)

// namedNow reads every row, and says of each key whether one names it, or may.
func namedNow(ctx context.Context, r NamedFilesReader, l exportops.Locator, keys []string) ([]exportops.UnknownKept, error) {
	byKey, byLast := make(map[string]int, len(keys)), make(map[string][]int, len(keys))
	for i, key := range keys {
		byKey[key] = i
		byLast[path.Base(key)] = append(byLast[path.Base(key)], i)
	}
	kept := make([]exportops.UnknownKept, len(keys))
	for row, err := range r.NamedFiles(ctx, exportops.Time{}) {
		if err != nil {
			return nil, err
		}
		named, lastParts := l.Names(row.FileURL)
		for _, key := range named {
			if i, ok := byKey[key]; ok {
				kept[i] = exportops.UnknownNamed
			}
		}
		for _, part := range lastParts {
			for _, i := range byLast[part] {
				if kept[i] == "" {
					kept[i] = exportops.UnknownUnclear
				}
			}
		}
	}
	return kept, nil
}
