#!/usr/bin/env bash
# Fuzzes targets under AFL++ one after the other and ends with a table, as
# run.sh does under libFuzzer.
#
# usage: fuzz/afl.sh SECONDS TARGET...      (`make fuzz-afl` builds them first)
#
# Seeds are the committed corpus and build/fuzz/new/TARGET, where new inputs
# are put as well; findings land in build/fuzz/found/TARGET, AFL++'s own files
# stay in build/fuzz/afl/TARGET.  Exit status 1 if a target was broken, or
# could not be run.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=$1
shift
command -v afl-fuzz >/dev/null ||
    { echo "fuzz-afl: no afl-fuzz here: make deps-fuzz" >&2; exit 2; }
# Machines where cores go to a program, frequencies cannot be set and no core
# is free for us are good enough: the sanitizers end a broken run by a signal,
# which AFL++ sees without a core.
export AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 \
    AFL_NO_AFFINITY=1 AFL_NO_UI=1 AFL_FAST_CAL=1 \
    AFL_FORKSRV_INIT_TMOUT=60000
# Leaks are libFuzzer's to find: AFL++ asks for them at a process's end alone.
sanitizers=abort_on_error=1:symbolize=0:detect_leaks=0:allocator_may_return_null=1
export ASAN_OPTIONS=$sanitizers UBSAN_OPTIONS=$sanitizers:halt_on_error=1
table=$(mktemp) || exit 1
trap 'rm -f "$table"' EXIT
rc=0

# keep DIR FILE...: copies them to DIR, each under its own hash.  Prints how
# many were not there.
keep() {
	local dir=$1 f to n=0
	shift
	for f; do
		[ -f "$f" ] || continue
		to=$dir/$(sha1sum <"$f" | cut -c1-40)
		[ ! -e "$to" ] || continue
		cp "$f" "$to" && n=$((n + 1))
	done
	echo $n
}

for t; do
	new=build/fuzz/new/$t found=build/fuzz/found/$t out=build/fuzz/afl/$t
	log=build/fuzz/afl/$t.log bin=build/afl/afl_$t
	rm -rf "$out" "$out.seeds"
	mkdir -p "$new" "$found" "$out" "$out.seeds"
	keep "$out.seeds" "fuzz/corpora/$t"/* "$new"/* >/dev/null
	# AFL++ wants one seed, which must not be empty.
	[ -n "$(ls -A "$out.seeds")" ] || echo 0 >"$out.seeds/0"
	printf 'fuzz-afl: %s, %s s\n' "$t" "$seconds" >&2
	word=clean fresh=0
	# What breaks before the fuzzer has begun is not its finding.
	if ! UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=0 \
	    "$bin" "$out.seeds"/* >"$log" 2>&1; then
		word=FOUND
		keep "$found" "$(sed -n 's/^running //p' "$log" | tail -1)" >/dev/null
	elif ! afl-fuzz -V "$seconds" -t 10000 -m none -i "$out.seeds" \
	    -o "$out" -- "$bin" >"$log" 2>&1; then
		word=FAILED
	fi
	stat() { sed -n "s/^$1 *: *//p" "$out/default/fuzzer_stats" 2>/dev/null; }
	if [ $word = clean ]; then
		fresh=$(keep "$new" "$out"/default/queue/id*,op:*)
		[ "$(keep "$found" "$out"/default/crashes/id* \
		    "$out"/default/hangs/id*)" = 0 ] || word=FOUND
		[ "$(stat saved_crashes)$(stat saved_hangs)" = 00 ] || word=FOUND
	fi
	if [ $word != clean ]; then
		rc=1
		sed 's/\x1b\[[0-9;]*[a-zA-Z]//g' "$log" | tail -30 >&2
		printf 'fuzz-afl: %s: again: %s FILE, FILE of %s\n' \
		    "$t" "$bin" "$found" >&2
	fi
	printf '%s %s %s %s %s %s %s\n' "$t" "$(stat execs_done | grep . || echo -)" \
	    "$(stat execs_per_sec | grep . || echo -)" \
	    "$(stat edges_found | grep . || echo -)" \
	    "$(stat stability | grep . || echo -)" "$fresh" $word >>"$table"
done

{
	echo 'target executions per_second edges stability new_units result'
	cat "$table"
} | column -t
exit $rc
