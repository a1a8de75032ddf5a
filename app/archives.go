package app

import (
	"context"
	"errors"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/config"
)

// keeper is what archives log rows to a storage.
func keeper(s archive.Store, objects exportops.ObjectStore, version string) *archive.Keeper {
	if version == "" {
		version = "unknown"
	}
	return &archive.Keeper{Store: s, Objects: objects, Program: "exportops " + version}
}

// WithArchives calls fn with the archives of log rows. It is KindInvalid where none
// are configured.
func WithArchives(ctx context.Context, c config.Config, fn func(*archive.Keeper) error) (err error) {
	if c.Archive == nil {
		return &exportops.Error{
			Kind: exportops.KindInvalid, Field: "EXPORT_ARCHIVE_URL", Message: "no storage for archives is configured",
			Hint: "name it in EXPORT_ARCHIVE_URL, or its bucket in EXPORT_ARCHIVE_BUCKET",
		}
	}
	s, err := OpenStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	objects, err := OpenArchive(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	return fn(keeper(s, objects, ""))
}
