package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
)

// Objects is a bucket, or the part of it below a prefix, of objects that are written
// once, such as archives. Their keys are relative to the prefix. It is safe for
// concurrent use.
//
// That an object is only created is the service's to see to (If-None-Match: *). AWS,
// R2, MinIO, Ceph and versitygw do; others take no notice of it and overwrite, which
// ProbeCreate finds out. An object is sent in one request, so it has at most five
// gigabytes, and there never is half of one.
type Objects struct{ store *Store }

var _ exportops.ObjectStore = (*Objects)(nil)

// largestObject is the most that one request may carry.
const largestObject = 5 << 30

// OpenObjects prepares to use a bucket, as Open does.
func OpenObjects(ctx context.Context, o Options) (*Objects, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Objects{s}, nil
}

// Sweep has nothing to do: the service keeps nothing of a request that did not arrive whole.
func (*Objects) Sweep(context.Context) ([]string, error) { return nil, nil }

// Close lets go of idle connections.
func (o *Objects) Close() error { return o.store.Close() }

// ID is the service, the bucket and the prefix.
func (o *Objects) ID() string { return o.store.ID() + "/" + o.store.opts.Prefix }

// key is the whole key of an object.
func (o *Objects) key(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := exportops.CheckKey(key); err != nil {
		return "", err
	}
	whole := o.store.opts.Prefix + key
	return whole, o.store.checkKey(whole)
}

// Create writes an object, as exportops.ObjectStore has it. The service checks that
// the SHA-256 of what arrived is sum.
func (o *Objects) Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	whole, err := o.key(ctx, key)
	if err != nil {
		return err
	}
	if size > largestObject {
		return &exportops.Error{
			Kind: exportops.KindTooLarge, Message: fmt.Sprintf("an object of %d bytes is more than S3 takes in one request, %d", size, int64(largestObject)),
		}
	}
	if err := exportops.CheckBody(body, size, sum); err != nil {
		return err
	}
	_, err = o.create(ctx, whole, body, size, sum)
	return err
}

// create returns the version of the object, "" where the bucket keeps none.
func (o *Objects) create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) (version string, err error) {
	within := oneAttempt + time.Duration(size/slowest)*time.Second
	in := &awss3.PutObjectInput{
		Bucket: &o.store.opts.Bucket, Key: &key, ContentLength: &size, IfNoneMatch: aws.String("*"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])), ContentType: aws.String("application/octet-stream"),
		ServerSideEncryption: types.ServerSideEncryption(o.store.opts.Encryption),
	}
	if o.store.opts.KMSKey != "" {
		in.SSEKMSKeyId = &o.store.opts.KMSKey
	}
	uncertain := false // an attempt that was not answered may have been carried out
	err = o.store.sendLong(ctx, time.Now().Add(patience+within), within, func(ctx context.Context) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("rewind what is to be written: %w", err)
		}
		in.Body = body
		out, err := o.store.client.PutObject(ctx, in)
		if err == nil {
			version = aws.ToString(out.VersionId)
		} else if !isConflict(err) && passing(err) && !tooMany(err) {
			uncertain = true
		}
		return err
	})
	switch {
	case err == nil:
		return version, nil
	case isConflict(err) && uncertain:
		return "", o.perhapsOurs(ctx, key, size, sum, err)
	case isConflict(err):
		return "", exportops.ObjectExists(key, reason(err))
	}
	return "", o.store.fault(ctx, "written to", o.store.permissions("s3:PutObject", true), err)
}

// slowest is the bytes a second of the slowest connection that is waited for.
const slowest = 128 << 10

// isConflict reports whether the service says that there is an object already.
func isConflict(err error) bool {
	return code(err) == "PreconditionFailed" || code(err) == "ConditionalRequestConflict" ||
		status(err) == http.StatusPreconditionFailed || status(err) == http.StatusConflict && code(err) != "OperationAborted"
}

// perhapsOurs looks whether the object that is there is the one that was sent, by an
// attempt of which nothing was heard.
func (o *Objects) perhapsOurs(ctx context.Context, key string, size int64, sum [sha256.Size]byte, conflict error) error {
	body, err := o.open(ctx, key)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(body, size+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("read what is at %q: %w", key, err)
	}
	if n != size || [sha256.Size]byte(h.Sum(nil)) != sum {
		return exportops.ObjectExists(key, reason(conflict))
	}
	return nil
}

// Open reads an object. A connection that breaks, or brings nothing for a while, ends
// the body in an error.
func (o *Objects) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	whole, err := o.key(ctx, key)
	if err != nil {
		return nil, err
	}
	return o.open(ctx, whole)
}

func (o *Objects) open(ctx context.Context, key string) (io.ReadCloser, error) {
	var body io.ReadCloser
	giveUp := time.Now().Add(patience)
	err := o.store.send(ctx, giveUp, func(context.Context) (err error) {
		body, err = o.get(ctx, key) // not the attempt's context, which ends before the body
		return err
	})
	switch {
	case err == nil:
		return body, nil
	case isAbsent(err):
		if err := o.store.present(ctx, giveUp); err != nil {
			return nil, err
		}
		return nil, exportops.NoObject(key)
	}
	return nil, o.store.fault(ctx, "read", o.store.permissions("s3:GetObject", false), err)
}

func (o *Objects) get(ctx context.Context, key string) (io.ReadCloser, error) {
	w := watch(ctx)
	in := &awss3.GetObjectInput{Bucket: &o.store.opts.Bucket, Key: &key}
	out, err := o.store.client.GetObject(w.ctx, in) //nolint:contextcheck // it is made of ctx
	if err != nil {
		err = w.explain(err)
		w.stop()
		return nil, err
	}
	return &watched{body: out.Body, watcher: w, left: aws.ToInt64(out.ContentLength)}, nil
}

// Delete removes an object, in a bucket that keeps versions under the same conditions
// as Store.Delete.
func (o *Objects) Delete(ctx context.Context, key string) error {
	whole, err := o.key(ctx, key)
	if err != nil {
		return err
	}
	results, err := o.store.Delete(ctx, []exportops.FileRef{{Key: whole}})
	if err != nil {
		return err
	}
	if r := results[0]; r.Err != nil {
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		return unavailable(fmt.Sprintf("an object in %s could not be deleted", o.store.place()), "allow s3:DeleteObject, and look for a lock on the bucket", r.Err)
	}
	return nil
}
