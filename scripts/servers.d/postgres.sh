# Postgres, as Debian packages it, in whatever version is the newest installed.
bin=$(find /usr/lib/postgresql/*/bin -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
[[ -n $bin ]] || fail "postgres is missing: run scripts/setup, or install Debian's package postgresql"

postgres_password=$(random 16)
printf '%s\n' "$postgres_password" >"$dir/password"
# Words sort by language, as on many servers: not as bytes do, nor as in Go.
(private KILL "$bin/initdb" -D "$dir/postgres" -U postgres --pwfile=/dev/stdin -A scram-sha-256 -E UTF8 \
	--locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US --no-sync --no-instructions) \
	<"$dir/password" >"$dir/initdb.log" 2>&1 || { log_of initdb; fail "initdb failed"; }

free_port
postgres_port=$port
{
	cat <<-SETTINGS
		listen_addresses = '127.0.0.1'
		port = $port
		unix_socket_directories = ''
		max_connections = 300
		# Unlike what any code expects: what depends on a session's settings shows.
		timezone = 'America/St_Johns'
		datestyle = 'SQL, DMY'
		intervalstyle = 'sql_standard'
		bytea_output = 'escape'
	SETTINGS
	if [[ ${EXPORTOPS_TEST_DURABLE:-} != 1 ]]; then
		printf '%s\n' 'fsync = off' 'synchronous_commit = off' 'full_page_writes = off'
	else # and has the memory that a server of its own would have
		printf '%s\n' 'shared_buffers = 1GB' 'max_wal_size = 4GB'
	fi
} >>"$dir/postgres/postgresql.conf"

query() { # port, database, statement, more of psql's arguments
	local at=$1 database=$2 statement=$3
	shift 3
	env -i PATH="$PATH" PGPASSWORD="$postgres_password" PGCONNECT_TIMEOUT=5 \
		"$bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$at" -U postgres \
		-d "$database" -c "$statement" "$@"
}
start postgres QUIT "$bin/postgres" -D "$dir/postgres"
ready query "$port" postgres 'SELECT 1'
export EXPORTOPS_TEST_POSTGRES="postgres://postgres:$postgres_password@127.0.0.1:$port/postgres"
