package app

import (
	"context"
	"fmt"
	"os"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/s3"
	"github.com/exportops/exportops/supabase"
)

// Files is an open storage.
type Files interface {
	exportops.FileStore
	Close() error
}

// OpenFiles opens the storage that the settings name. Close it.
func OpenFiles(ctx context.Context, c config.Config) (Files, error) {
	switch st := c.Storage; {
	case st.S3 != nil:
		f, err := s3.Open(ctx, s3.Options{
			Bucket: st.Bucket, Prefix: st.Prefix, Endpoint: st.S3.Endpoint, Region: st.S3.Region,
			PathStyle: st.S3.PathStyle, VerifyFull: st.S3.VerifyFull, DeleteVersions: st.S3.DeleteVersions,
			Encryption: st.S3.Encryption, KMSKey: st.S3.KMSKey,
		})
		return opened(f, err)
	case st.Supabase != nil:
		f, err := supabase.Open(ctx, supabase.Options{
			URL: st.Supabase.URL, Key: st.Supabase.Key.Reveal(), Bucket: st.Bucket, Prefix: st.Prefix,
		})
		return opened(f, err)
	default:
		f, err := disk.Open(st.Root)
		return opened(f, err)
	}
}

// opened keeps a nil of a type of its own from passing for a store.
func opened[F Files](f F, err error) (Files, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// createFiles makes the folder where it is missing.
func createFiles(c config.Config) error {
	if c.Storage.Root == "" {
		return nil
	}
	if err := os.MkdirAll(c.Storage.Root, 0o750); err != nil {
		return fmt.Errorf("create the storage folder: %w", err)
	}
	return nil
}

// Locator returns the rules by which rows name files.
func Locator(c config.Config) exportops.Locator {
	return exportops.Locator{
		Bucket: c.Storage.Bucket, Prefix: c.Storage.Prefix, KeyPrefix: c.KeyPrefix, Hosts: c.Hosts, Root: c.Storage.Root,
	}
}
