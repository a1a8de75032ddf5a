package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
)

// seen is what a look at one key found.
type seen struct {
	exists  bool
	size    int64
	written time.Time // whole seconds, cut off
	etag    string    // as the service writes it, in quotes
	marked  bool      // a delete marker is there instead
	err     error     // why nothing is known

	versions, markers []string // their ids, where they were looked for
	total             int64    // bytes of all versions
}

// look looks at keys, each one that is acceptable. That a file is not there is
// believed only of a bucket that is: the error says when it is not.
func (s *Store) look(ctx context.Context, giveUp time.Time, keys []string) ([]seen, error) {
	found := make([]seen, len(keys))
	each(len(keys), func(i int) { found[i] = s.head(ctx, giveUp, keys[i]) })
	for _, f := range found {
		if !f.exists {
			return found, s.present(ctx, giveUp)
		}
	}
	return found, nil
}

func (s *Store) head(ctx context.Context, giveUp time.Time, key string) seen {
	var out *awss3.HeadObjectOutput
	err := s.send(ctx, giveUp, func(ctx context.Context) (err error) {
		out, err = s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: &key})
		return err
	})
	switch {
	case err == nil:
		return seen{
			exists: true, size: aws.ToInt64(out.ContentLength), etag: aws.ToString(out.ETag),
			written: aws.ToTime(out.LastModified).Truncate(time.Second),
		}
	case isAbsent(err):
		return seen{marked: hidden(err)}
	case status(err) == http.StatusForbidden:
		// The answer for a file that is not there, too, where listing is not allowed.
		return seen{err: fmt.Errorf("look at it: %w; it takes s3:GetObject and s3:ListBucket", reason(err))}
	}
	return seen{err: fmt.Errorf("look at it: %w", reason(err))}
}

// present makes sure that the bucket is there.
func (s *Store) present(ctx context.Context, giveUp time.Time) error {
	err := s.send(ctx, giveUp, func(ctx context.Context) error {
		_, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.opts.Bucket})
		return err
	})
	switch {
	case err == nil:
		return nil
	case status(err) == http.StatusNotFound:
		return s.missing()
	}
	return s.fault(ctx, "looked at", "s3:ListBucket", err)
}

// Stat describes objects, in order. The version is the ETag without its quotes.
// What is hidden behind a delete marker is not there.
func (s *Store) Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error) {
	if err := checkBatch(len(keys)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	infos := make([]exportops.FileInfo, len(keys))
	var at []int
	var good []string
	for i, key := range keys {
		if err := s.checkKey(key); err != nil {
			infos[i] = exportops.FileInfo{Exists: true, Err: err}
			continue
		}
		at, good = append(at, i), append(good, key)
	}
	found, err := s.look(ctx, time.Now().Add(patience), good)
	if err != nil {
		return nil, err
	}
	for n, i := range at {
		infos[i] = found[n].info()
	}
	return infos, nil
}

func (f seen) isAbsent() bool { return !f.exists && f.err == nil }

func (f seen) info() exportops.FileInfo {
	switch {
	case f.err != nil:
		return exportops.FileInfo{Exists: true, Err: f.err}
	case !f.exists:
		return exportops.FileInfo{}
	}
	return exportops.FileInfo{Exists: true, Size: f.size, Modified: exportops.At(f.written), Version: unquoted(f.etag)}
}

func unquoted(etag string) string {
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
}

// unlike says in what the file differs from the one that was claimed.
func (f seen) unlike(g *exportops.FileGuard) error {
	switch {
	case g == nil:
		return nil
	case g.Size != nil && *g.Size != f.size:
		return fmt.Errorf("it has %d bytes and %d were claimed", f.size, *g.Size)
	case !g.NotAfter.IsZero() && f.written.IsZero():
		return errors.New("storage does not say when it was written")
	case !g.NotAfter.IsZero() && f.maybeAfter(g.NotAfter):
		return fmt.Errorf("it was written at %s, and not before %s", exportops.At(f.written), g.NotAfter)
	case g.Version != "" && unquoted(g.Version) != unquoted(f.etag):
		return errors.New("it is another version than the one that was claimed")
	}
	return nil
}

// maybeAfter counts a file of the second in which the guard's time lies as one
// written after it, as services tell no fractions. The very time that Stat
// reported means that file.
func (f seen) maybeAfter(t exportops.Time) bool {
	if f.written.Equal(t.Time) {
		return false
	}
	return f.written.Add(time.Second - time.Millisecond).After(t.Time)
}
