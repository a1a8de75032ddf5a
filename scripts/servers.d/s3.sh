# An S3 server on a folder, with versioning for the buckets that ask for it. What
# it notes about objects goes into files beside them, as not every temporary folder
# can hold extended attributes. Benchmarks need one that can: with the files a
# deletion takes three times as long.
S3_VERSION=v1.8.0
s3_built() { [[ $(go version -m "$cache/bin/versitygw" 2>/dev/null) == *"github.com/versity/versitygw	$S3_VERSION"* ]]; }

if ! s3_built; then
	(
		flock 9
		s3_built && exit
		echo "servers: building the S3 server, once" >&2
		GOBIN=$cache/bin go install "github.com/versity/versitygw/cmd/versitygw@$S3_VERSION" >&2
	) 9>"$cache/s3.lock" || fail "the S3 server could not be built"
fi

reachable "$cache/bin/versitygw" || as=()
s3_access=TEST$(random 8) s3_secret=$(random 20)
(private KILL mkdir -p "$dir/s3/objects" "$dir/s3/versions" "$dir/s3/notes")
s3_notes=(--sidecar "$dir/s3/notes")
[[ ${EXPORTOPS_TEST_DURABLE:-} != 1 ]] || s3_notes=()
free_port
start s3 TERM env ROOT_ACCESS_KEY="$s3_access" ROOT_SECRET_KEY="$s3_secret" "$cache/bin/versitygw" --quiet \
	--port "127.0.0.1:$port" posix "${s3_notes[@]}" --versioning-dir "$dir/s3/versions" "$dir/s3/objects"
ready curl -fsS --max-time 5 --aws-sigv4 aws:amz:us-east-1:s3 -u "$s3_access:$s3_secret" \
	-H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "http://127.0.0.1:$port/"
export EXPORTOPS_TEST_S3="http://$s3_access:$s3_secret@127.0.0.1:$port"
