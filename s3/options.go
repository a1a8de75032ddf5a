package s3

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/exportops/exportops"
)

// Options say which bucket holds the export files. The comment of each field
// begins with what it is called in the URL
// s3://bucket/prefix?endpoint=…&region=…, and in errors about it.
type Options struct {
	// Bucket (bucket) holds the files.
	Bucket string
	// Prefix (prefix) is the part of the bucket that is ours; "" for all of it.
	// Keys that do not begin with it are refused. "exports" and "exports/" mean
	// the same, and neither covers "exports-old/a".
	Prefix string
	// Endpoint (endpoint) is the service's http or https URL, with its base path
	// where it has one, such as https://abc.supabase.co/storage/v1/s3. "" leaves
	// it to the usual environment variables, and else means AWS.
	Endpoint string
	// Region (region) is what requests are signed for. "" leaves it to the usual
	// environment variables, and else means us-east-1.
	Region string
	// PathStyle (path_style) puts the bucket into the path of URLs and not into
	// the host name, as most services but AWS want it.
	PathStyle bool
	// VerifyFull (verify=full) looks at each file before and after its deletion.
	// It tells what was deleted from what was not there, knows the bytes, and
	// takes two more requests a file. The default believes what the service
	// confirms.
	VerifyFull bool
	// DeleteVersions (versions=delete) deletes every version of a file in a
	// bucket that keeps versions, for good. By default deletions in such a bucket
	// fail, and say that the bytes are still there. It takes one more request a
	// file, and the permissions s3:ListBucketVersions and s3:DeleteObjectVersion.
	DeleteVersions bool
	// Encryption (sse) of what we write ourselves, by the service: "" for the
	// bucket's default, AES256 or aws:kms.
	Encryption string
	// KMSKey (sse_kms_key_id) is the key for aws:kms; "" for the account's own.
	KMSKey string
	// Transport carries requests, where they need to take a special way; nil for
	// one that heeds proxies and AWS_CA_BUNDLE.
	Transport http.RoundTripper
}

const defaultRegion = "us-east-1"

// checked returns the options with the prefix in its one form.
func (o Options) checked() (Options, error) {
	switch {
	case o.Bucket == "" || o.Bucket == "." || o.Bucket == ".." || strings.ContainsAny(o.Bucket, "/\\?#%@: \t\r\n"):
		return o, exportops.Invalid("bucket", "%q is no bucket's name", o.Bucket)
	case o.Encryption != "" && o.Encryption != "AES256" && o.Encryption != "aws:kms":
		return o, exportops.Invalid("sse", "%q is neither AES256 nor aws:kms", o.Encryption)
	case o.KMSKey != "" && o.Encryption != "aws:kms":
		return o, exportops.Invalid("sse_kms_key_id", "a key is used with sse=aws:kms alone")
	case o.Endpoint != "" && !isEndpoint(o.Endpoint):
		return o, exportops.Invalid("endpoint", "it is no http or https URL without user, query and fragment")
	case strings.ContainsAny(o.Region, " /?#@:"):
		return o, exportops.Invalid("region", "%q is no region's name", o.Region)
	}
	if o.Prefix == "" {
		return o, nil
	}
	o.Prefix = strings.TrimSuffix(o.Prefix, "/")
	if err := exportops.CheckKey(o.Prefix); err != nil || len(o.Prefix) > maxKey/2 {
		return o, exportops.Invalid("prefix", "%q is no clean path such as a/b", shorten(o.Prefix))
	}
	o.Prefix += "/"
	return o, nil
}

// isEndpoint takes no user: secrets in a URL end up in logs and in the ledger.
func isEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		u.RawQuery == "" && u.Fragment == ""
}

func shorten(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
