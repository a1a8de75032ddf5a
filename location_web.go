package exportops

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// readWeb reads https URLs: those of Supabase Storage, and of S3 in path style
// and in virtual-hosted style.
func (l Locator) readWeb(scheme, rest string) (reading, error) {
	if strings.Contains(rest, "#") {
		return reading{}, errors.New(`the URL holds a "#" that is not escaped`)
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	if hasQuery {
		if err := checkQuery(query); err != nil {
			return reading{}, err
		}
	}
	host, path, _ := strings.Cut(rest, "/")
	if strings.Contains(host, "@") {
		return reading{}, errors.New("the URL holds a user name or password")
	}
	host, path = normalHost(scheme, host), "/"+path
	if base, ok := l.ownBase(scheme, host, path); ok {
		return l.readOwnHost(path, strings.TrimPrefix(path, base))
	}
	if base, ok := l.ownBase(scheme, strings.TrimPrefix(host, l.bucket()+"."), path); ok {
		return reading{bucket: l.bucket(), key: strings.TrimPrefix(path, base+"/")}, nil
	}
	return reading{}, fmt.Errorf("the host %s is not the configured storage", quoteShort(scheme+"://"+host))
}

// readOwnHost reads the path of a URL whose host is ours; rest is what follows
// the base path of the endpoint, beginning with "/".
func (l Locator) readOwnHost(path, rest string) (reading, error) {
	// In a bucket called "api" this would be an object like any other.
	if name, ok := strings.CutPrefix(path, downloadPath); ok && l.bucket() != "api" {
		return readDownload(name)
	}
	// Supabase's paths come first: read as S3, their bucket would be "storage".
	if named, ok := cutSupabase(path, rest); ok {
		return readBucketKey(named)
	}
	r, err := readBucketKey(rest[1:])
	r.vague = true
	return r, err
}

// supabaseForms begin the paths by which Supabase Storage serves an object, behind
// what is common to all: its bucket and its key follow. The first that fits counts.
var supabaseForms = []string{
	"object/public/", "object/sign/", "object/authenticated/",
	"object/info/public/", "object/info/authenticated/", "object/info/", "object/upload/sign/", "object/",
	"render/image/public/", "render/image/sign/", "render/image/authenticated/", "s3/",
}

// cutSupabase returns what follows one of these forms.
func cutSupabase(path, rest string) (named string, ok bool) {
	forms := supabaseForms
	object, ok := strings.CutPrefix(rest, "/storage/v1/")
	if !ok { // the endpoint may have it as its base path
		object, ok = strings.CutPrefix(path, "/storage/v1/")
	}
	if !ok { // what is left of the others could be a bucket of S3
		object, forms = rest[1:], forms[:3]
	}
	for _, form := range forms {
		if named, ok = strings.CutPrefix(object, form); ok {
			return named, true
		}
	}
	return "", false
}

func readBucketKey(rest string) (reading, error) {
	escaped, key, _ := strings.Cut(rest, "/")
	bucket, err := url.PathUnescape(escaped)
	if err != nil {
		return reading{}, fmt.Errorf("the bucket %s holds a %% that begins no escape", quoteShort(escaped))
	}
	return reading{bucket: bucket, key: key}, nil
}

// ownBase finds the endpoint of ours that host and path belong to, and returns
// its base path: "", or beginning with "/" and not ending in one. Of several
// the longest wins.
func (l Locator) ownBase(scheme, host, path string) (base string, ok bool) {
	for _, entry := range l.Hosts {
		ownScheme, own, found := strings.Cut(entry, "://")
		if !found {
			ownScheme, own = "https", entry
		}
		ownHost, ownPath, _ := strings.Cut(own, "/")
		ownPath = strings.TrimRight("/"+ownPath, "/")
		if ownScheme == scheme && ownHost != "" && normalHost(scheme, ownHost) == host &&
			strings.HasPrefix(path, ownPath+"/") && len(ownPath) >= len(base) {
			base, ok = ownPath, true
		}
	}
	return base, ok
}

// normalHost brings a host to lower case and drops the port that the scheme
// implies.
func normalHost(scheme, host string) string {
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	return strings.TrimSuffix(strings.ToLower(host), port)
}

// checkQuery takes the query of an https URL, such as the token of a signed
// one. It refuses a "?" that may belong to a key nobody escaped, and a version,
// as what would be deleted is not then what the URL names.
func checkQuery(query string) error {
	if !isQuery(query) {
		return errors.New(`the URL holds a "?" that begins no query`)
	}
	for pair := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(pair, "="); strings.EqualFold(name, "versionId") {
			return errors.New("the URL names one version of a file")
		}
	}
	return nil
}

// isQuery reports whether s consists of name=value pairs.
func isQuery(s string) bool {
	for pair := range strings.SplitSeq(s, "&") {
		name, _, ok := strings.Cut(pair, "=")
		if !ok || name == "" || strings.ContainsAny(name, " /?") {
			return false
		}
	}
	return true
}
