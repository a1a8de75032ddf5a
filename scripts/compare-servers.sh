#!/usr/bin/env bash
# Compares whole cleanups on real servers with what a person would type instead:
# on S3, by one replica and by two, with rclone delete and a bare loop of bulk
# deletes; on Postgres, with DELETE in psql on a copy of the same database, and
# with COPY before it where the rows are archived to S3. And two replicas with one
# where S3 is far away, so that they do not share its processors.
#
#   scripts/compare-servers.sh [files] [replicas] [logs] [archives]     all, where none is named
#
# FILES (100000), ROWS (1000000), TIMES (3) and the DELAY (500ms) of storage that is far away
# change the size. It starts the servers itself, with Postgres waiting for the disk, and
# removes all it made.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${EXPORTOPS_TEST_POSTGRES:-} || -z ${EXPORTOPS_TEST_S3:-} ]]; then
	EXPORTOPS_TEST_DURABLE=1 exec scripts/servers postgres s3 -- "$0" "$@"
fi

files=${FILES:-100000} rows=${ROWS:-1000000} times=${TIMES:-3} delay=${DELAY:-500ms}
limit=1800 # seconds that one command may take

missing=()
for tool in go psql awk curl; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
(($#)) || set -- files replicas logs archives
[[ " $* " == *" files "* ]] && ! command -v rclone >/dev/null && missing+=(rclone)
if ((${#missing[@]})); then
	echo "please install: ${missing[*]} (Debian's packages postgresql-client, rclone)" >&2
	exit 1
fi

# Settings of the caller's must not reach these servers.
for name in $(compgen -e | grep -E '^(EXPORT_|EXPORTOPS_DB|CRON_|DATABASE_URL|SUPABASE)' || true); do unset "$name"; done
export CRON_SECRET=a-secret-of-the-comparison EXPORTOPS_SCHEDULER=off

tmp=$(mktemp -d)
# shellcheck source=scripts/measure.bash
source scripts/measure.bash
servers=${EXPORTOPS_TEST_POSTGRES%/*}
run=compare_$$ bucket=compare-$$
databases=() helpers=()
cleanup() {
	for pid in "${helpers[@]}"; do kill "$pid" 2>/dev/null || true; done
	for db in "${databases[@]}"; do
		psql -qX "$EXPORTOPS_TEST_POSTGRES" -c "DROP DATABASE IF EXISTS $db WITH (FORCE)" || true
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
CGO_ENABLED=0 go build -trimpath -o "$tmp/exportops" ./cmd/exportops
CGO_ENABLED=0 go build -trimpath -o "$tmp/objects" ./scripts/objects

access=${EXPORTOPS_TEST_S3#*://} host=${EXPORTOPS_TEST_S3#*@}
export AWS_ACCESS_KEY_ID=${access%%:*} AWS_SECRET_ACCESS_KEY
AWS_SECRET_ACCESS_KEY=${access#*:} AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY%%@*}
endpoint=http://$host

sql() { psql -qXAt -v ON_ERROR_STOP=1 "$servers/$1" -v rows="$rows" -v files="$files" "${@:2}"; }
database() { # name, template
	psql -qX -v ON_ERROR_STOP=1 "$EXPORTOPS_TEST_POSTGRES" -c "CREATE DATABASE $1 ${2:+TEMPLATE $2 STRATEGY file_copy}"
	databases+=("$1")
}
drop() { psql -qX "$EXPORTOPS_TEST_POSTGRES" -c "DROP DATABASE $1 WITH (FORCE)"; }

said() { grep -q "$1" "$tmp/out" || { cat "$tmp/out" >&2; echo "it did not say $1" >&2; exit 1; }; }
ours() { # database, arguments
	DATABASE_URL=$servers/$1 EXPORT_STORAGE_URL="s3://$bucket?endpoint=$endpoint" "$tmp/exportops" "${@:2}"
}

# up waits until the last helper has written where it listens.
up() { # file
	until grep -q '127.0.0.1' "$1"; do
		kill -0 "${helpers[-1]}" || { cat "$1" >&2; echo "a helper did not start" >&2; exit 1; }
		sleep 0.05
	done
}

# clean_files puts the objects, and has one replica or two delete them with all that
# belongs to it.
clean_files() { # endpoint, one or two, file
	"$tmp/objects" "$endpoint" "$bucket" put "$files"
	database "${run}_now" "${run}_files"
	export DATABASE_URL=$servers/${run}_now EXPORT_STORAGE_URL="s3://$bucket?endpoint=$1"
	if [[ $2 == two ]]; then
		EXPORTOPS_ADDR=127.0.0.1:0 "$tmp/exportops" serve >"$tmp/serve" 2>&1 &
		helpers+=($!)
		up "$tmp/serve"
	fi
	took "$3" "$tmp/exportops" run file-cleanup --force
	unset DATABASE_URL EXPORT_STORAGE_URL
	said "\"deleted_count\":$files,"
	if [[ $2 == two ]]; then
		kill "${helpers[-1]}"
		wait "${helpers[-1]}"
		unset 'helpers[-1]'
		echo "the second replica deleted $(sql "${run}_now" -c "SELECT count(*) FROM exportops.deletions WHERE token < 0")" >&2
	fi
	drop "${run}_now"
	all_gone "$2"
}

all_gone() {
	[[ $("$tmp/objects" "$endpoint" "$bucket" count) == 0 ]] || { echo "objects are left after: $1" >&2; exit 1; }
}

# file_rows fills a database that the comparisons below take copies of.
file_rows() {
	[[ ! " ${databases[*]} " == *" ${run}_files "* ]] || return 0
	"$tmp/objects" "$endpoint" "$bucket" make
	echo "writing $files rows" >&2
	database "${run}_files"
	ours "${run}_files" migrate --create-export-logs >/dev/null
	sql "${run}_files" -f scripts/compare-files.sql >/dev/null
}

compare_files() {
	file_rows
	export RCLONE_CONFIG=$tmp/rclone.conf RCLONE_CONFIG_S_TYPE=s3 RCLONE_CONFIG_S_PROVIDER=Other \
		RCLONE_CONFIG_S_ENDPOINT=$endpoint RCLONE_CONFIG_S_ENV_AUTH=true RCLONE_CONFIG_S_FORCE_PATH_STYLE=true
	for ((i = 1; i <= times; i++)); do
		for what in one two bare rclone; do
			echo "deleting $files objects, $i of $times: $what" >&2
			if [[ $what == one || $what == two ]]; then
				clean_files "$endpoint" $what "$tmp/files.$what"
				continue
			fi
			"$tmp/objects" "$endpoint" "$bucket" put "$files"
			case $what in
			bare) took "$tmp/files.bare" "$tmp/objects" "$endpoint" "$bucket" delete ;;
			rclone) (unset AWS_CA_BUNDLE && took "$tmp/files.rclone" rclone delete "s:$bucket") ;;
			esac
			all_gone $what
		done
	done
	line "file cleanup of $files objects, one replica" "$tmp/files.one" "a bare loop of bulk deletes" "$tmp/files.bare" "2"
	line "  by two replicas" "$tmp/files.two" "a bare loop of bulk deletes" "$tmp/files.bare" "-"
	line "  one replica" "$tmp/files.one" "rclone delete" "$tmp/files.rclone" "0.2"
}

compare_replicas() {
	file_rows
	"$tmp/objects" "$endpoint" "$bucket" far "$delay" >"$tmp/far" &
	helpers+=($!)
	up "$tmp/far"
	for ((i = 1; i <= times; i++)); do
		for what in one two; do
			echo "deleting $files objects that are $delay away, $i of $times: $what" >&2
			clean_files "$(<"$tmp/far")" $what "$tmp/replicas.$what"
		done
	done
	line "  by two replicas, with $delay a request" "$tmp/replicas.two" "one replica" "$tmp/replicas.one" "<1"
}

# old_rows fills a database that the comparisons below take copies of.
old_rows() {
	[[ ! " ${databases[*]} " == *" ${run}_logs "* ]] || return 0
	echo "writing $rows log rows" >&2
	database "${run}_logs"
	ours "${run}_logs" migrate --create-export-logs >/dev/null
	sql "${run}_logs" -f scripts/compare-logs.sql >/dev/null
	"$tmp/objects" "$endpoint" "$bucket" make
	"$tmp/objects" "$endpoint" "$bucket" put 1 # the bucket is not empty
	echo "rolling them up" >&2
	ours "${run}_logs" run metrics-aggregate >/dev/null
	sql "${run}_logs" -c 'VACUUM ANALYZE' -c CHECKPOINT
}

# on_copies runs both sides of a comparison, each on a copy of that database: ours
# with a setting, in which @ is the number of the time, and what psql is told.
on_copies() { # name, setting or nothing, arguments of psql
	local name=$1 setting=$2 what
	shift 2
	for ((i = 1; i <= times; i++)); do
		for what in ours bare; do
			echo "$name, $i of $times: $what" >&2
			database "${run}_now" "${run}_logs"
			sql "${run}_now" -c CHECKPOINT
			case $what in
			ours)
				export DATABASE_URL=$servers/${run}_now EXPORT_STORAGE_URL="s3://$bucket?endpoint=$endpoint"
				took "$tmp/$name.ours" env ${setting/@/$i} "$tmp/exportops" run log-cleanup --force
				unset DATABASE_URL EXPORT_STORAGE_URL
				said "\"deleted_count\":$rows,"
				;;
			bare) took "$tmp/$name.bare" psql -qX -v ON_ERROR_STOP=1 "$servers/${run}_now" "$@" ;;
			esac
			drop "${run}_now"
		done
	done
}

old="timestamp < now() - interval '30 days'"

compare_logs() {
	old_rows
	on_copies logs '' -c "DELETE FROM export_logs WHERE $old"
	line "log cleanup of $rows rows, rolled up before" "$tmp/logs.ours" "DELETE in psql" "$tmp/logs.bare" "1.5"
}

compare_archives() {
	old_rows
	"$tmp/objects" "$endpoint" "$bucket-archive" make
	on_copies archives "EXPORT_ARCHIVE_URL=s3://$bucket-archive/@?endpoint=$endpoint" \
		-c "\copy (SELECT * FROM export_logs WHERE $old) TO '$tmp/copied' csv" -c "DELETE FROM export_logs WHERE $old"
	line "  archived to S3 and read back before" "$tmp/archives.ours" "COPY TO and DELETE in psql" "$tmp/archives.bare" "2"
}

for what in "$@"; do
	case $what in
	files | replicas | logs | archives) "compare_$what" ;;
	*)
		echo "usage: scripts/compare-servers.sh [files] [replicas] [logs] [archives]" >&2
		exit 2
		;;
	esac
done

show
