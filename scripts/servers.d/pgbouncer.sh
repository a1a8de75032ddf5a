# PgBouncer in front of that Postgres, in transaction mode, for every database and
# every role: passwords are compared with what Postgres stores, so a wrong one is
# refused. A few connections a database, so that sessions really are shared.
command -v pgbouncer >/dev/null || fail "pgbouncer is missing: run scripts/setup, or install Debian's package pgbouncer"

free_port
cat >"$dir/pgbouncer.ini" <<-SETTINGS
	[databases]
	* = host=127.0.0.1 port=$postgres_port

	[pgbouncer]
	listen_addr = 127.0.0.1
	listen_port = $port
	unix_socket_dir =
	pool_mode = transaction
	default_pool_size = 4
	max_client_conn = 2000
	server_idle_timeout = 10
	auth_type = scram-sha-256
	auth_file = $dir/pgbouncer.users
	auth_user = postgres
	auth_query = SELECT rolname, rolpassword FROM pg_authid WHERE rolname = \$1 AND rolcanlogin
	admin_users = postgres
	log_connections = 0
	log_disconnections = 0
SETTINGS
# Since 1.21 it can carry prepared statements over; what works only there fails
# with those before.
version=$(pgbouncer --version | sed -n 's/^PgBouncer //p')
if [[ $(printf '%s\n' 1.21 "$version" | sort -V | head -n 1) == 1.21 ]]; then
	echo 'max_prepared_statements = 0' >>"$dir/pgbouncer.ini"
fi
echo "\"postgres\" \"$postgres_password\"" >"$dir/pgbouncer.users"

start pgbouncer KILL "$(command -v pgbouncer)" "$dir/pgbouncer.ini"
ready query "$port" postgres 'SELECT 1'
export EXPORTOPS_TEST_PGBOUNCER="postgres://postgres:$postgres_password@127.0.0.1:$port/postgres"
