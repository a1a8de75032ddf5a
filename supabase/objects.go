package supabase

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/exportops/exportops"
)

// Objects is a bucket, or the part of it below a prefix, of objects that are written
// once, such as archives. Their keys are relative to the prefix. It is safe for
// concurrent use.
//
// Storage refuses an upload without x-upsert where there is an object. Its lightweight
// server does not where two are sent in the same moment: whoever needs to know reads
// back what it wrote. Storage takes files
// up to a limit of the bucket or the project, and lists a folder's objects up to
// twenty thousand.
type Objects struct{ store *Store }

var _ exportops.ObjectStore = (*Objects)(nil)

// slowest is the bytes a second of the slowest connection that is waited for.
const slowest = 128 << 10

// OpenObjects makes an object store of a bucket, as Open does.
func OpenObjects(ctx context.Context, o Options) (*Objects, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Objects{s}, nil
}

// Close lets go of idle connections.
func (o *Objects) Close() error { return o.store.Close() }

// ID names the project, the bucket and the prefix.
func (o *Objects) ID() string { return o.store.ID() + "/" + o.store.prefix }

// key is the whole key of an object.
func (o *Objects) key(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := exportops.CheckKey(key); err != nil {
		return "", err
	}
	whole := o.store.prefix + key
	return whole, o.store.checkKey(whole)
}

// Create writes an object, as exportops.ObjectStore has it.
func (o *Objects) Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	whole, err := o.key(ctx, key)
	if err != nil {
		return err
	}
	if err := exportops.CheckBody(body, size, sum); err != nil {
		return err
	}
	bucket, err := o.store.readBucket(ctx)
	if err != nil {
		return o.store.unusable("look for its bucket", err)
	}
	return o.create(ctx, whole, mimeOf(bucket.Types), body, size, sum)
}

// mimeOf is what the bucket takes an archive for.
func mimeOf(allowed []string) string {
	if len(allowed) == 0 {
		return "application/octet-stream"
	}
	return strings.Replace(allowed[0], "/*", "/octet-stream", 1)
}

func (o *Objects) create(ctx context.Context, key, mime string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	uncertain := false // an attempt that was not answered may have been carried out
	for attempt := 1; ; attempt++ {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("rewind what is to be written: %w", err)
		}
		from := &noting{Reader: body}
		_, err := o.store.api.do(ctx, request{
			method: http.MethodPost, path: []string{"object", o.store.bucket, key}, stream: from, size: size,
			header: map[string]string{"Content-Type": mime, "X-Upsert": "false", "Cache-Control": "no-store"},
		})
		switch {
		case err == nil:
			return nil
		case from.err != nil:
			return fmt.Errorf("read what is to be written: %w", from.err)
		case exists(err) && uncertain:
			return o.perhapsOurs(ctx, key, size, sum, err)
		case exists(err):
			return exportops.ObjectExists(key, err)
		case tooLong(err):
			return &exportops.Error{
				Kind: exportops.KindTooLarge, Message: fmt.Sprintf("an object of %d bytes is more than the bucket takes", size),
				Hint: "raise the file size limit of the bucket and of the project", Err: err,
			}
		case attempt == attempts || !transient(err):
			return o.store.unusable("write an object", err)
		}
		uncertain = uncertain || !unsent(err)
		if err := pause(ctx, attempt, err); err != nil {
			return o.store.unusable("write an object", err)
		}
	}
}

// noting notes whether the body itself could not be read.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	k, err := n.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// exists reports whether Storage says that there is an object already.
func exists(err error) bool {
	var f *fault
	return errors.As(err, &f) && (f.meant == http.StatusConflict || f.code == "KeyAlreadyExists" || f.code == "ResourceAlreadyExists" || f.kind == "Duplicate")
}

func tooLong(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.meant == http.StatusRequestEntityTooLarge
}

func unsent(err error) bool {
	var f *fault
	return errors.As(err, &f) && (f.unsent || f.meant == http.StatusTooManyRequests)
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
		return exportops.ObjectExists(key, conflict)
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
	for attempt := 1; ; attempt++ {
		body, err := o.store.api.fetch(ctx, request{method: http.MethodGet, path: []string{"object", o.store.bucket, key}})
		switch {
		case err == nil:
			return body, nil
		case notFound(err):
			// Also what may not be seen is not found.
			if err := o.store.present(ctx); err != nil {
				return nil, o.store.unusable("look for its bucket", err)
			}
			return nil, exportops.NoObject(strings.TrimPrefix(key, o.store.prefix))
		case attempt == attempts || !transient(err):
			return nil, o.store.unusable("read an object", err)
		}
		if err := pause(ctx, attempt, err); err != nil {
			return nil, o.store.unusable("read an object", err)
		}
	}
}

// Delete removes an object.
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
		return o.store.unusable("delete an object", r.Err)
	}
	return nil
}

// Sweep has nothing to do: the service keeps nothing of a request that did not arrive whole.
func (*Objects) Sweep(context.Context) ([]string, error) { return nil, nil }

// ProbeCreate creates a small object twice, reads it back and deletes it.
func (o *Objects) ProbeCreate(ctx context.Context) error {
	bucket, err := o.store.readBucket(ctx)
	if err != nil {
		return o.store.unusable("look for its bucket", err)
	}
	key, content := o.store.prefix+probePrefix+rand.Text(), rand.Text()
	write := func(content string) error {
		return o.create(ctx, key, mimeOf(bucket.Types), strings.NewReader(content), int64(len(content)), sha256.Sum256([]byte(content)))
	}
	err = write(content)
	first, second := err == nil, error(nil)
	if first {
		if second = write(rand.Text()); exportops.IsKind(second, exportops.KindConflict) {
			err = o.store.readsAs(ctx, key, []byte(content))
		}
	}
	// Also when the write failed: it may have been carried out, and when ctx has
	// ended.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if removeErr := o.store.unprobe(clean, key, first); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("delete it again: %w", removeErr))
	}
	switch {
	case err != nil:
		return o.store.unusable("use it", err)
	case second == nil:
		return exportops.OverwritesObjects(o.ID(), "update Storage: it takes no notice of x-upsert: false")
	case !exportops.IsKind(second, exportops.KindConflict):
		return second
	}
	return nil
}
