package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// Storage is where export files live: a folder, unless S3 or Supabase is set.
type Storage struct {
	Root   string // of the folder, absolute; "" where it is none
	Bucket string // on disk what rows call the folder
	Prefix string // of keys, "" or ending in "/"

	S3       *S3
	Supabase *Supabase
}

// S3 is a service that speaks S3's protocol. Credentials come by the usual
// chain: the environment, the shared files, the machine's role.
type S3 struct {
	Endpoint       string // URL, with its base path; "" for AWS
	Region         string // "" for what the environment says
	PathStyle      bool
	VerifyFull     bool   // look before and after a deletion, instead of believing the answer
	DeleteVersions bool   // delete every version of a file where the bucket keeps them
	Encryption     string // of what we write: "", AES256 or aws:kms
	KMSKey         string // for aws:kms; "" for the bucket's own
}

// Supabase is a project's Storage, by its REST API.
type Supabase struct {
	URL string // of the project
	Key Secret // service role
}

// Hosts returns the hosts of URLs that name files of the storage, as
// exportops.Locator takes them.
func (s Storage) Hosts(supabaseURL string) []string {
	var hosts []string
	add := func(u string) {
		if u = strings.TrimRight(u, "/"); u != "" {
			hosts = append(hosts, strings.TrimPrefix(u, "https://"))
		}
	}
	switch {
	case s.S3 != nil && s.S3.Endpoint != "":
		add(s.S3.Endpoint)
	case s.S3 != nil:
		hosts = append(hosts, "s3.amazonaws.com")
		if s.S3.Region != "" {
			hosts = append(hosts, "s3."+s.S3.Region+".amazonaws.com")
		}
	}
	add(supabaseURL)
	return hosts
}

const storageSetting = "EXPORT_STORAGE_URL"

// storage reads the storage's URL.
func (s Settings) storage() (Storage, error) {
	const hint = "use file:///absolute/dir, s3://bucket/prefix or supabase://bucket/prefix"
	scheme, rest, _ := strings.Cut(s.StorageURL, "://")
	rest, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return Storage{}, invalid(storageSetting, fmt.Sprintf("%q holds a query that cannot be read", ShowURL(s.StorageURL)), hint)
	}
	for key, v := range values {
		if len(v) > 1 {
			return Storage{}, invalid(storageSetting, fmt.Sprintf("%s is set twice in %q", key, ShowURL(s.StorageURL)), "set it once")
		}
	}
	switch scheme {
	case "file":
		return s.folder(rest, values)
	case "s3":
		return s.s3(rest, values)
	case "supabase":
		return s.supabase(rest, values)
	}
	return Storage{}, invalid(storageSetting, "the URL begins with none of file://, s3:// and supabase://", hint)
}

// folder reads file:///absolute and file://relative.
func (s Settings) folder(rest string, query url.Values) (Storage, error) {
	path, err := localPath(storageSetting, s.StorageURL, rest, "use file:///absolute/dir or file://relative")
	if err != nil {
		return Storage{}, err
	}
	st := Storage{Root: path, Bucket: exportops.DefaultBucket}
	for key := range query {
		switch v := query.Get(key); {
		case key == "bucket" && v != "" && !strings.ContainsAny(v, `/\`):
			st.Bucket = v
		case key == "prefix" && cleanPrefix(v):
			st.Prefix = strings.TrimSuffix(v, "/") + "/"
		default:
			return Storage{}, s.notAccepted(key, v, "it takes ?bucket=<name> and ?prefix=<a/b/>")
		}
	}
	return st, nil
}

func (s Settings) notAccepted(key, value, hint string) error {
	return invalid(storageSetting, fmt.Sprintf("%q is not accepted in the query of %q", key+"="+ShowURL(value), ShowURL(s.StorageURL)), hint)
}

// bucketAndPrefix reads what follows the scheme, percent-encoded once.
func (s Settings) bucketAndPrefix(rest, scheme string) (Storage, error) {
	bucket, escaped, _ := strings.Cut(rest, "/")
	prefix, err := url.PathUnescape(escaped)
	if err != nil || bucket == "" || strings.ContainsAny(bucket, `\%@: `) || (prefix != "" && !cleanPrefix(prefix)) {
		return Storage{}, invalid(storageSetting, fmt.Sprintf("%q names no bucket, or no clean prefix", ShowURL(s.StorageURL)),
			"use "+scheme+"://bucket or "+scheme+"://bucket/prefix")
	}
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	}
	return Storage{Bucket: bucket, Prefix: prefix}, nil
}

// s3 reads s3://bucket/prefix?endpoint=…&region=…&path_style=true.
func (s Settings) s3(rest string, query url.Values) (Storage, error) {
	st, err := s.bucketAndPrefix(rest, "s3")
	if err != nil {
		return st, err
	}
	const hint = "it takes endpoint=<http or https URL>, region=<name>, path_style=true|false, verify=full, " +
		"versions=delete, sse=AES256|aws:kms and sse_kms_key_id=<id>"
	x := &S3{PathStyle: query.Get("endpoint") != ""}
	for key := range query {
		v := query.Get(key)
		ok := v != ""
		switch key {
		case "endpoint":
			x.Endpoint = v
			ok = webURL(v)
		case "region":
			x.Region = v
		case "path_style":
			x.PathStyle = v == "true"
			ok = v == "true" || v == "false"
		case "verify":
			x.VerifyFull = v == "full"
			ok = x.VerifyFull
		case "versions":
			x.DeleteVersions = v == "delete"
			ok = x.DeleteVersions
		case "sse":
			x.Encryption = v
			ok = slices.Contains([]string{"AES256", "aws:kms"}, v)
		case "sse_kms_key_id":
			x.KMSKey = v
			ok = ok && query.Get("sse") == "aws:kms"
		default:
			ok = false
		}
		if !ok {
			return st, s.notAccepted(key, v, hint)
		}
	}
	st.S3 = x
	return st, nil
}

// supabase reads supabase://bucket/prefix, and the project's settings.
func (s Settings) supabase(rest string, query url.Values) (Storage, error) {
	st, err := s.bucketAndPrefix(rest, "supabase")
	if err != nil {
		return st, err
	}
	for key := range query {
		return st, s.notAccepted(key, query.Get(key), "it takes no query; the project is named in SUPABASE_URL")
	}
	if !webURL(s.SupabaseURL) {
		return st, invalid("SUPABASE_URL", "the project's URL is needed for supabase://", "use something like https://abcdefgh.supabase.co")
	}
	if s.SupabaseKey == "" {
		return st, invalid("SUPABASE_SERVICE_ROLE_KEY", "it is needed for supabase://, and the anonymous key is never used in its place",
			"copy the service role key from the project's API settings")
	}
	st.Supabase = &Supabase{URL: strings.TrimRight(s.SupabaseURL, "/"), Key: s.SupabaseKey}
	return st, nil
}

// webURL reports whether s is an http or https URL without a query and without
// a user.
func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		u.RawQuery == "" && u.Fragment == ""
}

// Name names the storage for a person.
func (s Storage) Name() string {
	switch {
	case s.S3 != nil:
		return "s3://" + s.Bucket + "/" + s.Prefix
	case s.Supabase != nil:
		return "supabase://" + s.Bucket + "/" + s.Prefix
	}
	return s.Root
}
