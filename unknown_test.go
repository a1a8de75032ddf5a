package exportops_test

import (
	"errors"
	"testing"

	"github.com/exportops/exportops"
)

func TestLocatorAt(t *testing.T) {
	for name, x := range map[string]struct {
		prefix, key string
		ok          bool
	}{
		"below_the_prefix":               {"a/", "a/b/c", true},
		"a_prefix_without_its_slash":     {"a", "a/b", true},
		"no_prefix":                      {"", "a b/ü", true},
		"the_prefix_itself":              {"a/", "a", false},
		"a_neighbour_of_the_prefix":      {"a", "ab/x", false},
		"outside":                        {"a/", "b/c", false},
		"up":                             {"", "../b", false},
		"up_from_within":                 {"a/", "a/../b", false},
		"absolute":                       {"", "/b", false},
		"backslash":                      {"", `..\b`, false},
		"nothing":                        {"", "", false},
		"the_prefix_is_no_part_but_text": {"a/", "a//b", false},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := exportops.Locator{Prefix: x.prefix}.At(x.key)
			switch {
			case x.ok && (err != nil || at.Key != x.key || at.Bucket != exportops.DefaultBucket):
				t.Fatalf("%+v, %v", at, err)
			case !x.ok && (!errors.Is(err, exportops.ErrBadKey) || at != exportops.Location{}):
				t.Fatalf("%+v, %v", at, err)
			}
		})
	}
}

func TestWhatMayBeAnArchive(t *testing.T) {
	for key, may := range map[string]bool{
		"export_logs/year=2025/month=10/000001-5f70bf18.parquet":  true,
		"old/export_logs/year=2025/month=10/000001-5f70bf18.json": true,
		"old/Export_Logs/year=2025/month=1/anything.PARQUET":      true,
		"export_logs.csv": false,
		"my_export_logs/year=2025/month=10/000001-x.parquet": false,
		"u1/year=2025/month=10/a.parquet":                    false,
	} {
		if got := (exportops.UnknownFile{Key: key}).MayBeArchive(); got != may {
			t.Errorf("%s: %t", key, got)
		}
	}
}
