package exportops_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

func TestNamesOfAFile(t *testing.T) {
	l := exportops.Locator{Bucket: "b", Prefix: "p", KeyPrefix: "{user_id}/", Hosts: []string{"files.example.com"}, Root: "/srv/p"}
	for url, want := range map[string][2][]string{
		"":                       {},
		"u/a.csv":                {{"u/a.csv"}},
		"../a":                   {{"../a"}, {"a"}}, // no key that storage can hold
		"100%25":                 {{"100%", "100%25"}},
		"100%":                   {{"100%"}, {"100%"}},
		"s3://b/a%20b":           {{"a b", "a%20b"}},
		"s3://other/a":           {},
		"/api/export/download/x": {},
		"https://files.example.com/storage/v1/object/public/b/u/x%20y": {{"u/x y"}},
		"https://cdn.example.com/e/x%20y.csv?t=1#2":                    {nil, {"x y.csv", "x%20y.csv"}},
		"ftp:x/y":             {nil, {"y"}},
		"file:///elsewhere/z": {nil, {"z"}},
		`c:\exports\w`:        {nil, {"w"}},
	} {
		keys, parts := l.Names(url)
		if !slices.Equal(keys, want[0]) {
			t.Errorf("%q may mean the keys %q, want %q", url, keys, want[0])
		}
		for _, p := range want[1] {
			if !slices.Contains(parts, p) {
				t.Errorf("%q ends in %q, want %q", url, parts, p)
			}
		}
		if (want[1] == nil) != (parts == nil) {
			t.Errorf("%q ends in %q, want %q", url, parts, want[1])
		}
	}
}

// Whatever a row resolves to is among the keys that it may mean.
func TestNamesHoldWhatARowResolvesTo(t *testing.T) {
	l := exportops.Locator{Bucket: "b", Hosts: []string{"h.example"}, Root: "/srv"}
	rapid.Check(t, func(t *rapid.T) {
		begin := rapid.SampledFrom([]string{"", "s3://b/", "https://h.example/storage/v1/object/sign/b/", "https://h.example/b/", "file:///srv/", "http://b.h.example/"}).Draw(t, "begin")
		url := begin + rapid.StringOf(rapid.SampledFrom([]rune("ab/.%25?#+ é"))).Draw(t, "rest")
		at := l.Resolve(&url, exportops.NewID())
		keys, _ := l.Names(url)
		if at.Key != "" && !slices.Contains(keys, at.Key) || at.Literal != "" && !slices.Contains(keys, at.Literal) {
			t.Fatalf("%q resolves to %+v, and may mean %q", url, at, keys)
		}
	})
}
