package disk

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// probePrefix begins the name of a probe's file.
const probePrefix = reserved + "probe-"

// Probe writes a small file with a random name in the root, reads it back,
// deletes it and makes sure that it is gone. It leaves nothing behind, also
// when it fails; only a process that is killed meanwhile leaves its file, which
// Check does not count.
func (s *Store) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.present(); err != nil {
		return err
	}
	if err := s.probe(probePrefix + rand.Text()); err != nil {
		return s.unusable("used", err)
	}
	return s.present()
}

func (s *Store) probe(name string) error {
	content := []byte(rand.Text())
	if err := s.write(name, content); err != nil {
		return fmt.Errorf("write a probe file: %w", err)
	}
	got, readErr := s.root.ReadFile(name)
	// Deleted first, so that a failed read leaves nothing behind.
	if err := s.root.Remove(name); err != nil {
		return fmt.Errorf("delete a probe file: %w", cause(err))
	}
	if readErr != nil {
		return fmt.Errorf("read a probe file: %w", cause(readErr))
	}
	if !bytes.Equal(got, content) {
		return errors.New("a probe file did not read as it was written")
	}
	switch _, err := s.root.Lstat(name); {
	case err == nil:
		return errors.New("a probe file was still there after it was deleted")
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for a deleted probe file: %w", cause(err))
	}
	return nil
}

// write creates a file, or leaves none.
func (s *Store) write(name string, content []byte) error {
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cause(err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		err = cause(err)
		if removeErr := s.root.Remove(name); removeErr != nil {
			err = errors.Join(err, fmt.Errorf("delete it again: %w", cause(removeErr)))
		}
		return err
	}
	return nil
}
