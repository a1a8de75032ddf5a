#!/usr/bin/env bash
# Compares whole cleanups with what a person would type instead: find -delete on
# the same tree, and DELETE in the sqlite3 shell on a copy of the same database.
#
#   scripts/compare.sh [files] [logs]     both, where none is named
#
# FILES (10000), ROWS (1000000) and TIMES (3) change the size. All happens in a
# folder of its own below TMPDIR, which needs about 7 kB a row, and is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

files=${FILES:-10000} rows=${ROWS:-1000000} times=${TIMES:-3}
limit=1800 # seconds that one command may take

missing=()
for tool in go sqlite3 find awk; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]})); then
	echo "please install: ${missing[*]} (Debian's packages sqlite3, findutils)" >&2
	exit 1
fi

tmp=$(mktemp -d)
# shellcheck source=scripts/measure.bash
source scripts/measure.bash
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
CGO_ENABLED=0 go build -trimpath -o "$tmp/exportops" ./cmd/exportops
sql=$PWD/scripts/compare.sql

# Settings of the caller's must not reach these databases.
for name in $(compgen -e | grep -E '^(EXPORT|CRON_|DATABASE_URL)' || true); do unset "$name"; done
export CRON_SECRET=not-used
ours() { # database, tree, arguments
	local db=$1 tree=$2
	shift 2
	(cd "$tmp" && ./exportops --database-url "sqlite://$db" --storage-url "file://$tree" "$@")
}

job() { # file, database, tree, job
	local into=$1 db=$2 tree=$3
	shift 3
	sync -f "$tmp" # what was copied must not be written while this is measured
	took "$into" "$tmp/exportops" --database-url "sqlite://$db" --storage-url "file://$tree" run "$@"
}
fill() { # database, what
	ours "$1" "$tmp" migrate >/dev/null
	sqlite3 -bail "$1" ".parameter init" ".parameter set @rows $3" ".parameter set @files $4" ".read $sql" >/dev/null
}

compare_files() {
	echo "making $files files" >&2
	mkdir "$tmp/tree"
	fill "$tmp/files.db" files 0 "$files"
	sqlite3 "$tmp/files.db" 'SELECT file_url FROM export_logs' | awk -v root="$tmp/tree/" '{
		split($0, part, "/")
		if (!(part[1] in made)) { system("mkdir " root part[1]); made[part[1]] = 1 }
		printf "%512s", "" >(root $0)
		close(root $0)
	}'
	for ((i = 1; i <= times; i++)); do
		for what in ours find; do
			rm -rf "$tmp/tree.now"
			cp -a "$tmp/tree" "$tmp/tree.now"
			cp "$tmp/files.db" "$tmp/now.db"
			case $what in
			ours)
				job "$tmp/files.ours" "$tmp/now.db" "$tmp/tree.now" file-cleanup --force
				grep -q "\"deleted_count\":$files," "$tmp/out" || { cat "$tmp/out" >&2; exit 1; }
				;;
			find)
				sync -f "$tmp"
				took "$tmp/files.find" find "$tmp/tree.now" -delete
				;;
			esac
		done
	done
	line "file cleanup of $files files, 100 folders" "$tmp/files.ours" "find -delete" "$tmp/files.find" "2"
	rm -rf "$tmp/tree" "$tmp/tree.now" "$tmp"/now.db* "$tmp"/files.db*
}

# The shell's DELETE, with what our connections set.
bare="PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; DELETE FROM export_logs WHERE timestamp < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-30 days')"

compare_logs() {
	echo "making $rows log rows" >&2
	mkdir "$tmp/empty"
	touch "$tmp/empty/.exportops-root"
	fill "$tmp/new.db" logs "$rows" 0
	cp "$tmp/new.db" "$tmp/seen.db"
	echo "rolling them up" >&2
	job "$tmp/logs.roll" "$tmp/seen.db" "$tmp/empty" metrics-aggregate
	for ((i = 1; i <= times; i++)); do
		echo "deleting them, $i of $times" >&2
		cp "$tmp/seen.db" "$tmp/now.db"
		job "$tmp/logs.ours" "$tmp/now.db" "$tmp/empty" log-cleanup --force
		grep -q "\"deleted_count\":$rows," "$tmp/out" || { cat "$tmp/out" >&2; exit 1; }
		rm -f "$tmp"/now.db*
		cp "$tmp/seen.db" "$tmp/now.db"
		sync -f "$tmp"
		took "$tmp/logs.bare" sqlite3 -bail "$tmp/now.db" "$bare"
		rm -f "$tmp"/now.db*
	done
	echo "deleting rows that were never seen" >&2
	mv "$tmp/new.db" "$tmp/now.db"
	job "$tmp/logs.unseen" "$tmp/now.db" "$tmp/empty" log-cleanup --force
	line "log cleanup of $rows rows, rolled up before" "$tmp/logs.ours" "DELETE in sqlite3" "$tmp/logs.bare" "4"
	line "  and of rows never seen, rolled up first" "$tmp/logs.unseen" "DELETE in sqlite3" "$tmp/logs.bare" "-"
	line "  rolling them up alone" "$tmp/logs.roll" "DELETE in sqlite3" "$tmp/logs.bare" "-"
	rm -f "$tmp"/now.db* "$tmp"/seen.db*
}

(($#)) || set -- files logs
for what in "$@"; do
	case $what in
	files | logs) "compare_$what" ;;
	*)
		echo "usage: scripts/compare.sh [files] [logs]" >&2
		exit 2
		;;
	esac
done

show
