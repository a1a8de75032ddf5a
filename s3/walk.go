package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
)

// Walk yields the objects below the prefix, by lists of up to a thousand. What is
// hidden behind a delete marker is not there. A service that does not list in
// the order of keys cannot be walked: it would not be known where to go on.
func (s *Store) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	return func(yield func(exportops.WalkedFile, error) bool) {
		in := &awss3.ListObjectsV2Input{
			Bucket: &s.opts.Bucket, Prefix: &s.opts.Prefix, EncodingType: types.EncodingTypeUrl,
		}
		if after != "" {
			in.StartAfter = &after
		}
		last := after
		for {
			out, err := s.listPage(ctx, in)
			if err != nil {
				yield(exportops.WalkedFile{}, err)
				return
			}
			for _, o := range out.Contents {
				f, err := s.walked(o, out.EncodingType)
				switch {
				case err == nil && f.Key == after, strings.HasPrefix(f.Key, s.opts.Prefix+reserved):
					continue // not every service means "after"
				case err == nil && f.Key <= last && last != "":
					err = unavailable(s.place()+" is not listed in the order of its keys", "use a bucket of the general kind",
						fmt.Errorf("%q came after %q", f.Key, last))
				}
				if !yield(f, err) || err != nil {
					return
				}
				last = f.Key
			}
			more, token := aws.ToBool(out.IsTruncated), aws.ToString(out.NextContinuationToken)
			switch {
			case !more:
				return
			case token == "":
				yield(exportops.WalkedFile{}, unavailable(s.place()+" was not listed to its end",
					"see the service's own log, and try again", errors.New("the answer is cut short without saying where")))
				return
			}
			in.ContinuationToken = &token
		}
	}
}

func (s *Store) listPage(ctx context.Context, in *awss3.ListObjectsV2Input) (out *awss3.ListObjectsV2Output, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = s.send(ctx, time.Now().Add(patience), func(ctx context.Context) (err error) {
		out, err = s.client.ListObjectsV2(ctx, in)
		return err
	})
	if err != nil {
		return nil, s.fault(ctx, "listed", "s3:ListBucket", err)
	}
	return out, nil
}

func (s *Store) walked(o types.Object, encoding types.EncodingType) (exportops.WalkedFile, error) {
	key := aws.ToString(o.Key)
	if encoding == types.EncodingTypeUrl {
		decoded, err := url.QueryUnescape(key)
		if err != nil {
			return exportops.WalkedFile{}, unavailable(s.place()+" was listed in a way that cannot be read",
				"see the service's own log, and try again", err)
		}
		key = decoded
	}
	if !strings.HasPrefix(key, s.opts.Prefix) {
		return exportops.WalkedFile{}, unavailable(s.place()+" was listed with what lies outside it",
			"see the service's own log, and try again", fmt.Errorf("%q", key))
	}
	// Of a fraction, which some services list, a look at the file tells nothing: to a guard
	// with it the file would be another, for good.
	written := aws.ToTime(o.LastModified).Truncate(time.Second)
	f := exportops.WalkedFile{
		Key: key, Size: aws.ToInt64(o.Size), Modified: exportops.At(written), Version: unquoted(aws.ToString(o.ETag)),
	}
	if err := s.checkKey(key); err != nil {
		f.Odd = err.Error()
	} else if o.LastModified == nil {
		f.Odd = "storage does not say when it was written"
	}
	return f, nil
}
