//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/postgres"
)

// bucket is a store on the test server. What it was when it was kept comes back by
// writing what has changed alone.
type bucket struct {
	client  *s3.Client
	name    string
	kept    map[string][]byte
	written time.Time // of the last object
}

func (b *bucket) put(key string, content []byte) error {
	_, err := b.client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: bytes.NewReader(content)})
	b.written = time.Now()
	return err
}

func (b *bucket) remove(key string) error {
	_, err := b.client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	return err
}

func (b *bucket) all() (map[string][]byte, error) {
	all := map[string][]byte{}
	page, err := b.client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &b.name})
	if err != nil {
		return nil, err
	}
	for _, o := range page.Contents {
		got, err := b.client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &b.name, Key: o.Key})
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(got.Body)
		if err = errors.Join(err, got.Body.Close()); err != nil {
			return nil, err
		}
		all[*o.Key] = content
	}
	return all, nil
}

func (b *bucket) keep() (err error) {
	b.kept, err = b.all()
	return err
}

func (b *bucket) reset() error {
	there, err := b.all()
	if err != nil {
		return err
	}
	for key := range there {
		if _, ok := b.kept[key]; !ok {
			if err := b.remove(key); err != nil {
				return err
			}
		}
	}
	for key, content := range b.kept {
		if was, ok := there[key]; ok && bytes.Equal(was, content) {
			continue
		}
		if err := b.put(key, content); err != nil {
			return err
		}
	}
	return nil
}

// remote is a database on the test server, and two buckets.
type remote struct {
	name, server  string
	keys          []string // to the buckets, as settings
	endpoint      string
	exports, cold *bucket
}

func (r *remote) url(database string) string {
	u, err := url.Parse(r.server)
	if err != nil {
		panic(err) // it was read before
	}
	u.Path = "/" + database
	return u.String()
}

// admin changes databases, which nobody may be connected to.
func (r *remote) admin(statements ...string) error {
	db, err := sql.Open("pgx", r.server)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(context.Background(), s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (r *remote) drop() error {
	return r.admin(`DROP DATABASE IF EXISTS `+r.name+` WITH (FORCE)`, `DROP DATABASE IF EXISTS `+r.name+`_kept WITH (FORCE)`)
}

func (r *remote) fresh() error {
	r.exports.kept, r.cold.kept = nil, nil
	return errors.Join(r.drop(), r.admin(`CREATE DATABASE `+r.name), r.exports.reset(), r.cold.reset())
}

func (r *remote) keep() error {
	db, err := r.connect()
	if err != nil {
		return err
	}
	defer db.Close()
	if err := errors.Join(r.quiet(context.Background(), db), db.Close()); err != nil {
		return err
	}
	return errors.Join(r.admin(`CREATE DATABASE `+r.name+`_kept TEMPLATE `+r.name), r.exports.keep(), r.cold.keep())
}

func (r *remote) reset() error {
	return errors.Join(r.admin(`DROP DATABASE `+r.name+` WITH (FORCE)`, `CREATE DATABASE `+r.name+` TEMPLATE `+r.name+`_kept`),
		r.exports.reset(), r.cold.reset())
}

// settled waits for the second after that of the last object: S3 tells no better when
// it was written, and one of the second of its claim may have been written after it.
func (r *remote) settled() {
	last := r.exports.written
	if r.cold.written.After(last) {
		last = r.cold.written
	}
	time.Sleep(time.Until(last.Truncate(time.Second).Add(1100 * time.Millisecond)))
}

// quiet waits until the server has noticed that its client is dead: what it was told
// it does to the end.
func (r *remote) quiet(ctx context.Context, db *sql.DB) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d connections of a dead process are left", n)
		}
	}
}

func (r *remote) settings() []string {
	return append([]string{
		"DATABASE_URL=" + r.url(r.name), "EXPORT_STORAGE_URL=s3://" + r.exports.name + "?endpoint=" + r.endpoint,
	}, r.keys...)
}

func (r *remote) archiveURL() string { return "s3://" + r.cold.name + "?endpoint=" + r.endpoint }

func (r *remote) connect() (*sql.DB, error) {
	db, err := sql.Open("pgx", r.url(r.name))
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (r *remote) database(ctx context.Context) (exportops.Database, error) {
	return postgres.Open(ctx, postgres.Options{URL: r.url(r.name), PoolSize: 2})
}

func (*remote) own(table string) string { return "exportops." + table }

func (*remote) tables() string {
	return `SELECT 'exportops.' || tablename FROM pg_tables WHERE schemaname = 'exportops'
		UNION ALL SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename = 'export_logs'`
}

func (*remote) marks(n int) string {
	marks := make([]string, n)
	for i := range marks {
		marks[i] = "$" + strconv.Itoa(i+1)
	}
	return strings.Join(marks, ", ")
}

func (r *remote) mask(text string) string {
	return strings.NewReplacer(r.exports.name, "EXPORTS", r.cold.name, "COLD", r.name, "LIVE").Replace(text)
}

// TestPostgresWithS3 sweeps every job on servers. While one world is tried, others
// become again what they were.
func TestPostgresWithS3(t *testing.T) {
	t.Parallel()
	server, storage := os.Getenv("EXPORTOPS_TEST_POSTGRES"), os.Getenv("EXPORTOPS_TEST_S3")
	if server == "" || storage == "" {
		t.Skip("EXPORTOPS_TEST_POSTGRES and EXPORTOPS_TEST_S3 name no servers: see scripts/servers")
	}
	u, err := url.Parse(storage)
	must(t, err)
	access := u.User.Username()
	secret, _ := u.User.Password()
	u.User = nil
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(u.String()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	var worlds []*world
	lanes := 2
	if all() {
		lanes = 3
	}
	for range lanes {
		name := "sweep" + strings.ReplaceAll(exportops.NewID(), "-", "")
		r := &remote{
			name: name, server: server, endpoint: u.String(),
			keys:    []string{"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret},
			exports: &bucket{client: client, name: name + "-exports"}, cold: &bucket{client: client, name: name + "-cold"},
		}
		for _, b := range []*bucket{r.exports, r.cold} {
			_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b.name})
			must(t, err)
		}
		t.Cleanup(func() { must(t, r.drop()) })
		worlds = append(worlds, &world{backend: r, dir: t.TempDir(), exports: r.exports, cold: r.cold})
	}
	for _, j := range someJobs(t) {
		t.Run(j.name, func(t *testing.T) {
			now := time.Now().UTC()
			for _, w := range worlds {
				w.now = now
			}
			sweep(t, worlds, j)
		})
	}
}
