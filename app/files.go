package app

import (
	"context"
	"fmt"
	"os"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/disk"
)

// OpenFiles opens the storage that the settings name. It must be closed after
// use.
func OpenFiles(_ context.Context, c config.Config) (files exportops.FileStore, closeFiles func() error, err error) {
	if c.Storage.Root == "" {
		return nil, nil, exportops.Invalid("EXPORT_STORAGE_URL", "this version keeps export files in a folder; %s is not in it yet", c.Storage.Name())
	}
	d, err := disk.Open(c.Storage.Root)
	if err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
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
