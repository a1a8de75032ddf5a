package exportops_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

const (
	rowUser   = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"
	otherUser = "00000000-0000-4000-8000-000000000001"
)

var (
	// inFolder is the embedded default, inBucket a Supabase project that is also
	// reached as S3, byUser one where keys belong to users.
	inFolder = exportops.Locator{Root: "/srv/exports"}
	inBucket = exportops.Locator{
		Bucket: "data", Prefix: "out/",
		Hosts: []string{"abc.supabase.co", "abc.supabase.co/storage/v1/s3", "s3.example.com:9000", "http://127.0.0.1:54321"},
	}
	byUser = exportops.Locator{Prefix: "out/", KeyPrefix: "{user_id}/"}
)

func resolved(bucket, key string) exportops.Resolution {
	return exportops.Resolution{Location: exportops.Location{Bucket: bucket, Key: key}}
}

func TestResolveFindsTheFile(t *testing.T) {
	escaped := func(r exportops.Resolution, literal string) exportops.Resolution {
		r.Literal = literal
		return r
	}
	tests := map[string]struct {
		in   exportops.Locator
		url  string
		want exportops.Resolution
	}{
		"plain_key":                        {inFolder, "u/a.json", resolved("exports", "u/a.json")},
		"plain_key_with_spaces":            {inFolder, "u/my export.json", resolved("exports", "u/my export.json")},
		"plain_key_with_question_mark":     {inFolder, "What is Go?.md", resolved("exports", "What is Go?.md")},
		"plain_key_with_hash":              {inFolder, "c#1.md", resolved("exports", "c#1.md")},
		"plain_key_with_plus":              {inFolder, "a+b.json", resolved("exports", "a+b.json")},
		"plain_key_with_colon_after_digit": {inFolder, "2025-10-29T10:00.json", resolved("exports", "2025-10-29T10:00.json")},
		"plain_key_with_colon_in_folder":   {inFolder, "u/a:b.json", resolved("exports", "u/a:b.json")},
		"plain_key_named_as_the_bucket":    {inFolder, "exports/a.json", resolved("exports", "exports/a.json")},
		"plain_key_in_unicode":             {inFolder, "ü/数据.csv", resolved("exports", "ü/数据.csv")},
		"plain_key_escaped":                {inFolder, "u/a%20b.json", escaped(resolved("exports", "u/a b.json"), "u/a%20b.json")},
		"plain_key_escaped_twice":          {inFolder, "100%2525.json", escaped(resolved("exports", "100%25.json"), "100%2525.json")},
		"plain_key_with_escaped_slash":     {inFolder, "u%2Fa.json", escaped(resolved("exports", "u/a.json"), "u%2Fa.json")},
		"relative_download_is_a_key":       {inFolder, "api/export/download/a", resolved("exports", "api/export/download/a")},
		"dots_within_names":                {inFolder, "..a/b../...", resolved("exports", "..a/b../...")},

		"file_url":                {inFolder, "file:///srv/exports/u/a.json", resolved("exports", "u/a.json")},
		"file_url_escaped":        {inFolder, "file:///srv/%65xports/u/a%20b%3F%25.json", resolved("exports", "u/a b?%.json")},
		"file_url_capital_scheme": {inFolder, "FILE:///srv/exports/a", resolved("exports", "a")},
		"file_url_root_is_slash":  {exportops.Locator{Root: "/"}, "file:///a", resolved("exports", "a")},
		"file_url_root_has_slash": {exportops.Locator{Root: "/srv/"}, "file:///srv/a", resolved("exports", "a")},

		"s3":                     {inBucket, "s3://data/out/a.json", resolved("data", "out/a.json")},
		"s3_capital_scheme":      {inBucket, "S3://data/out/a.json", resolved("data", "out/a.json")},
		"s3_escaped":             {inBucket, "s3://data/out/a%2Bb", escaped(resolved("data", "out/a+b"), "out/a%2Bb")},
		"supabase_public":        {inBucket, "https://abc.supabase.co/storage/v1/object/public/data/out/a%20b.json", resolved("data", "out/a b.json")},
		"supabase_sign":          {inBucket, "https://abc.supabase.co/storage/v1/object/sign/data/out/a.json?token=ey.J-x_", resolved("data", "out/a.json")},
		"supabase_authenticated": {inBucket, "https://abc.supabase.co/storage/v1/object/authenticated/data/out/a", resolved("data", "out/a")},
		"supabase_without_base":  {inBucket, "https://abc.supabase.co/object/sign/data/out/a?token=x", resolved("data", "out/a")},
		"supabase_download_name": {inBucket, "https://abc.supabase.co/storage/v1/object/public/data/out/a?download=", resolved("data", "out/a")},
		"supabase_owner":         {inBucket, "https://abc.supabase.co/storage/v1/object/data/out/a", resolved("data", "out/a")},
		"supabase_info":          {inBucket, "https://abc.supabase.co/storage/v1/object/info/data/out/a", resolved("data", "out/a")},
		"supabase_info_public":   {inBucket, "https://abc.supabase.co/storage/v1/object/info/public/data/out/a", resolved("data", "out/a")},
		"supabase_image":         {inBucket, "https://abc.supabase.co/storage/v1/render/image/public/data/out/a?width=9", resolved("data", "out/a")},
		"supabase_image_sign":    {inBucket, "https://abc.supabase.co/storage/v1/render/image/sign/data/out/a?token=x", resolved("data", "out/a")},
		"supabase_s3_by_project": {inBucket, "http://127.0.0.1:54321/storage/v1/s3/data/out/a", resolved("data", "out/a")},
		"supabase_as_base_path": {
			exportops.Locator{Hosts: []string{"h/storage/v1"}}, "https://h/storage/v1/object/exports/a", resolved("exports", "a"),
		},
		"supabase_s3_endpoint": {inBucket, "https://abc.supabase.co/storage/v1/s3/data/out/a", resolved("data", "out/a")},
		"supabase_local":       {inBucket, "http://127.0.0.1:54321/storage/v1/object/public/data/out/a", resolved("data", "out/a")},
		"bucket_called_storage": {
			exportops.Locator{Bucket: "storage", Hosts: []string{"h"}},
			"https://h/storage/v1/object/public/storage/a", resolved("storage", "a"),
		},
		"path_style":             {inBucket, "https://s3.example.com:9000/data/out/a", resolved("data", "out/a")},
		"path_style_presigned":   {inBucket, "https://s3.example.com:9000/data/out/a?X-Amz-Expires=60&X-Amz-Signature=f", resolved("data", "out/a")},
		"virtual_hosted":         {inBucket, "https://data.s3.example.com:9000/out/a%2Fb", resolved("data", "out/a/b")},
		"virtual_hosted_on_base": {inBucket, "https://data.abc.supabase.co/storage/v1/s3/out/a", resolved("data", "out/a")},
		"host_in_capitals":       {inBucket, "HTTPS://ABC.Supabase.CO/storage/v1/object/public/data/out/a", resolved("data", "out/a")},
		"host_with_its_port":     {inBucket, "https://abc.supabase.co:443/storage/v1/object/public/data/out/a", resolved("data", "out/a")},
		"bucket_escaped": {
			exportops.Locator{Bucket: "my files", Hosts: []string{"h"}},
			"https://h/my%20files/a", resolved("my files", "a"),
		},

		"users_own_key":             {byUser, "out/" + rowUser + "/a", resolved("exports", "out/"+rowUser+"/a")},
		"prefix_without_its_slash":  {exportops.Locator{Prefix: "out"}, "out/a", resolved("exports", "out/a")},
		"key_prefix_without_a_user": {exportops.Locator{KeyPrefix: "exp-"}, "exp-1", resolved("exports", "exp-1")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.in.Resolve(&tt.url, rowUser)); diff != "" {
				t.Errorf("Resolve(%q) (-want +got):\n%s", tt.url, diff)
			}
		})
	}
}

func TestResolveKnowsWhereThereIsNoFile(t *testing.T) {
	empty := ""
	none := exportops.Resolution{NoFile: true}
	if diff := cmp.Diff(none, inBucket.Resolve(nil, rowUser)); diff != "" {
		t.Errorf("null: %s", diff)
	}
	for name, raw := range map[string]string{
		"empty":               empty,
		"on_demand":           "/api/export/download/7f3c.json",
		"on_demand_in_query":  "/api/export/download/7f3c?format=json",
		"on_demand_on_a_host": "https://abc.supabase.co/api/export/download/7f3c",
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(none, inBucket.Resolve(&raw, "no id is needed")); diff != "" {
				t.Errorf("Resolve(%q) (-want +got):\n%s", raw, diff)
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	api := exportops.Locator{Bucket: "api", Prefix: "x/", Hosts: []string{"h"}}
	tests := map[string]struct {
		in   exportops.Locator
		url  string
		user string
		want string // part of the reason
	}{
		"parent":                  {inFolder, "../etc/passwd", rowUser, `segment ".."`},
		"parent_inside":           {inFolder, "a/../b", rowUser, `segment ".."`},
		"parent_escaped":          {inFolder, "%2e%2e%2fetc", rowUser, `segment ".."`},
		"parent_at_the_end":       {inFolder, "a/..", rowUser, `segment ".."`},
		"parent_in_s3":            {inBucket, "s3://data/out/../in/a", rowUser, `segment ".."`},
		"parent_in_https":         {inBucket, "https://abc.supabase.co/storage/v1/object/public/data/out/%2e%2e/in/a", rowUser, `segment ".."`},
		"parent_in_file_url":      {inFolder, "file:///srv/exports/../../etc/passwd", rowUser, `segment ".."`},
		"parent_in_file_escaped":  {inFolder, "file:///srv/exports/%2e%2e/x", rowUser, `segment ".."`},
		"dot":                     {inFolder, "./a", rowUser, `segment "."`},
		"empty_segment":           {inFolder, "a//b", rowUser, `segment ""`},
		"empty_segment_escaped":   {inFolder, "a%2F%2Fb", rowUser, `segment ""`},
		"trailing_slash":          {inFolder, "a/", rowUser, "ends in a slash"},
		"trailing_slash_escaped":  {inFolder, "a%2f", rowUser, "ends in a slash"},
		"absolute":                {inFolder, "/etc/passwd", rowUser, "absolute path"},
		"absolute_escaped":        {inFolder, "%2Fetc/passwd", rowUser, "absolute path"},
		"absolute_in_file_url":    {inFolder, "file:////etc/passwd", rowUser, "absolute path"},
		"protocol_relative":       {inBucket, "//abc.supabase.co/data/out/a", rowUser, "absolute path"},
		"windows_path":            {inFolder, `C:\exports\a`, rowUser, "backslash"},
		"backslash":               {inFolder, `a\..\b`, rowUser, "backslash"},
		"backslash_escaped":       {inFolder, "a%5C..%5Cb", rowUser, "backslash"},
		"backslash_in_host":       {inBucket, `https://abc.supabase.co\@evil/data/out/a`, rowUser, "backslash"},
		"nul":                     {inFolder, "a\x00b", rowUser, "control character"},
		"nul_escaped":             {inFolder, "a%00b", rowUser, "control character"},
		"newline_escaped":         {inFolder, "a%0Ab", rowUser, "control character"},
		"delete_character":        {inFolder, "a\x7f", rowUser, "control character"},
		"control_beyond_ascii":    {inFolder, "a%C2%85", rowUser, "control character"},
		"invalid_utf8":            {inFolder, "a\xff", rowUser, "not valid UTF-8"},
		"invalid_utf8_escaped":    {inFolder, "a%ff", rowUser, "not valid UTF-8"},
		"utf8_split_by_an_escape": {inFolder, "a\xc3%A9", rowUser, "not valid UTF-8"},
		"bad_escape":              {inFolder, "100%.json", rowUser, "begins no escape"},
		"bad_escape_in_bucket":    {inBucket, "https://s3.example.com:9000/da%ta/out/a", rowUser, "begins no escape"},
		"too_long":                {inFolder, strings.Repeat("a", exportops.MaxTextBytes+1), rowUser, "longer than"},
		"key_too_long":            {inFolder, strings.Repeat("a/", 1024) + "a", rowUser, "the key of 2049 bytes is longer than 2048"},

		"unknown_scheme":     {inFolder, "ftp://host/a", rowUser, `the scheme "ftp"`},
		"script":             {inFolder, "javascript:alert(1)", rowUser, `the scheme "javascript"`},
		"data":               {inFolder, "data:text/plain,x", rowUser, `the scheme "data"`},
		"blob":               {inFolder, "blob:https://app/1", rowUser, `the scheme "blob"`},
		"one_slash":          {inBucket, "https:/abc.supabase.co/a", rowUser, "no // after the scheme"},
		"no_slash":           {inBucket, "s3:data/out/a", rowUser, "no // after the scheme"},
		"query_on_a_key":     {inFolder, "a.json?token=x", rowUser, "ends in a URL query"},
		"version_on_s3":      {inBucket, "s3://data/out/a?versionId=1", rowUser, "ends in a URL query"},
		"query_on_file":      {inFolder, "file:///srv/exports/a?b", rowUser, "not escaped"},
		"fragment_on_file":   {inFolder, "file:///srv/exports/a#b", rowUser, "not escaped"},
		"file_with_host":     {inFolder, "file://localhost/srv/exports/a", rowUser, "with a host"},
		"file_outside":       {inFolder, "file:///etc/passwd", rowUser, "not in the folder"},
		"file_next_door":     {inFolder, "file:///srv/exports2/a", rowUser, "not in the folder"},
		"file_is_the_folder": {inFolder, "file:///srv/exports", rowUser, "not in the folder"},
		"file_and_no_folder": {inBucket, "file:///data/out/a", rowUser, "the storage is no folder"},

		"other_bucket":           {inBucket, "s3://other/out/a", rowUser, `the bucket "other"`},
		"bucket_in_capitals":     {inBucket, "s3://DATA/out/a", rowUser, `the bucket "DATA"`},
		"no_bucket":              {inBucket, "s3:///out/a", rowUser, `the bucket ""`},
		"no_key":                 {inBucket, "s3://data", rowUser, "the key is empty"},
		"no_key_after_slash":     {inBucket, "s3://data/", rowUser, "the key is empty"},
		"other_supabase_bucket":  {inBucket, "https://abc.supabase.co/storage/v1/object/public/other/out/a", rowUser, `the bucket "other"`},
		"supabase_without_key":   {inBucket, "https://abc.supabase.co/storage/v1/object/public/data", rowUser, "the key is empty"},
		"unknown_supabase_path":  {inBucket, "https://abc.supabase.co/storage/v1/new/data/out/a", rowUser, `the bucket "storage"`},
		"supabase_owner_no_base": {inBucket, "https://abc.supabase.co/object/data/out/a", rowUser, `the bucket "object"`},
		"two_slashes":            {inBucket, "https://s3.example.com:9000//data/out/a", rowUser, `the bucket ""`},
		"other_path_bucket":      {inBucket, "https://s3.example.com:9000/other/out/a", rowUser, `the bucket "other"`},
		"other_host":             {inBucket, "https://evil.example/data/out/a", rowUser, "not the configured storage"},
		"host_as_a_suffix":       {inBucket, "https://evilabc.supabase.co/data/out/a", rowUser, "not the configured storage"},
		"host_with_more":         {inBucket, "https://abc.supabase.co.evil/data/out/a", rowUser, "not the configured storage"},
		"host_of_other_bucket":   {inBucket, "https://other.s3.example.com:9000/out/a", rowUser, "not the configured storage"},
		"host_with_a_dot":        {inBucket, "https://abc.supabase.co./data/out/a", rowUser, "not the configured storage"},
		"other_port":             {inBucket, "https://abc.supabase.co:8443/data/out/a", rowUser, "not the configured storage"},
		"port_left_out":          {inBucket, "https://s3.example.com/data/out/a", rowUser, "not the configured storage"},
		"no_host":                {inBucket, "https:///data/out/a", rowUser, "not the configured storage"},
		"no_hosts_configured":    {inFolder, "https://abc.supabase.co/exports/a", rowUser, "not the configured storage"},
		"plain_http":             {inBucket, "http://abc.supabase.co/data/out/a", rowUser, "not the configured storage"},
		"https_for_http":         {inBucket, "https://127.0.0.1:54321/data/out/a", rowUser, "not the configured storage"},
		"user_info":              {inBucket, "https://me:secret@abc.supabase.co/data/out/a", rowUser, "user name or password"},
		"user_info_hides_a_host": {inBucket, "https://abc.supabase.co@evil/data/out/a", rowUser, "user name or password"},
		"fragment":               {inBucket, "https://s3.example.com:9000/data/out/a#1.json", rowUser, `"#"`},
		"unescaped_question":     {inBucket, "https://s3.example.com:9000/data/out/what?.json", rowUser, "begins no query"},
		"empty_query":            {inBucket, "https://s3.example.com:9000/data/out/a?", rowUser, "begins no query"},
		"version":                {inBucket, "https://s3.example.com:9000/data/out/a?versionId=1", rowUser, "one version"},

		"outside_the_prefix":     {inBucket, "in/a", rowUser, "outside the configured prefix"},
		"prefix_by_letters":      {exportops.Locator{Prefix: "out"}, "output/a", rowUser, "outside the configured prefix"},
		"prefix_in_capitals":     {inBucket, "Out/a", rowUser, "outside the configured prefix"},
		"prefix_and_parent":      {inBucket, "out/%2e%2e/in", rowUser, `segment ".."`},
		"other_users_key":        {byUser, "out/" + otherUser + "/a", rowUser, `does not begin with "{user_id}/"`},
		"users_key_elsewhere":    {byUser, rowUser + "/a", rowUser, "outside the configured prefix"},
		"malformed_user":         {byUser, "out/x/a", "x", "not a UUID"},
		"no_user":                {byUser, "out/a", "", "not a UUID"},
		"key_prefix_not_met":     {exportops.Locator{KeyPrefix: "exp-"}, "imp-1", rowUser, `does not begin with "exp-"`},
		"download_of_other_host": {inBucket, "https://evil.example/api/export/download/a", rowUser, "not the configured storage"},
		"download_leads_away":    {inBucket, "/api/export/download/../../storage/a", rowUser, `segment ".."`},
		"download_of_nothing":    {inBucket, "/api/export/download/", rowUser, "the key is empty"},
		"download_in_bucket_api": {api, "https://h/api/export/download/a", rowUser, "outside the configured prefix"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.in.Resolve(&tt.url, tt.user)
			if !strings.Contains(got.Refused, tt.want) {
				t.Errorf("Resolve(%q).Refused = %q, want it to contain %q", tt.url, got.Refused, tt.want)
			}
			if diff := cmp.Diff(exportops.Resolution{Refused: got.Refused}, got); diff != "" {
				t.Errorf("Resolve(%q) refused and said more: %s", tt.url, diff)
			}
		})
	}
}

func TestResolveAcceptsTheSpellingOfTheRow(t *testing.T) {
	capitals := strings.ToUpper(rowUser)
	for _, key := range []string{"out/" + capitals + "/a", "out/" + rowUser + "/a"} {
		if got := byUser.Resolve(&key, capitals); got.Key != key {
			t.Errorf("Resolve(%q) = %+v", key, got)
		}
	}
}

func TestRefusalsAreShortAndPrintable(t *testing.T) {
	for _, raw := range []string{
		strings.Repeat("/x", 3000),
		"%1b%5b2J" + strings.Repeat("a", 4000),
		strings.Repeat("s", 5000) + "://x",
		"https://" + strings.Repeat("h", 5000) + "/x?token=secret",
		"s3://" + strings.Repeat("b", 5000) + "/x",
	} {
		why := inBucket.Resolve(&raw, rowUser).Refused
		if why == "" || len(why) > 300 || strings.Contains(why, "secret") || strings.IndexFunc(why, unicode.IsControl) >= 0 {
			t.Errorf("Resolve(%.20q…).Refused = %q", raw, why)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{
		"a/b", "%2e%2e%2f", "s3://exports/out/a%20b", "file:///srv/exports/out/a", "https://h/exports/out/a?x=y",
		"https://exports.h/out/a", "https://h/storage/v1/object/sign/exports/out/a?token=t", "/api/export/download/a", `\\a`, "a%00",
		"out/x-" + rowUser + "/a%2fb", "file:///srv/exports/out/x-" + rowUser + "%41", "https://h/base/exports/out/x-" + rowUser + "/a?b=c",
		rowUser + "/a",
	} {
		f.Add(seed, rowUser)
	}
	locators := []exportops.Locator{
		{},
		{Prefix: "out/"},
		{KeyPrefix: "{user_id}/"},
		{Prefix: "out/", KeyPrefix: "x-{user_id}", Root: "/srv/exports", Hosts: []string{"h", "h/base"}},
	}
	f.Fuzz(func(t *testing.T, raw, userID string) {
		for _, l := range locators {
			got := l.Resolve(&raw, userID)
			if again := l.Resolve(&raw, userID); again != got {
				t.Fatalf("Resolve(%q) = %+v, then %+v", raw, got, again)
			}
			if got.NoFile || got.Refused != "" {
				if got.Location != (exportops.Location{}) || got.NoFile && got.Refused != "" {
					t.Fatalf("Resolve(%q) = %+v, which says two things", raw, got)
				}
				continue
			}
			checkResolved(t, l, raw, userID, got)
		}
	})
}

func checkResolved(t *testing.T, l exportops.Locator, raw, userID string, got exportops.Resolution) {
	t.Helper()
	for part := range strings.SplitSeq(got.Key, "/") {
		if part == "" || part == "." || part == ".." {
			t.Fatalf("Resolve(%q) gave the key %q", raw, got.Key)
		}
	}
	if strings.ContainsAny(got.Key, "\\\x00\n") {
		t.Fatalf("Resolve(%q) gave the key %q", raw, got.Key)
	}
	for _, key := range []string{got.Key, got.Literal} {
		if err := exportops.CheckKey(key); key != "" && err != nil {
			t.Fatalf("Resolve(%q) gave the key %q: %v", raw, key, err)
		}
	}
	asWritten := l.Prefix + strings.ReplaceAll(l.KeyPrefix, "{user_id}", userID)
	lower := l.Prefix + strings.ReplaceAll(l.KeyPrefix, "{user_id}", strings.ToLower(userID))
	if !strings.HasPrefix(got.Key, asWritten) && !strings.HasPrefix(got.Key, lower) {
		t.Fatalf("Resolve(%q) gave the key %q outside %q", raw, got.Key, asWritten)
	}
	back := "s3://" + got.Bucket + "/" + url.PathEscape(got.Key)
	if len(back) > exportops.MaxTextBytes {
		return
	}
	if again := l.Resolve(&back, userID); again.Location != got.Location {
		t.Fatalf("Resolve(%q) = %+v, but by %q it is %+v", raw, got, back, again)
	}
}
