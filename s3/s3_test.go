package s3_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/filetest"
	"github.com/exportops/exportops/s3"
)

// TestMain keeps what this machine is set up for out of the tests.
func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			must(os.Unsetenv(name))
		}
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		must(os.Setenv(name, value))
	}
	os.Exit(m.Run())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// bucket is a new bucket on the real server, emptied and removed in the end.
type bucket struct {
	client   *awss3.Client
	name     string
	endpoint string
}

func newBucket(tb testing.TB) bucket {
	tb.Helper()
	const variable = "EXPORTOPS_TEST_S3"
	if os.Getenv(variable) == "" {
		tb.Skip("needs an S3 server: set " + variable + ", or run scripts/servers s3 -- go test ./s3")
	}
	u, err := url.Parse(os.Getenv(variable))
	check(tb, err)
	secret, _ := u.User.Password()
	tb.Setenv("AWS_ACCESS_KEY_ID", u.User.Username())
	tb.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	b := bucket{name: "exportops-" + strings.ToLower(rand.Text()[:20]), endpoint: u.Scheme + "://" + u.Host}
	b.client = awss3.New(awss3.Options{
		Region: "us-east-1", UsePathStyle: true, BaseEndpoint: &b.endpoint,
		Credentials:                credentials.NewStaticCredentialsProvider(u.User.Username(), secret, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})
	_, err = b.client.CreateBucket(tb.Context(), &awss3.CreateBucketInput{Bucket: &b.name})
	check(tb, err)
	tb.Cleanup(func() { check(tb, b.remove(context.WithoutCancel(tb.Context()))) })
	return b
}

func (b bucket) keepVersions(t *testing.T) {
	t.Helper()
	_, err := b.client.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{
		Bucket:                  &b.name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	check(t, err)
}

func (b bucket) open(tb testing.TB, o s3.Options) *s3.Store {
	tb.Helper()
	o.Bucket, o.Endpoint, o.PathStyle = b.name, b.endpoint, true
	s, err := s3.Open(tb.Context(), o)
	check(tb, err)
	tb.Cleanup(func() { check(tb, s.Close()) })
	return s
}

func (b bucket) put(ctx context.Context, key string, content []byte) error {
	_, err := b.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b.name, Key: &key, Body: bytes.NewReader(content)})
	return err
}

// versions lists every version of every key, delete markers left out.
func (b bucket) versions(ctx context.Context) (objects, markers []types.ObjectIdentifier, err error) {
	in := &awss3.ListObjectVersionsInput{Bucket: &b.name}
	for {
		out, err := b.client.ListObjectVersions(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range out.Versions {
			objects = append(objects, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range out.DeleteMarkers {
			markers = append(markers, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if !aws.ToBool(out.IsTruncated) {
			return objects, markers, nil
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

// current lists the keys that a reader sees.
func (b bucket) current(ctx context.Context) (keys []string, err error) {
	pages := awss3.NewListObjectsV2Paginator(b.client, &awss3.ListObjectsV2Input{Bucket: &b.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// stored lists the keys that have bytes, seen by a reader or not.
func (b bucket) stored(ctx context.Context) (keys []string, err error) {
	objects, _, err := b.versions(ctx)
	for _, o := range objects {
		keys = append(keys, *o.Key)
	}
	return keys, err
}

func (b bucket) remove(ctx context.Context) error {
	keys, err := b.current(ctx)
	var gone *types.NoSuchBucket
	if errors.As(err, &gone) {
		return nil
	}
	for _, key := range keys {
		if _, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b.name, Key: &key}); err != nil {
			return fmt.Errorf("delete %q: %w", key, err)
		}
	}
	objects, markers, versionsErr := b.versions(ctx)
	for _, o := range append(objects, markers...) {
		if _, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b.name, Key: o.Key, VersionId: o.VersionId}); err != nil {
			return fmt.Errorf("delete a version of %q: %w", *o.Key, err)
		}
	}
	_, deleteErr := b.client.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: &b.name})
	return errors.Join(err, versionsErr, deleteErr)
}

func TestConformance(t *testing.T) {
	for name, x := range map[string]struct {
		options  s3.Options
		versions bool
	}{
		"confirmed":                    {},
		"verify_full":                  {options: s3.Options{VerifyFull: true}},
		"below_a_prefix":               {options: s3.Options{VerifyFull: true, Prefix: "teams/exports"}},
		"versions":                     {options: s3.Options{DeleteVersions: true}, versions: true},
		"versions_verify_full":         {options: s3.Options{DeleteVersions: true, VerifyFull: true}, versions: true},
		"versions_where_none_are_kept": {options: s3.Options{DeleteVersions: true}},
	} {
		t.Run(name, func(t *testing.T) {
			filetest.Run(t, func(t *testing.T) filetest.Fixture {
				t.Helper()
				b := newBucket(t)
				if x.versions {
					b.keepVersions(t)
				}
				return b.fixture(t, x.options)
			})
		})
	}
}

func (b bucket) fixture(t *testing.T, o s3.Options) filetest.Fixture {
	t.Helper()
	// What is beside the prefix is none of the store's business.
	beside := ""
	prefix := strings.TrimSuffix(o.Prefix, "/")
	if prefix != "" {
		beside, prefix = prefix+"-old/a", prefix+"/"
		check(t, b.put(t.Context(), beside, nil))
	}
	list := b.current
	if o.DeleteVersions {
		list = b.stored
	}
	return filetest.Fixture{
		Store: below{b.open(t, o), prefix},
		Put:   func(key string, content []byte) error { return b.put(t.Context(), prefix+key, content) },
		Keys: func() (keys []string, err error) {
			all, err := list(t.Context())
			for _, key := range all {
				if key != beside || beside == "" {
					keys = append(keys, strings.TrimPrefix(key, prefix))
				}
			}
			return keys, err
		},
		RemoveRoot:            func() error { return b.remove(t.Context()) },
		Mark:                  func() error { return b.put(t.Context(), prefix+s3.MarkerFile, nil) },
		TakesAbsentForDeleted: !o.VerifyFull && !o.DeleteVersions,
	}
}

// below lets the suite name keys as if the prefix were the root.
type below struct {
	*s3.Store
	prefix string
}

func (s below) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	longer := make([]exportops.FileRef, len(refs))
	for i, ref := range refs {
		longer[i] = exportops.FileRef{Key: s.prefix + ref.Key, Guard: ref.Guard}
	}
	return s.Store.Delete(ctx, longer)
}

func (s below) Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error) {
	longer := make([]string, len(keys))
	for i, key := range keys {
		longer[i] = s.prefix + key
	}
	return s.Store.Stat(ctx, longer)
}

func (s below) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	if after != "" {
		after = s.prefix + after
	}
	return func(yield func(exportops.WalkedFile, error) bool) {
		for f, err := range s.Store.Walk(ctx, after) {
			f.Key = strings.TrimPrefix(f.Key, s.prefix)
			if !yield(f, err) {
				return
			}
		}
	}
}
