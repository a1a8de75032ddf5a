package exportops

import (
	"net/url"
	"strings"
)

// Names returns every key of the bucket that a file_url may mean, whosever row it
// is in: what must not be taken for a file that nobody knows. Where that cannot
// be told, as of a URL of a host that is not configured, it returns instead what
// the last part of such a key may be.
func (l Locator) Names(fileURL string) (keys, lastParts []string) {
	if fileURL == "" {
		return nil, nil
	}
	r, err := l.read(fileURL)
	switch {
	case err != nil:
		return nil, lastPartsOf(fileURL)
	case r.noFile || r.bucket != l.bucket():
		return nil, nil
	}
	key, err := r.decodedKey()
	if err != nil {
		return []string{r.key}, lastPartsOf(fileURL)
	}
	if keys = []string{key}; r.mayBeLiteral && r.key != key {
		keys = append(keys, r.key)
	}
	return keys, nil
}

// lastPartsOf reads what stands behind the last slash in every way there is: with
// and without what may be a query, escaped and not.
func lastPartsOf(fileURL string) (parts []string) {
	whole := strings.ReplaceAll(fileURL, `\`, "/")
	path, _, _ := strings.Cut(whole, "?")
	path, _, _ = strings.Cut(path, "#")
	for _, s := range []string{whole, path} {
		for _, try := range []func(string) (string, error){
			func(s string) (string, error) { return s, nil }, url.PathUnescape, url.QueryUnescape,
		} {
			if read, err := try(s); err == nil {
				parts = append(parts, read[strings.LastIndexByte(read, '/')+1:])
			}
		}
	}
	return parts
}
