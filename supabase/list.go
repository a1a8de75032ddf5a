package supabase

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// The bounds of a list. What lies beyond is not known, and said so.
const (
	listPage  = 1000
	listPages = 20
	mostLooks = 200
)

var errLongList = errors.New("there are more names in the list than are looked through")

// list calls fn for each entry of a folder, which is "" or ends in a slash, and
// whose name begins with search, until fn says that it has seen enough. Servers
// read both as a pattern, some take capitals for small letters, and some answer
// with objects of all depths: the entries may be more than were asked for.
func (s *Store) list(ctx context.Context, folder, search string, fn func(object) (more bool, err error)) error {
	return s.pages(ctx, folder, search, listPages, fn)
}

// pages is list with a bound on how much is read, 0 for none.
func (s *Store) pages(ctx context.Context, folder, search string, most int, fn func(object) (more bool, err error)) error {
	offset := 0
	for n := 0; most == 0 || n < most; n++ {
		var entries []object
		body := map[string]any{
			"prefix": folder, "limit": listPage, "offset": offset,
			"sortBy": map[string]string{"column": "name", "order": "asc"},
		}
		if search != "" {
			body["search"] = search
		}
		err := s.api.call(ctx, request{method: http.MethodPost, path: []string{"object/list", s.bucket}, json: body}, &entries)
		if err != nil || len(entries) == 0 { // a short page need not be the last
			return err
		}
		for _, o := range entries {
			if more, err := fn(o); err != nil || !more {
				return err
			}
		}
		offset += len(entries)
	}
	return errLongList
}

// present makes sure that the bucket is there and can be seen with the key.
// Without it Storage answers with empty lists.
func (s *Store) present(ctx context.Context) error {
	_, err := s.readBucket(ctx)
	return err
}

// bucketInfo is what Storage says of a bucket.
type bucketInfo struct {
	ID    string   `json:"id"`
	Types []string `json:"allowed_mime_types"`
}

func (s *Store) readBucket(ctx context.Context) (bucketInfo, error) {
	var b bucketInfo
	err := s.api.call(ctx, request{method: http.MethodGet, path: []string{"bucket", s.bucket}}, &b)
	if err == nil && b.ID != s.bucket {
		err = &fault{message: "Storage described another bucket"}
	}
	return b, err
}

// Check reports whether nothing at all is under the prefix. A marker file, and
// the placeholder of a folder that was made in the dashboard, count as
// something; what an interrupted Probe left does not.
func (s *Store) Check(ctx context.Context) (empty bool, err error) {
	if err := s.present(ctx); err != nil {
		return false, s.unusable("look for its bucket", err)
	}
	looks := mostLooks
	some, err := s.holdsAny(ctx, s.prefix, &looks)
	if err != nil {
		return false, s.unusable("list files", err)
	}
	// The bucket may have gone meanwhile, which an empty list does not show.
	if !some {
		err = s.present(ctx)
	}
	return !some, s.unusable("look for its bucket", err)
}

// holdsAny reports whether an object is in folder or below it. A whole key shows
// that it lies under the prefix. Of a name relative to the folder it is not
// known whether the server read the prefix as a pattern, so its key is looked
// at.
func (s *Store) holdsAny(ctx context.Context, folder string, looks *int) (some bool, err error) {
	err = s.list(ctx, folder, "", func(o object) (more bool, err error) {
		key, isWhole := o.Name, strings.Contains(o.Name, "/")
		if !isWhole {
			key = folder + key
		}
		if !strings.HasPrefix(key, s.prefix) || strings.HasPrefix(key, s.prefix+probePrefix) {
			return true, nil
		}
		if isWhole || s.prefix == "" {
			some = true
			return false, nil
		}
		if *looks--; *looks < 0 {
			return false, errLongList
		}
		if o.isFolder() {
			some, err = s.holdsAny(ctx, key+"/", looks)
			return !some, err
		}
		info, err := s.look(ctx, key)
		some = err == nil && info.Exists
		return !some, err
	})
	return some, err
}
