#!/usr/bin/env bash
# Fuzzes targets one after the other and ends with a table: what was run, how
# often, what it covers, what is new.
#
# usage: fuzz/run.sh SECONDS TARGET...      (`make fuzz` builds them first)
#
# New inputs stay in build/fuzz/new/TARGET, findings in build/fuzz/found/TARGET
# with the command that shows them again.  Exit status 1 if there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=$1
shift
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
table=$(mktemp) || exit 1
trap 'rm -f "$table"' EXIT
rc=0

for t; do
	new=build/fuzz/new/$t found=build/fuzz/found/$t log=build/fuzz/$t.log
	mkdir -p "$new" "$found"
	corpus=()
	[ ! -d "fuzz/corpora/$t" ] || corpus=("fuzz/corpora/$t")
	before=$(find "$new" -type f | wc -l)
	printf 'fuzz: %s, %s s\n' "$t" "$seconds" >&2
	"build/fuzz/fuzzer_$t" -max_total_time="$seconds" -print_final_stats=1 \
	    -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$found/" \
	    "$new" "${corpus[@]}" >"$log" 2>&1
	status=$?
	stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
	cover=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)
	read -r _ cov _ ft <<<"${cover:-cov: 0 ft: 0}"
	word=clean
	if [ $status -ne 0 ]; then
		word=FOUND rc=1
		tail -40 "$log" >&2
		printf 'fuzz: %s: again: build/fuzz/fuzzer_%s FILE, FILE of %s\n' \
		    "$t" "$t" "$found" >&2
	fi
	printf '%s %s %s %s %s %s %s\n' "$t" "$(stat number_of_executed_units)" \
	    "$(stat average_exec_per_sec)" "$cov" "$ft" \
	    $(($(find "$new" -type f | wc -l) - before)) "$word" >>"$table"
done

{
	echo 'target executions per_second edges features new_units result'
	cat "$table"
} | column -t
exit $rc
