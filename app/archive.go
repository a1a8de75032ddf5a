package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/s3"
	"github.com/exportops/exportops/supabase"
)

// Archive is an open storage of archives.
type Archive interface {
	exportops.ObjectStore
	Close() error
}

// OpenArchive opens the archive that the settings name, which must be some. Close it.
func OpenArchive(ctx context.Context, c config.Config) (Archive, error) {
	st := c.Archive
	switch {
	case st == nil:
		return nil, exportops.Invalid("EXPORT_ARCHIVE_URL", "no archive is set")
	case st.S3 != nil:
		o, err := s3.OpenObjects(ctx, s3.Options{
			Bucket: st.Bucket, Prefix: st.Prefix, Endpoint: st.S3.Endpoint, Region: st.S3.Region,
			PathStyle: st.S3.PathStyle, VerifyFull: st.S3.VerifyFull, DeleteVersions: st.S3.DeleteVersions,
			Encryption: st.S3.Encryption, KMSKey: st.S3.KMSKey,
		})
		return openedArchive(o, err)
	case st.Supabase != nil:
		o, err := supabase.OpenObjects(ctx, supabase.Options{
			URL: st.Supabase.URL, Key: st.Supabase.Key.Reveal(), Bucket: st.Bucket, Prefix: st.Prefix,
		})
		return openedArchive(o, err)
	}
	if err := apart(st.Root, c.Storage.Root); err != nil {
		return nil, err
	}
	o, err := disk.OpenObjects(st.Root)
	return openedArchive(o, err)
}

// openedArchive keeps a nil of a type of its own from passing for a store.
func openedArchive[A Archive](a A, err error) (Archive, error) {
	if err != nil {
		return nil, err
	}
	return a, nil
}

// apart refuses a folder of archives that is the storage's, or lies within it, by
// whatever links: the settings alone do not show it.
func apart(archive, storage string) error {
	if storage == "" {
		return nil
	}
	root, err := os.Stat(storage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is within it
	}
	if err != nil {
		return fmt.Errorf("look at the storage folder: %w", err)
	}
	at, err := filepath.EvalSymlinks(archive)
	if err != nil {
		return nil //nolint:nilerr // opening it tells better what is wrong
	}
	for {
		if info, err := os.Stat(at); err == nil && os.SameFile(info, root) {
			return &exportops.Error{
				Kind: exportops.KindInvalid, Field: "EXPORT_ARCHIVE_URL",
				Message: fmt.Sprintf("the folder %q is in the storage folder %q, and a cleanup could meet archives", archive, storage),
				Hint:    "put the archive into a folder beside it",
			}
		}
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		at = up
	}
}

// createArchive makes the folder where it is missing.
func createArchive(c config.Config) error {
	if c.Archive == nil || c.Archive.Root == "" {
		return nil
	}
	if err := os.MkdirAll(c.Archive.Root, 0o750); err != nil {
		return fmt.Errorf("create the archive folder: %w", err)
	}
	return nil
}
