# DuckDB, which reads archives as users of it do. It is no server, only a program to
# call: it takes SQL and prints rows as JSON. It runs on a Node of its own, as
# Supabase's server does.
duckdb=$cache/duckdb duckdb_from=$here/servers.d/duckdb
duckdb_installed() {
	cmp -s "$duckdb_from/package-lock.json" "$duckdb/package-lock.json" && cmp -s "$duckdb_from/query.mjs" "$duckdb/query.mjs" && [[ -e $duckdb/done ]]
}

if ! duckdb_installed; then
	command -v npm >/dev/null || fail "npm is missing: run scripts/setup, or install Debian's package npm"
	(
		flock 9
		duckdb_installed && exit
		echo "servers: installing DuckDB, once" >&2
		rm -rf "$duckdb"
		mkdir "$duckdb"
		cp "$duckdb_from"/* "$duckdb"
		cd "$duckdb"
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 </dev/null
		touch done
	) 9>"$cache/duckdb.lock" || fail "DuckDB could not be installed"
fi
duckdb_node=$(find "$duckdb"/node_modules/node-linux-*/bin -name node 2>/dev/null | head -n 1)
[[ -n $duckdb_node ]] || fail "there is no Node for this kind of machine in $duckdb_from/package-lock.json"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$duckdb_node" "$duckdb/query.mjs" >"$dir/duckdb"
chmod +x "$dir/duckdb"
export EXPORTOPS_TEST_DUCKDB=$dir/duckdb
