package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// probePrefix begins the name of a probe's object.
const probePrefix = reserved + "probe-"

// probeCleanup bounds how long a probe takes to remove its object after its
// context has ended.
const probeCleanup = 5 * time.Second

// Probe writes a small object with a random name below the prefix, reads it back,
// deletes it by the request that Delete makes, and makes sure that it is gone. Its
// error names the permission that is missing, or says that the bucket keeps
// versions. It leaves nothing behind that it may delete; only a process that is
// killed meanwhile leaves its object, which Check does not count.
func (s *Store) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	giveUp := time.Now().Add(patience)
	key, content := s.opts.Prefix+probePrefix+rand.Text(), []byte(rand.Text())
	version, err := s.put(ctx, giveUp, key, content)
	if err != nil {
		s.clear(ctx, key, version) // it may have arrived all the same
		return s.fault(ctx, "written to", s.permissions("s3:PutObject", true), err)
	}
	if isVersion(version) && !s.opts.DeleteVersions {
		return s.wouldKeep(s.remove(ctx, giveUp, key, version))
	}
	got, readErr := s.get(ctx, giveUp, key)
	// Deleted first, so that a failed read leaves nothing behind.
	if err := s.remove(ctx, giveUp, key, version); err != nil {
		s.clear(ctx, key, version)
		return err
	}
	if readErr != nil {
		return s.fault(ctx, "read", s.permissions("s3:GetObject", false), readErr)
	}
	if !bytes.Equal(got, content) {
		return unavailable(fmt.Sprintf("an object in %s did not read as it was written", s.place()), "see the service's own log", nil)
	}
	return s.gone(ctx, giveUp, key)
}

// wouldKeep is the error of a bucket in which no deletion can be confirmed. err
// is what became of the probe's own object.
func (s *Store) wouldKeep(err error) error {
	return unavailable(fmt.Sprintf("the bucket %q keeps versions: to delete a file would leave its bytes", s.opts.Bucket),
		"set versions=delete in the storage URL to delete every version of a file, or use a bucket without versioning", err)
}

// isVersion tells the id of one version of several from what stands for the only
// one.
func isVersion(version string) bool { return version != "" && version != "null" }

func (s *Store) permissions(action string, write bool) string {
	if s.opts.Encryption != "aws:kms" {
		return action
	}
	if write {
		return action + " and kms:GenerateDataKey"
	}
	return action + " and kms:Decrypt"
}

// put writes an object, encrypted as the options say, and returns its version,
// which is "" where the bucket keeps none.
func (s *Store) put(ctx context.Context, giveUp time.Time, key string, content []byte) (version string, err error) {
	err = s.send(ctx, giveUp, func(ctx context.Context) error {
		in := &awss3.PutObjectInput{
			Bucket: &s.opts.Bucket, Key: &key, Body: bytes.NewReader(content), ContentLength: aws.Int64(int64(len(content))),
			ServerSideEncryption: types.ServerSideEncryption(s.opts.Encryption),
		}
		if s.opts.KMSKey != "" {
			in.SSEKMSKeyId = &s.opts.KMSKey
		}
		out, err := s.client.PutObject(ctx, in)
		if err == nil {
			version = aws.ToString(out.VersionId)
		}
		return err
	})
	return version, err
}

func (s *Store) get(ctx context.Context, giveUp time.Time, key string) (content []byte, err error) {
	err = s.send(ctx, giveUp, func(ctx context.Context) error {
		out, err := s.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.opts.Bucket, Key: &key})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		content, err = io.ReadAll(io.LimitReader(out.Body, 1<<10))
		return err
	})
	return content, err
}

// remove deletes a probe's object, whose version is named where it has one: else
// the probe itself would leave something behind.
func (s *Store) remove(ctx context.Context, giveUp time.Time, key, version string) error {
	permission := "s3:DeleteObject"
	o := &object{key: key}
	if isVersion(version) {
		o.version, permission = version, "s3:DeleteObjectVersion"
	}
	if err := s.bulk(ctx, giveUp, []*object{o}); err != nil {
		return err
	}
	if o.gone {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return unavailable(fmt.Sprintf("an object in the bucket %q could not be deleted", s.opts.Bucket),
		fmt.Sprintf("allow %s on %s, and look for a lock on the bucket", permission, s.place()), o.result().Err)
}

// gone makes sure that what was deleted is not there.
func (s *Store) gone(ctx context.Context, giveUp time.Time, key string) error {
	look := s.head(ctx, giveUp, key)
	if s.opts.DeleteVersions {
		look = s.lookAtVersions(ctx, giveUp, []string{key})[0]
	}
	switch {
	case look.err != nil && ctx.Err() != nil:
		return ctx.Err()
	case look.err != nil:
		return unavailable(fmt.Sprintf("whether a file is gone from the bucket %q cannot be seen", s.opts.Bucket),
			fmt.Sprintf("allow s3:GetObject, s3:ListBucket and, with versions=delete, s3:ListBucketVersions on %s", s.place()), look.err)
	case look.exists:
		return unavailable(fmt.Sprintf("an object in the bucket %q was still there after it was deleted", s.opts.Bucket),
			"see the service's own log", nil)
	}
	return nil
}

// clear tries once more to leave nothing behind. The error that led here is the
// one to report.
func (s *Store) clear(ctx context.Context, key, version string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanup)
	defer cancel()
	o := &object{key: key}
	if isVersion(version) {
		o.version = version
	}
	_ = s.request(ctx, time.Now(), []*object{o})
}
