package supabase

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// probePrefix begins the name of a probe's object, directly under the prefix.
const probePrefix = reserved + "probe-"

// Probe writes a small object with a random name under the prefix, reads it
// back, removes it and makes sure that it is gone; an error says which of these
// cannot be done. It leaves nothing behind, also when it fails; only a process
// that is killed meanwhile leaves its object, which Check does not count.
func (s *Store) Probe(ctx context.Context) error {
	bucket, err := s.readBucket(ctx)
	if err != nil {
		return s.unusable("look for its bucket", err)
	}
	key, content := s.prefix+probePrefix+rand.Text(), []byte(rand.Text())
	err = s.upload(ctx, key, contentType(bucket.Types), content)
	if err != nil {
		err = fmt.Errorf("write an object (is an insert into storage.objects permitted?): %w", err)
	} else if err = s.readsAs(ctx, key, content); err != nil {
		err = fmt.Errorf("read an object (is a select from storage.objects permitted?): %w", err)
	}
	// Also when the write failed: it may have been carried out, and when ctx has
	// ended.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if removeErr := s.unprobe(clean, key, err == nil); removeErr != nil && err == nil {
		err = fmt.Errorf("delete an object (is a delete from storage.objects permitted?): %w", removeErr)
	} else if removeErr != nil {
		err = errors.Join(err, fmt.Errorf("delete it again: %w", removeErr))
	}
	return s.unusable("use it", err)
}

// unprobe removes a probe's object. When it is known to have been written, the
// server must say that it removed it.
func (s *Store) unprobe(ctx context.Context, key string, written bool) error {
	r := s.removal()
	if err := r.remove(ctx, []string{key}); err != nil {
		return err
	}
	if err := r.failed[key]; err != nil {
		return err
	}
	if _, gone := r.gone[key]; written && !gone && !r.interrupted[key] {
		return errors.New("storage did not say that it deleted it")
	}
	switch info, err := s.look(ctx, key); {
	case err != nil:
		return fmt.Errorf("look for it: %w", err)
	case info.Exists:
		return errors.New("it is still there")
	}
	return nil
}

// contentType is one that the bucket takes.
func contentType(allowed []string) string {
	if len(allowed) == 0 {
		return "text/plain"
	}
	return strings.Replace(allowed[0], "/*", "/plain", 1)
}

// upload writes an object. It may be repeated: what is there is replaced.
func (s *Store) upload(ctx context.Context, key, mime string, content []byte) error {
	return s.api.call(ctx, request{
		method: http.MethodPost, path: []string{"object", s.bucket, key}, raw: content,
		header: map[string]string{"Content-Type": mime, "X-Upsert": "true", "Cache-Control": "no-store"},
	}, nil)
}

// readsAs makes sure that an object holds content.
func (s *Store) readsAs(ctx context.Context, key string, content []byte) error {
	var got []byte
	err := s.api.call(ctx, request{method: http.MethodGet, path: []string{"object", s.bucket, key}}, &got)
	if err == nil && !bytes.Equal(got, content) {
		err = errors.New("it did not read as it was written")
	}
	return err
}
