package s3

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Check reports whether the bucket, or its part below the prefix, holds nothing
// but what a probe left behind that was killed.
func (s *Store) Check(ctx context.Context) (empty bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	giveUp := time.Now().Add(patience)
	in := &awss3.ListObjectsV2Input{
		Bucket: &s.opts.Bucket, Prefix: &s.opts.Prefix, MaxKeys: aws.Int32(16),
		EncodingType: types.EncodingTypeUrl, // for keys that XML cannot carry
	}
	for {
		var out *awss3.ListObjectsV2Output
		err := s.send(ctx, giveUp, func(ctx context.Context) (err error) {
			out, err = s.client.ListObjectsV2(ctx, in)
			return err
		})
		if err != nil {
			return false, s.fault(ctx, "listed", "s3:ListBucket", err)
		}
		for _, o := range out.Contents {
			if !s.isProbe(aws.ToString(o.Key), out.EncodingType) {
				return false, nil
			}
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextContinuationToken) == "" {
			// An answer that is cut short without saying where is no proof.
			return !aws.ToBool(out.IsTruncated), nil
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (s *Store) isProbe(key string, encoding types.EncodingType) bool {
	if encoding == types.EncodingTypeUrl {
		if decoded, err := url.QueryUnescape(key); err == nil {
			key = decoded
		}
	}
	return strings.HasPrefix(key, s.opts.Prefix+probePrefix)
}
