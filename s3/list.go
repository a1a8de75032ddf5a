package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
)

// List yields the objects whose keys begin with prefix, page by page. The folders
// that some programs mark by an object whose name ends in a slash are none.
func (o *Objects) List(ctx context.Context, prefix string) iter.Seq2[exportops.Object, error] {
	return func(yield func(exportops.Object, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(exportops.Object{}, err)
			return
		}
		s := o.store
		in := &awss3.ListObjectsV2Input{
			Bucket: &s.opts.Bucket, Prefix: aws.String(s.opts.Prefix + prefix),
			EncodingType: types.EncodingTypeUrl, // for keys that XML cannot carry
		}
		for more := true; more; {
			var out *awss3.ListObjectsV2Output
			err := s.send(ctx, time.Now().Add(patience), func(ctx context.Context) (err error) {
				out, err = s.client.ListObjectsV2(ctx, in)
				return err
			})
			if err != nil {
				yield(exportops.Object{}, s.fault(ctx, "listed", "s3:ListBucket", err))
				return
			}
			if !o.yieldPage(out, yield) {
				return
			}
			more = aws.ToBool(out.IsTruncated)
			if in.ContinuationToken = out.NextContinuationToken; more && aws.ToString(in.ContinuationToken) == "" {
				yield(exportops.Object{}, unavailable("the list of "+s.place()+" breaks off without saying where", "see the service's own log", nil))
				return
			}
		}
	}
}

func (o *Objects) yieldPage(out *awss3.ListObjectsV2Output, yield func(exportops.Object, error) bool) bool {
	for _, c := range out.Contents {
		key := aws.ToString(c.Key)
		if out.EncodingType == types.EncodingTypeUrl {
			decoded, err := url.QueryUnescape(key)
			if err != nil {
				yield(exportops.Object{}, fmt.Errorf("the list names %.80q, which is not encoded as it says: %w", key, err))
				return false
			}
			key = decoded
		}
		if o.store.checkKey(key) != nil {
			continue
		}
		object := exportops.Object{
			Key: strings.TrimPrefix(key, o.store.opts.Prefix), Size: aws.ToInt64(c.Size), Modified: exportops.At(aws.ToTime(c.LastModified)),
		}
		if !yield(object, nil) {
			return false
		}
	}
	return true
}

// ProbeCreate creates a small object twice, reads it back and deletes it.
func (o *Objects) ProbeCreate(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := o.store
	giveUp := time.Now().Add(patience)
	key := s.opts.Prefix + probePrefix + rand.Text()
	content, other := []byte(rand.Text()), []byte(rand.Text())
	write := func(b []byte) (string, error) {
		return o.create(ctx, key, bytes.NewReader(b), int64(len(b)), sha256.Sum256(b))
	}
	version, err := write(content)
	if err != nil {
		s.clear(ctx, key, version) // it may have arrived all the same
		return err
	}
	overwritten, second := write(other)
	read, readErr := o.readSmall(ctx, key)
	if second == nil && isVersion(overwritten) {
		s.clear(ctx, key, overwritten)
	}
	if isVersion(version) && !s.opts.DeleteVersions {
		return s.wouldKeep(s.remove(ctx, giveUp, key, version))
	}
	if err := s.remove(ctx, giveUp, key, version); err != nil {
		s.clear(ctx, key, version)
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case second == nil:
		return exportops.OverwritesObjects(o.ID(), "use a service that heeds If-None-Match: *, as AWS, R2, MinIO and Ceph do")
	case !exportops.IsKind(second, exportops.KindConflict):
		return second
	case readErr != nil:
		return readErr
	case !bytes.Equal(read, content):
		return unavailable(fmt.Sprintf("an object in %s did not read as it was written", s.place()), "see the service's own log", nil)
	}
	return s.gone(ctx, giveUp, key)
}

func (o *Objects) readSmall(ctx context.Context, key string) ([]byte, error) {
	body, err := o.open(ctx, key)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(body, 1<<10))
	return b, errors.Join(err, body.Close())
}
