#!/usr/bin/env bash
# Runs all cases: ctime under valgrind, then wiped.  Prints TAP.  Needs B, the
# folder of the programs.  usage: run.sh [WORD]: the cases whose names have it
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/gcc}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
rc=0

if command -v valgrind >/dev/null; then
	valgrind --suppressions=tests/ctime/valgrind.supp --num-callers=24 -s \
	    --log-file="$log" "$B/ctime" "$@" | sed 's/ok - /&ctime: /'
	[ "${PIPESTATUS[0]}" -eq 0 ] || rc=1
else
	echo "ok - constant time # skip: valgrind is not installed"
fi
# What was accepted, and how often; where it failed, all that was said.
sed -nE 's/.*used_suppression: +([0-9]+) (.*) tests\/ctime\/.*/# accepted \1 times: \2/p' "$log"
[ $rc -eq 0 ] || cat "$log" >&2
"$B/wiped" "$@" | sed 's/ok - /&wiped: /'
[ "${PIPESTATUS[0]}" -eq 0 ] || rc=1
exit $rc
