#!/usr/bin/env bash
# Runs tests and counts them: unit binaries (Criterion), the fuzz corpora,
# the contracts, the constant-time and end-to-end scripts.  The last line is
#   N passed, N failed, N skipped
# and the exit status is 0 only if nothing failed and something passed.
#
# usage: tests/run.sh [unit DIR | plain DIR LIST | forge | e2e DIR | corpora DIR |
#     cluster DIR N | chaos DIR N | model SIZE | script DIR FILE]...
#   unit DIR     every test binary under DIR/tests/unit
#   plain DIR LIST  the programs of DIR/tests/plain that LIST names, under
#                UNDER (a command) if it is set; their time limits SLOW (1)
#                times as long
#   corpora DIR  every replay binary under DIR/fuzz with its corpus
#   forge        the contracts' tests
#   e2e DIR      every tests/e2e/*.sh, with the programs of DIR, JOBS (3) at a
#                time: they mostly wait
#   script DIR FILE  one scenario
#   cluster DIR N  scenarios of simulated clusters, and N random schedules
#   chaos DIR N  N runs of tests/chaos: failing nodes, linearizable counters
#   model SIZE   the models of the protocol (tests/model): small, or all
set -u
cd "$(dirname "$0")/.." || exit 1
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
export TSAN_OPTIONS=suppressions=$PWD/tests/checks/tsan.supp:second_deadlock_stack=1
passed=0 failed=0 skipped=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

count() { # name file: TAP lines
	local ok not skip
	skip=$(grep -ciE '^(ok|not ok)\b.*# *skip' "$2")
	ok=$(grep -E '^ok\b' "$2" | grep -civE '# *skip')
	not=$(grep -E '^not ok\b' "$2" | grep -civE '# *skip')
	passed=$((passed + ok)) failed=$((failed + not)) skipped=$((skipped + skip))
	printf '  %-34s %4d passed %3d failed %3d skipped  %ds\n' \
	    "$1" "$ok" "$not" "$skip" "$3"
}

# tap_run PREFIX name command...: a program that prints TAP, into PREFIX.tap.
tap_run() {
	local at=$1 name=$2 start=$SECONDS rc
	shift 2
	: >"$at.err"
	TEST_TRACE=$at.err "$@" >"$at.tap" 2>>"$at.err" </dev/null
	rc=$?
	# A crash or an exit status without a failed line still fails.
	if [ $rc -ne 0 ] && ! grep -qE '^not ok' "$at.tap"; then
		echo "not ok - $name: exit status $rc" >>"$at.tap"
	fi
	if ! grep -qE '^(not )?ok' "$at.tap"; then
		echo "not ok - $name: ran no test" >>"$at.tap"
	fi
	echo $((SECONDS - start)) >"$at.time"
}

tap_report() { # PREFIX name command...
	local at=$1 name=$2
	shift 2
	count "$name" "$at.tap" "$(cat "$at.time")"
	if grep -qE '^not ok' "$at.tap"; then
		grep -E -A12 '^not ok' "$at.tap" | head -60
		tail -40 "$at.err"
		echo "  again: $*"
	fi
}

run_tap() { # name command...
	tap_run "$tmp/one" "$@"
	tap_report "$tmp/one" "$@"
}

# All scenarios, JOBS at a time; each is told when it ends.
run_scenarios() { # DIR
	local t name pid
	local -A running=()
	export B=$1

	for t in tests/e2e/*.sh ''; do
		while [ ${#running[@]} -ge "${JOBS:-3}" ] ||
		    { [ -z "$t" ] && [ ${#running[@]} -gt 0 ]; }; do
			wait -n -p pid "${!running[@]}"
			name=${running[$pid]}
			unset "running[$pid]"
			tap_report "$tmp/$name" "$name" "B=$B" "tests/e2e/$name.sh"
		done
		[ -n "$t" ] && [ -x "$t" ] || continue
		name=$(basename "$t" .sh)
		tap_run "$tmp/$name" "$name" timeout -k 30 900 "$t" &
		running[$!]=$name
	done
}

while [ $# -gt 0 ]; do
	case $1 in
	unit)
		echo "unit tests ($2)"
		for t in "$2"/tests/unit/test_*; do
			case $t in *.o | *.d) continue ;; esac
			run_tap "$(basename "$t")" timeout -k 10 900 "$t" --tap=- --quiet -j2
		done
		shift 2
		;;
	plain)
		echo "unit tests ($2, $(basename "$3"))"
		for n in $(sed 's/#.*//' "$3"); do
			# A word or several before it, or none.
			# shellcheck disable=SC2086
			run_tap "test_$n" timeout -k 10 1800 ${UNDER:-} \
			    "$2/tests/plain/test_$n" "-j${JOBS:-4}"
		done
		shift 3
		;;
	corpora)
		echo "fuzz corpora ($2)"
		for t in "$2"/fuzz/fuzz_*; do
			case $t in *.o | *.d) continue ;; esac
			n=$(basename "$t")
			run_tap "$n" "$t" "fuzz/corpora/${n#fuzz_}"
		done
		shift 2
		;;
	forge)
		echo "contracts"
		start=$SECONDS
		if FOUNDRY_PROFILE=test contracts/tools/forge test \
		    --root contracts >"$tmp/forge" 2>&1; then :; fi
		sed -nE 's/\x1b\[[0-9;]*m//g; s/^\[PASS\] (.*)/ok - \1/p;
		    s/^\[FAIL(.*)/not ok - \1/p; s/^\[SKIP(.*)/ok - \1 # skip/p' \
		    "$tmp/forge" >"$tmp/tap"
		grep -qE '^(not )?ok' "$tmp/tap" || {
			echo "not ok - forge ran no test" >>"$tmp/tap"
			tail -30 "$tmp/forge"
		}
		count forge "$tmp/tap" $((SECONDS - start))
		grep -E '^not ok' "$tmp/tap" && tail -60 "$tmp/forge"
		shift
		;;
	e2e)
		echo "end to end ($2)"
		run_scenarios "$2"
		shift 2
		;;
	script)
		echo "$3 ($2)"
		B=$2 run_tap "$(basename "$3" .sh)" timeout -k 30 3600 "$3"
		shift 3
		;;
	cluster)
		echo "simulated clusters ($2)"
		run_tap "scenarios" timeout -k 10 600 "$2/tests/cluster/scenarios"
		run_tap "schedules, fixed" timeout -k 10 7200 \
		    "$2/tests/cluster/sim" --schedules "$3" --seed 1
		run_tap "without protection" timeout -k 10 900 \
		    "$2/tests/cluster/sim" --plain --schedules 1000 --seed 1
		shift 3
		;;
	chaos)
		echo "chaos ($2)"
		run_tap "chaos, $3 runs" timeout -k 60 $((120 + $3 * 60)) \
		    tests/chaos/run.sh "$2" "$3"
		# Seeds and loads, for whoever wants to know what was tried.
		grep -E '^(ok|# chaos)' "$tmp/one.tap" | cut -c1-150 | sed 's/^/    /'
		shift 3
		;;
	model)
		echo "models"
		run_tap "model, $2" timeout -k 10 1800 tests/model/run.sh "$2"
		shift 2
		;;
	*)
		echo "tests/run.sh: unknown '$1'" >&2
		exit 2
		;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
