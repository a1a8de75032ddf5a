package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/exportops/exportops"
)

const (
	archiveURLSetting    = "EXPORT_ARCHIVE_URL"
	archiveBucketSetting = "EXPORT_ARCHIVE_BUCKET"
)

// archiveFolder is where, within an archive, all keys are.
const archiveFolder = "export_logs/"

// archive reads where archives are: nil where there are none.
func (s Settings) archive(storage Storage) (*Storage, error) {
	var st Storage
	var err error
	setting := archiveURLSetting
	switch {
	case s.ArchiveURL != "" && s.ArchiveBucket != "":
		return nil, invalid(archiveBucketSetting, "it is the short form of "+archiveURLSetting+", and both are set", "set one of them")
	case s.ArchiveURL != "":
		st, err = s.archiveByURL()
	case s.ArchiveBucket != "":
		setting = archiveBucketSetting
		st, err = s.archiveByBucket(storage)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if st.meets(storage) {
		return nil, invalid(setting, fmt.Sprintf("the archive %s and the storage %s lie within each other, and a cleanup could meet archives", st.Name(), storage.Name()),
			"put the archive into another bucket or folder, or under a prefix that is not the storage's")
	}
	return &st, nil
}

// archiveByURL reads a URL as that of the storage is read.
func (s Settings) archiveByURL() (Storage, error) {
	s.StorageURL = s.ArchiveURL
	st, err := s.storage()
	var e *exportops.Error
	if errors.As(err, &e) && e.Field == storageSetting {
		e.Field = archiveURLSetting
	}
	if err == nil && st.Root != "" && strings.Contains(s.ArchiveURL, "?") {
		err = invalid(archiveURLSetting, fmt.Sprintf("%q holds a query, and a folder of archives takes none", ShowURL(s.ArchiveURL)), "use file:///absolute/dir")
	}
	return st, err
}

// archiveByBucket names a bucket at the storage's service, or else of AWS.
func (s Settings) archiveByBucket(storage Storage) (Storage, error) {
	bucket, err := s.bucketAndPrefix(s.ArchiveBucket, "s3")
	if err != nil || bucket.Prefix != "" || strings.ContainsAny(s.ArchiveBucket, "/?#") {
		return Storage{}, invalid(archiveBucketSetting, fmt.Sprintf("%q is no bucket's name", ShowURL(s.ArchiveBucket)),
			"name a bucket alone; with a prefix, use "+archiveURLSetting)
	}
	if strings.ContainsAny(s.ArchiveRegion, " /?#@:") {
		return Storage{}, invalid("EXPORT_ARCHIVE_REGION", fmt.Sprintf("%q is no region's name", s.ArchiveRegion), "use something like us-east-1")
	}
	st := Storage{Bucket: bucket.Bucket}
	if storage.Supabase != nil {
		st.Supabase = storage.Supabase
		return st, nil
	}
	st.S3 = &S3{Region: s.ArchiveRegion}
	if storage.S3 != nil {
		st.S3.Endpoint, st.S3.PathStyle = storage.S3.Endpoint, storage.S3.PathStyle && storage.S3.Endpoint != ""
	}
	return st, nil
}

// meets reports whether archives at s would lie within the storage, or its files
// within them. What links make of folders is looked at when they are opened.
func (s Storage) meets(storage Storage) bool {
	if s.Root != "" || storage.Root != "" {
		if s.Root == "" || storage.Root == "" {
			return false
		}
		return within(slashed(s.Root)+archiveFolder, slashed(storage.Root)+storage.Prefix)
	}
	return s.Bucket == storage.Bucket && s.service() == storage.service() && within(s.Prefix+archiveFolder, storage.Prefix)
}

// within reports whether one of two prefixes covers the other.
func within(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

func slashed(dir string) string { return strings.TrimSuffix(filepath.ToSlash(dir), "/") + "/" }

// service names what holds the bucket, alike for the ways of naming it: Supabase's
// Storage is to be had by its own API and by that of S3.
func (s Storage) service() string {
	at := ""
	switch {
	case s.S3 != nil:
		at = s.S3.Endpoint
	case s.Supabase != nil:
		at = s.Supabase.URL
	}
	u, err := url.Parse(at)
	if err != nil {
		return at
	}
	host := strings.ToLower(u.Host)
	switch {
	case host == "" || strings.HasSuffix(host, ".amazonaws.com"):
		return "aws"
	case strings.HasSuffix(host, ".supabase.co"):
		project, _, _ := strings.Cut(host, ".")
		return project
	}
	return host
}
