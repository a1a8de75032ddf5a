# What the comparisons share: it is sourced by them, with tmp and limit set.

# took runs a command and appends a line to a file: its milliseconds, and in kB the
# most memory that it had, and the most that it had of its own. The rest are pages of
# the program's file: the system shares them with other processes, and takes them back
# where memory is short.
took() { # file, command
	local into=$1 began ended pid watcher status=0
	shift
	began=$(date +%s%N)
	"$@" >"$tmp/out" 2>&1 &
	pid=$!
	watch "$pid" >"$tmp/memory" 2>/dev/null &
	watcher=$!
	wait "$pid" || status=$?
	ended=$(date +%s%N)
	wait "$watcher"
	if ((status)); then
		cat "$tmp/out" >&2
		echo "this failed, or took more than $limit s: $*" >&2
		exit 1
	fi
	echo "$(((ended - began) / 1000000)) $(<"$tmp/memory")" >>"$into"
}

# watch prints how much memory a process had, and ends it when it takes too long.
watch() { # pid
	local most=0 own=0 now end=$((SECONDS + limit))
	while now=$(cat "/proc/$1/status") && [[ $now =~ VmHWM:[[:space:]]+([0-9]+) ]]; do
		most=${BASH_REMATCH[1]}
		if [[ $now =~ RssAnon:[[:space:]]+([0-9]+) ]] && ((BASH_REMATCH[1] > own)); then
			own=${BASH_REMATCH[1]}
		fi
		((SECONDS <= end)) || kill "$1"
		sleep 0.1
	done
	echo "$most $own"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'; }
largest() { awk -v n="$2" '$n > most { most = $n } END { printf "%.0f", most / 1024 }' "$1"; } # file, column

table=()
line() { # what, our file, what else, its file, target
	table+=("$(awk -v what="$1" -v mine="$(median "$2")" -v name="$3" -v other="$(median "$4")" -v target="$5" \
		-v most="$(largest "$2" 2)" -v own="$(largest "$2" 3)" 'BEGIN {
		printf "%-44s %8.2f s  %-28s %8.2f s %6.2f  %-6s %4d MB %4d MB", what, mine / 1000, name, other / 1000, mine / other, target, own, most }')")
}

show() {
	printf '\n%-44s %10s  %-28s %10s %6s  %-6s %7s %7s\n' "medians of $times" ours "beside" it ratio target "memory" "in all"
	printf '%s\n' "${table[@]}"
}
