package exportops_test

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
)

func TestNamesOfAFile(t *testing.T) {
	l := exportops.Locator{Bucket: "b", Prefix: "p", KeyPrefix: "{user_id}/", Hosts: []string{"files.example.com"}, Root: "/srv/p"}
	for url, want := range map[string][2][]string{
		"":                       {},
		"u/a.csv":                {{"u/a.csv", "p/u/a.csv"}}, // the prefix may have been left out
		"p/u/a.csv":              {{"p/u/a.csv"}},
		"../a":                   {{"../a"}, {"a"}}, // no key that storage can hold
		"p/100%25":               {{"p/100%", "p/100%25"}},
		"100%":                   {{"100%"}, {"100%"}},
		"p/u/a.csv/":             {{"p/u/a.csv/"}, {"a.csv"}},
		"s3://b/p/a%20b":         {{"p/a b", "p/a%20b"}},
		"s3://other/a":           {},
		"/api/export/download/x": {},
		"https://files.example.com/storage/v1/object/public/b/p/x%20y": {{"p/x y"}},
		"https://files.example.com/storage/v1/object/public/other/x":   {},
		"https://files.example.com/storage/v1/object/other/b/x":        {nil, {"x"}}, // it mentions our bucket
		"https://files.example.com//b/p/x":                             {nil, {"x"}},
		"https://files.example.com/storage/v1/new/b/p/x":               {nil, {"x"}},
		"https://files.example.com/get?file=p/x%20y&b=1":               {nil, {"x y"}},
		"s3://localhost:9000/b/p/x":                                    {nil, {"x"}},
		"s3:///p/x":                                                    {nil, {"x"}},
		"https://cdn.example.com/e/x%20y.csv?t=1#2":                    {nil, {"x y.csv", "x%20y.csv"}},
		"p/u/a.csv\n":                                   {nil, {"a.csv"}},
		"https://cdn.example.com/e/a.csv%0d%0a":         {nil, {"a.csv"}},
		"https://cdn.example.com/e/a.csv ":              {nil, {"a.csv", "a.csv "}},
		"https://files.example.com/b/p/a#1.csv?token=x": {nil, {"a#1.csv"}},
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

func TestWhatARowMayName(t *testing.T) {
	inPrefix := exportops.Locator{Bucket: "b", Prefix: "p", Hosts: []string{"h.example"}}
	users := exportops.Locator{Bucket: "b", KeyPrefix: "{user_id}/", Hosts: []string{"h.example"}}
	for _, c := range []struct {
		in   exportops.Locator
		url  string
		want []string
	}{
		{inPrefix, "p/a%20b", []string{"p/a b", "p/a%20b"}}, // what is read is exact
		{inPrefix, "/api/export/download/a", nil},
		{inPrefix, "s3://other/p/a", nil},
		{inPrefix, "a", []string{"p/a"}},
		{inPrefix, "s3://other/b/p/a", []string{"p/a"}},
		{inPrefix, "https://h.example//b/p/a", []string{"p/a"}},
		{inPrefix, "https://h.example/b/p/c/../a?versionId=1", []string{"p/a"}},
		{inPrefix, "https://cdn.example/p/a%20b#1", []string{"p/a b"}},
		{inPrefix, "https://h.example/get?t=1&file=p%2Fa", []string{"p/a"}},
		{inPrefix, "p/a\n", []string{"p/a"}},
		{inPrefix, "https://h.example/b/p/\ta\r\n", []string{"p/a"}},
		{inPrefix, "https://cdn.example/p/a ", []string{"p/a"}},
		{inPrefix, "https://h.example/b/p/a#1?token=x", []string{"p/a#1"}},
		{users, "https://h.example/get/" + rowUser + "/a", []string{rowUser + "/a"}},
		{users, "https://h.example//b/" + otherUser + "/a", nil}, // is not the row's to name
	} {
		got := slices.Collect(c.in.MayName(c.url, rowUser))
		for _, key := range c.want {
			if !slices.Contains(got, key) {
				t.Errorf("%q may name %q, want %q", c.url, got, key)
			}
		}
		if c.want == nil && len(got) > 0 {
			t.Errorf("%q may name %q, want nothing", c.url, got)
		}
	}
}

// One row must not take the memory of all others.
func TestWhatAHugeURLMayNameIsReadInLittleMemory(t *testing.T) {
	var l exportops.Locator
	huge := "a?" + strings.Repeat("&b=c/d", 1<<20) + "&file=x/y"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found := false
	for key := range l.MayName(huge, rowUser) {
		found = found || key == "x/y"
	}
	runtime.ReadMemStats(&after)
	if !found {
		t.Error("the last value of its query is no name")
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(2*len(huge)) {
		t.Errorf("a URL of %d bytes took %d more", len(huge), took)
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
		if may := slices.Collect(l.MayName(url, rowUser)); at.Key != "" && !slices.Contains(may, at.Key) {
			t.Fatalf("%q resolves to %+v, and may name %q", url, at, may)
		}
		if at.Key != "" && !slices.Contains(keys, at.Key) || at.Literal != "" && !slices.Contains(keys, at.Literal) {
			t.Fatalf("%q resolves to %+v, and may mean %q", url, at, keys)
		}
	})
}
