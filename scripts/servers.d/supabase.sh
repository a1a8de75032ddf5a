# Supabase's lightweight server (REST, Storage, Auth) on a database of its own in
# that Postgres, with both kinds of keys: opaque ones, and the older signed ones.
# It runs on a Node of its own: the one of Debian 12 is too old for it.
supabase=$cache/supabase lock=$here/servers.d/supabase/package-lock.json
supabase_installed() { cmp -s "$lock" "$supabase/package-lock.json" && [[ -e $supabase/done ]]; }

if ! supabase_installed; then
	command -v npm >/dev/null || fail "npm is missing: run scripts/setup, or install Debian's package npm"
	(
		flock 9
		supabase_installed && exit
		echo "servers: installing Supabase's server, once" >&2
		rm -rf "$supabase"
		mkdir "$supabase"
		cp "${lock%/*}"/package*.json "$supabase"
		cd "$supabase"
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 </dev/null
		touch done
	) 9>"$cache/supabase.lock" || fail "Supabase's server could not be installed"
fi
node=$(find "$supabase"/node_modules/node-linux-*/bin -name node 2>/dev/null | head -n 1)
[[ -n $node ]] || fail "there is no Node for this kind of machine in $lock"
reachable "$node" || as=()

# It reads times as text and expects what Postgres does where nothing is set.
query "$postgres_port" postgres "CREATE DATABASE supabase TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C.UTF-8'" \
	-c "ALTER DATABASE supabase SET timezone = 'UTC'" -c "ALTER DATABASE supabase SET datestyle = 'ISO, MDY'" \
	-c "ALTER DATABASE supabase SET intervalstyle = 'postgres'" -c "ALTER DATABASE supabase SET bytea_output = 'hex'"

supabase_secret=$(openssl rand -base64 48 | tr -d '\n')
free_port
(private KILL mkdir -p "$dir/supabase")
cat >"$dir/supabase/config.toml" <<-SETTINGS
	[api]
	port = $port

	[db]
	driver = "postgres"
	url = "postgres://postgres:$postgres_password@127.0.0.1:$postgres_port/supabase"

	[auth]
	enabled = true
	jwt_secret = "$supabase_secret"
	publishable_key = "sb_publishable_$(random 16)"
	secret_key = "sb_secret_$(random 16)"

	[storage]
	enabled = true
	file_size_limit = "50MiB"
SETTINGS
key_of() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$dir/supabase/config.toml"; }

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
jwt() { # role
	local now head
	now=$(date +%s)
	head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(printf \
		'{"iss":"supabase","role":"%s","iat":%d,"exp":%d}' "$1" "$now" $((now + 86400)) | base64url)
	echo "$head.$(printf %s "$head" | openssl dgst -sha256 -hmac "$supabase_secret" -binary | base64url)"
}

start supabase TERM env EXPERIMENTAL_STORAGE=1 DO_NOT_TRACK=1 LITE_TELEMETRY=0 LITE_NON_INTERACTIVE=1 \
	"$node" "$supabase/node_modules/@supabase/lite/dist/cli/index.js" start --no-admin
EXPORTOPS_TEST_SUPABASE=http://127.0.0.1:$port
EXPORTOPS_TEST_SUPABASE_KEY=$(key_of secret_key)
EXPORTOPS_TEST_SUPABASE_ANON_KEY=$(key_of publishable_key)
EXPORTOPS_TEST_SUPABASE_JWT=$(jwt service_role)
EXPORTOPS_TEST_SUPABASE_ANON_JWT=$(jwt anon)
EXPORTOPS_TEST_SUPABASE_DB=postgres://postgres:$postgres_password@127.0.0.1:$postgres_port/supabase
ready curl -fsS --max-time 5 -H "apikey: $EXPORTOPS_TEST_SUPABASE_KEY" "$EXPORTOPS_TEST_SUPABASE/storage/v1/bucket"
export "${!EXPORTOPS_TEST_SUPABASE@}"
