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
[[ -x /usr/bin/time ]] || missing+=(time)
if ((${#missing[@]})); then
	echo "please install: ${missing[*]} (Debian's packages sqlite3, findutils, time)" >&2
	exit 1
fi

tmp=$(mktemp -d)
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

# took runs a command and appends its milliseconds and its peak of memory in kB
# to a file.
took() {
	local into=$1 began ended
	shift
	sync -f "$tmp" # what was copied must not be written while this is measured
	began=$(date +%s%N)
	timeout "$limit" /usr/bin/time -o "$tmp/memory" -f %M "$@" >"$tmp/out" 2>&1 ||
		{ cat "$tmp/out" >&2; echo "this failed: $*" >&2; exit 1; }
	ended=$(date +%s%N)
	echo "$(((ended - began) / 1000000)) $(tail -n 1 "$tmp/memory")" >>"$into"
}
job() { # file, database, tree, job
	local into=$1 db=$2 tree=$3
	shift 3
	took "$into" "$tmp/exportops" --database-url "sqlite://$db" --storage-url "file://$tree" run "$@"
}
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'; }
peak() { awk '$2 > most { most = $2 } END { printf "%.0f", most / 1024 }' "$1"; }

table=()
line() { # what, our file, what else, its file, target
	local mine other
	mine=$(median "$2")
	other=$(median "$4")
	table+=("$(awk -v what="$1" -v mine="$mine" -v name="$3" -v other="$other" -v target="$5" -v mb="$(peak "$2")" 'BEGIN {
		printf "%-44s %10.2f s  %-28s %9.2f s %7.2f  %-7s %5s MB", what, mine / 1000, name, other / 1000, mine / other, target, mb }')")
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
			find) took "$tmp/files.find" find "$tmp/tree.now" -delete ;;
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

printf '\n%-44s %12s  %-28s %11s %7s  %-7s %8s\n' "medians of $times" ours "beside" it ratio target memory
printf '%s\n' "${table[@]}"
