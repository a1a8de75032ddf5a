// Package s3 keeps export files in a bucket of any service that speaks S3's
// protocol: AWS, Supabase's S3 endpoint, R2, MinIO, versitygw and others.
//
// Files are deleted by bulk requests, and an answer counts for the keys that it
// names and no others. S3 answers the same for a file that it deleted and for
// one that was not there: unless Options.VerifyFull is set, both are Removed,
// without bytes.
//
// A file that is to be deleted only while it still is the one that was claimed
// is looked at first and then deleted on condition of its ETag. A service that
// does not know that condition deletes what is there at that moment, some
// milliseconds after the look.
//
// A bucket that keeps versions hides a file behind a delete marker and keeps its
// bytes. That is no deletion; decision record 9 says what is done about it.
package s3

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
)

// MarkerFile is the name, below the prefix, of an object that an operator may put
// into a bucket that is meant to hold no exports yet: with it the bucket does not
// count as empty, and so not as the wrong one.
const MarkerFile = reserved + "root"

// reserved begins the names directly below the prefix that are ours and never
// an export.
const reserved = ".exportops-"

// maxBatch is the most keys that one bulk request may hold.
const maxBatch = 1000

// Store is a bucket, or the part of it below a prefix. It is safe for concurrent
// use.
type Store struct {
	opts   Options
	id     string
	client *awss3.Client
	close  func()
	pace   *pace

	perCall      atomic.Int64 // keys that the service takes in one bulk request
	noConditions atomic.Bool  // it refuses bulk requests that name ETags
}

var _ exportops.FileStore = (*Store)(nil)

// Open prepares to use a bucket, and makes no request: Check tells whether it is
// there. Credentials come by the usual chain: the environment, the shared files,
// the machine's role.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, pace: newPace()}
	if s.client, s.close, err = newClient(ctx, o); err != nil {
		return nil, err
	}
	s.id = identity(s.client.Options(), o.Bucket)
	s.perCall.Store(maxBatch)
	return s, nil
}

// identity names the service and the bucket. The prefix is no part of it, as keys
// hold it, nor is the region or whether the connection is encrypted: a file stays
// the same file when those settings are corrected.
func identity(o awss3.Options, bucket string) string {
	at := "s3.amazonaws.com" // where a bucket's name is unique
	if o.BaseEndpoint != nil {
		if u, err := url.Parse(*o.BaseEndpoint); err == nil {
			at = strings.ToLower(u.Host) + strings.TrimRight(u.Path, "/")
		}
	}
	return "s3://" + at + "/" + bucket
}

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.close()
	return nil
}

// ID is the service and the bucket, such as "s3://s3.amazonaws.com/exports".
func (s *Store) ID() string { return s.id }

// MaxBatch is the most files one Delete or Stat takes.
func (s *Store) MaxBatch() int { return maxBatch }

// place names the part of the bucket that is ours, for messages.
func (s *Store) place() string { return strconv.Quote(s.opts.Bucket + "/" + s.opts.Prefix) }

func checkBatch(n int) error {
	if n <= maxBatch {
		return nil
	}
	return &exportops.Error{
		Kind:    exportops.KindTooLarge,
		Message: strconv.Itoa(n) + " files are more than one call takes, " + strconv.Itoa(maxBatch),
	}
}
