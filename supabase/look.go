package supabase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exportops/exportops"
)

// lookers is how many objects are looked at together.
const lookers = 16

// faultyObjects is how many objects may each have a fault of their own before
// it is taken for the server's.
const faultyObjects = 3

// Stat describes objects, in order. The version is the id that Storage gives
// each upload, or the ETag where there is none.
func (s *Store) Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error) {
	if err := checkBatch(len(keys)); err != nil {
		return nil, err
	}
	infos := make([]exportops.FileInfo, len(keys))
	var clean []int
	for i, key := range keys {
		if err := s.checkKey(key); err != nil {
			infos[i] = exportops.FileInfo{Exists: true, Err: err}
			continue
		}
		clean = append(clean, i)
	}
	if err := s.lookAll(ctx, len(clean), func(i int) string { return keys[clean[i]] },
		func(i int, info exportops.FileInfo) { infos[clean[i]] = info }); err != nil {
		return nil, s.unusable("look at files", err)
	}
	return infos, nil
}

// lookAll looks at n objects and hands over what it finds, each at its own
// number. It stops at an error that concerns all of them, or when ctx ends. An
// object is absent only if the bucket was there afterwards.
func (s *Store) lookAll(ctx context.Context, n int, key func(int) string, found func(int, exportops.FileInfo)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next, faults atomic.Int64
	var absent atomic.Bool
	var wg sync.WaitGroup
	for range min(lookers, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				info, err := s.look(ctx, key(i))
				if err != nil && (whole(err) || ctx.Err() != nil || (transient(err) && faults.Add(1) > faultyObjects)) {
					stop(err)
					return
				}
				if err != nil {
					info = exportops.FileInfo{Exists: true, Err: fmt.Errorf("look at it: %w", err)}
				}
				if !info.Exists {
					absent.Store(true)
				}
				found(i, info)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if absent.Load() {
		return s.present(ctx)
	}
	return nil
}

// look describes one object.
func (s *Store) look(ctx context.Context, key string) (exportops.FileInfo, error) {
	if strings.ContainsAny(key, "%?#") {
		// Not every server reads these back out of a path.
		return s.lookInList(ctx, key)
	}
	var o object
	err := s.api.call(ctx, request{method: http.MethodGet, path: []string{"object/info", s.bucket, key}}, &o)
	switch {
	case notFound(err):
		return exportops.FileInfo{}, nil
	case unfitName(err):
		// This server takes no such name now. Another version may have done, and
		// a list does not judge names.
		return s.lookInList(ctx, key)
	case err != nil:
		return exportops.FileInfo{}, err
	}
	if o.Name != "" && o.Name != key {
		return exportops.FileInfo{}, fmt.Errorf("storage described another object, %.80q", o.Name)
	}
	return o.info()
}

// lookInList finds an object in the list of its folder.
func (s *Store) lookInList(ctx context.Context, key string) (exportops.FileInfo, error) {
	folder, name := path.Split(key)
	var info exportops.FileInfo
	err := s.list(ctx, folder, name, func(o object) (more bool, err error) {
		if o.isFolder() || (o.Name != name && o.Name != key) {
			return true, nil
		}
		info, err = o.info()
		return false, err
	})
	return info, err
}

// object is a row of Storage, as the different answers hold it.
type object struct {
	Name     string  `json:"name"` // in lists relative to the folder, or the whole key
	ID       *string `json:"id"`   // null for a folder in a list
	BucketID string  `json:"bucket_id"`
	Version  string  `json:"version"`
	Updated  string  `json:"updated_at"`
	// What describes the file stands in a part of its own, or at the top.
	Modified string        `json:"last_modified"`
	Size     *json.Number  `json:"size"`
	ETag     string        `json:"etag"`
	Metadata *fileMetadata `json:"metadata"`
}

// fileMetadata is what Storage notes of a file. Where a row holds what the
// application noted in this place, it may be of any shape.
type fileMetadata struct {
	Size     *json.Number
	ETag     string
	Modified string
}

// UnmarshalJSON takes what fits and leaves the rest.
func (m *fileMetadata) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return nil //nolint:nilerr // no object: nothing is noted here
	}
	var size json.Number
	if json.Unmarshal(fields["size"], &size) == nil && size != "" {
		m.Size = &size
	}
	for name, to := range map[string]*string{"eTag": &m.ETag, "lastModified": &m.Modified} {
		var text string
		if json.Unmarshal(fields[name], &text) == nil {
			*to = text
		}
	}
	return nil
}

// isFolder reports whether an entry of a list stands for other objects.
func (o object) isFolder() bool { return o.ID == nil }

// size is the object's length in bytes, if it is known.
func (o object) size() (int64, bool) {
	n := o.Size
	if n == nil && o.Metadata != nil {
		n = o.Metadata.Size
	}
	if n == nil {
		return 0, false
	}
	size, err := n.Int64()
	return size, err == nil && size >= 0
}

// written is when the row or the file changed last: the time of the file is cut
// to seconds by some storages, and a later write must not look like an earlier
// one.
func (o object) written() (exportops.Time, bool) {
	texts := []string{o.Modified, o.Updated}
	if o.Metadata != nil {
		texts = append(texts, o.Metadata.Modified)
	}
	var last time.Time
	for _, text := range texts {
		for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00"} {
			if t, err := time.Parse(layout, text); err == nil && t.After(last) {
				last = t
			}
		}
	}
	return exportops.At(last), !last.IsZero()
}

func (o object) info() (exportops.FileInfo, error) {
	size, ok := o.size()
	if !ok {
		return exportops.FileInfo{}, errors.New("storage does not say how long it is")
	}
	written, ok := o.written()
	if !ok {
		return exportops.FileInfo{}, errors.New("storage does not say when it was written")
	}
	info := exportops.FileInfo{Exists: true, Size: size, Modified: written, Version: o.Version}
	if info.Version == "" {
		info.Version = o.ETag
	}
	if info.Version == "" && o.Metadata != nil {
		info.Version = o.Metadata.ETag
	}
	info.Version = strings.Trim(info.Version, `"`)
	return info, nil
}
