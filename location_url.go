package exportops

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// downloadPath begins the URL of a file that is generated on demand.
const downloadPath = "/api/export/download/"

// read takes a file_url apart. What it returns is not yet decoded, nor checked
// against the bucket and the prefixes.
func (l Locator) read(raw string) (reading, error) {
	switch {
	case len(raw) > MaxTextBytes:
		return reading{}, fmt.Errorf("the file_url of %d bytes is longer than %d", len(raw), MaxTextBytes)
	case !utf8.ValidString(raw):
		return reading{}, fmt.Errorf("the file_url %s is not valid UTF-8", quoteShort(raw))
	case strings.IndexFunc(raw, unicode.IsControl) >= 0:
		return reading{}, errors.New("the file_url holds a control character")
	case strings.Contains(raw, `\`):
		// Browsers read it as a slash, storage does not.
		return reading{}, errors.New("the file_url holds a backslash")
	}
	scheme, rest, ok := cutScheme(raw)
	if !ok {
		return l.readPlain(raw)
	}
	switch scheme {
	case "s3", "https", "http", "file":
	default:
		return reading{}, fmt.Errorf("the scheme %s is not one of https, s3 and file", quoteShort(scheme))
	}
	rest, ok = strings.CutPrefix(rest, "//")
	switch {
	case !ok:
		return reading{}, fmt.Errorf("there is no // after the scheme %s", scheme)
	case scheme == "s3":
		return readS3(rest)
	case scheme == "file":
		return l.readFile(rest)
	}
	return l.readWeb(scheme, rest)
}

// cutScheme cuts "scheme:" off, in lower case. A colon in the first part of a
// relative path counts too, as RFC 3986 has it: such a key writes it as %3A.
func cutScheme(raw string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(raw, ":")
	if !ok || scheme == "" {
		return "", "", false
	}
	for i, c := range strings.ToLower(scheme) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", c)) {
			return "", "", false
		}
	}
	return strings.ToLower(scheme), rest, true
}

func (l Locator) readPlain(raw string) (reading, error) {
	if name, ok := strings.CutPrefix(raw, downloadPath); ok {
		name, _, _ = strings.Cut(name, "?")
		return readDownload(name)
	}
	return readKey(l.bucket(), raw)
}

// readDownload makes sure that an on-demand path does not lead elsewhere, to a
// file that exists.
func readDownload(name string) (reading, error) {
	r := reading{key: name, noFile: true}
	_, err := r.decodedKey()
	return r, err
}

func readS3(rest string) (reading, error) {
	bucket, key, _ := strings.Cut(rest, "/")
	return readKey(bucket, key)
}

// readKey reads a key that may have been written without escaping it. A "?" is
// then part of a name, unless what follows it is plainly a query.
func readKey(bucket, key string) (reading, error) {
	if _, query, found := strings.Cut(key, "?"); found && isQuery(query) {
		return reading{}, errors.New("the key ends in a URL query")
	}
	return reading{bucket: bucket, key: key, mayBeLiteral: true}, nil
}

func (l Locator) readFile(rest string) (reading, error) {
	switch {
	case l.Root == "":
		return reading{}, errors.New("a file:// URL names a local file, and the storage is no folder")
	case !strings.HasPrefix(rest, "/"):
		return reading{}, errors.New("a file:// URL with a host is not a local file")
	case strings.ContainsAny(rest, "?#"):
		return reading{}, errors.New(`the file:// URL holds a "?" or "#" that is not escaped`)
	}
	// The folder's name may be escaped in one URL and plain in another.
	path, err := reading{key: rest[1:]}.decodedKey()
	if err != nil {
		return reading{}, err
	}
	root := strings.TrimRight(l.Root, "/") + "/"
	key, ok := strings.CutPrefix("/"+path, root)
	if !ok {
		return reading{}, fmt.Errorf("the file %s is not in the folder %s", quoteShort("/"+path), quoteShort(l.Root))
	}
	return reading{bucket: l.bucket(), key: url.PathEscape(key)}, nil
}
