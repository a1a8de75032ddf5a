package config_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

func project(s *config.Settings) {
	s.SupabaseURL, s.SupabaseKey = "https://abc.supabase.co", "k"
}

func TestWhereArchivesAre(t *testing.T) {
	here, err := filepath.Abs("cold")
	if err != nil {
		t.Fatal(err)
	}
	abc := &config.Supabase{URL: "https://abc.supabase.co", Key: "k"}
	for name, c := range map[string]struct {
		set  func(*config.Settings)
		want *config.Storage
	}{
		"nowhere":          {func(*config.Settings) {}, nil},
		"bucket":           {func(s *config.Settings) { s.ArchiveBucket = "cold" }, &config.Storage{Bucket: "cold", S3: &config.S3{Region: "us-east-1"}}},
		"bucket in region": {func(s *config.Settings) { s.ArchiveBucket, s.ArchiveRegion = "cold", "eu-west-1" }, &config.Storage{Bucket: "cold", S3: &config.S3{Region: "eu-west-1"}}},
		"bucket beside one of AWS": {
			func(s *config.Settings) {
				s.ArchiveBucket, s.StorageURL = "cold", "s3://hot?region=eu-west-1&path_style=true&sse=AES256"
			},
			&config.Storage{Bucket: "cold", S3: &config.S3{Region: "us-east-1"}},
		},
		"bucket beside one of another service": {
			func(s *config.Settings) {
				s.ArchiveBucket, s.StorageURL = "cold", "s3://hot?endpoint=http://minio:9000"
			},
			&config.Storage{Bucket: "cold", S3: &config.S3{Region: "us-east-1", Endpoint: "http://minio:9000", PathStyle: true}},
		},
		"bucket of the project": {
			func(s *config.Settings) { project(s); s.ArchiveBucket, s.StorageURL = "cold", "supabase://hot" },
			&config.Storage{Bucket: "cold", Supabase: abc},
		},
		"folder": {func(s *config.Settings) { s.ArchiveURL = "file://cold" }, &config.Storage{Root: here, Bucket: exportops.DefaultBucket}},
		"s3": {
			func(s *config.Settings) { s.ArchiveURL = "s3://cold/a/b?region=eu-west-1&sse=AES256" },
			&config.Storage{Bucket: "cold", Prefix: "a/b/", S3: &config.S3{Region: "eu-west-1", Encryption: "AES256"}},
		},
		"project": {
			func(s *config.Settings) { project(s); s.ArchiveURL = "supabase://cold/a" },
			&config.Storage{Bucket: "cold", Prefix: "a/", Supabase: abc},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := config.Settings{}
			c.set(&s)
			got, err := s.Parse()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Archive); diff != "" {
				t.Error(diff)
			}
			if got.ArchiveConfigured != (c.want != nil) {
				t.Errorf("configured: %v", got.ArchiveConfigured)
			}
		})
	}
}

func TestAnArchiveIsNeverWithinTheStorage(t *testing.T) {
	for name, c := range map[string]struct {
		storage, archive string
		refused          bool
	}{
		"the same folder":            {"file:///srv/a", "file:///srv/a", true},
		"a folder within it":         {"file:///srv/a", "file:///srv/a/cold", true},
		"a folder of a similar name": {"file:///srv/a", "file:///srv/ab", false},
		"the folder around it":       {"file:///srv/a", "file:///srv", false},
		"around it by its own name":  {"file:///srv/export_logs", "file:///srv", true},
		"beside its prefix":          {"file:///srv/a?prefix=hot", "file:///srv/a", false},
		"another path to it":         {"file:///srv/a", "file:///srv/x/../a/./cold", true},
		"the same bucket":            {"s3://b", "s3://b", true},
		"a prefix of the bucket":     {"s3://b", "s3://b/cold", true},
		"beside the prefix":          {"s3://b/hot", "s3://b/cold", false},
		"within the prefix":          {"s3://b/hot", "s3://b/hot/cold", true},
		"around the prefix":          {"s3://b/hot", "s3://b", false},
		"where archives would be":    {"s3://b/export_logs/x", "s3://b", true},
		"another bucket":             {"s3://b", "s3://c", false},
		"another region of AWS":      {"s3://b?region=eu-west-1", "s3://b?endpoint=https://s3.us-east-1.amazonaws.com", true},
		"another service":            {"s3://b", "s3://b?endpoint=http://minio:9000", false},
		"the project's bucket":       {"supabase://b", "supabase://b/cold", true},
		"the same by S3":             {"supabase://b", "s3://b?endpoint=https://ABC.storage.supabase.co/storage/v1/s3", true},
		"another project":            {"supabase://b", "s3://b?endpoint=https://xyz.supabase.co/storage/v1/s3", false},
		"a folder and a bucket":      {"file:///srv/a", "s3://a", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := config.Settings{StorageURL: c.storage, ArchiveURL: c.archive}
			project(&s)
			_, err := s.Parse()
			var e *exportops.Error
			if c.refused && (!errors.As(err, &e) || e.Field != "EXPORT_ARCHIVE_URL" || e.Hint == "") || !c.refused && err != nil {
				t.Errorf("got %v, want it refused: %v", err, c.refused)
			}
		})
	}
	_, err := config.Settings{StorageURL: "s3://b", ArchiveBucket: "b"}.Parse()
	var e *exportops.Error
	if !errors.As(err, &e) || e.Field != "EXPORT_ARCHIVE_BUCKET" {
		t.Errorf("the bucket itself: %v", err)
	}
}

func TestEveryMistakeAboutTheArchiveIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		set         func(*config.Settings)
		field, says string
	}{
		"both":               {func(s *config.Settings) { s.ArchiveBucket, s.ArchiveURL = "cold", "s3://cold" }, "EXPORT_ARCHIVE_BUCKET", "both are set"},
		"scheme":             {func(s *config.Settings) { s.ArchiveURL = "ftp://cold" }, "EXPORT_ARCHIVE_URL", "file://"},
		"option":             {func(s *config.Settings) { s.ArchiveURL = "s3://cold?acl=public" }, "EXPORT_ARCHIVE_URL", "acl=public"},
		"query of a folder":  {func(s *config.Settings) { s.ArchiveURL = "file://cold?prefix=a" }, "EXPORT_ARCHIVE_URL", "takes none"},
		"secret":             {func(s *config.Settings) { s.ArchiveURL = "s3://k:hunter2@cold" }, "EXPORT_ARCHIVE_URL", "no bucket"},
		"no project":         {func(s *config.Settings) { s.ArchiveURL = "supabase://cold" }, "SUPABASE_URL", "needed"},
		"bucket with prefix": {func(s *config.Settings) { s.ArchiveBucket = "cold/a" }, "EXPORT_ARCHIVE_BUCKET", "no bucket"},
		"bucket as a URL":    {func(s *config.Settings) { s.ArchiveBucket = "s3://cold" }, "EXPORT_ARCHIVE_BUCKET", "no bucket"},
		"region":             {func(s *config.Settings) { s.ArchiveBucket, s.ArchiveRegion = "cold", "eu west" }, "EXPORT_ARCHIVE_REGION", "no region"},
	} {
		t.Run(name, func(t *testing.T) {
			s := config.Settings{}
			c.set(&s)
			_, err := s.Parse()
			var e *exportops.Error
			if !errors.As(err, &e) || e.Kind != exportops.KindInvalid || e.Field != c.field || e.Hint == "" || !strings.Contains(e.Error()+e.Hint, c.says) {
				t.Fatalf("got %v, want it about %s and to say %q", err, c.field, c.says)
			}
			if strings.Contains(e.Error()+e.Hint, "hunter2") {
				t.Errorf("%v gives a secret away", err)
			}
		})
	}
}
