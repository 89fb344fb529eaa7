#!/usr/bin/env bash
# Runs all cases: ctime under valgrind, then wiped.  Prints TAP.  Needs B, the
# folder of the programs.  usage: run.sh [WORD]: the cases whose names have it
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/gcc}
if [ "${1:-}" = --wipes ]; then
	"$B/wiped" | sed -n 's/^# wiped \([0-9]*\) times: /\1 /p' >tests/ctime/wipes
	exit 0
fi
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
"$B/wiped" "$@" | tee "$log" | sed '/^# wiped /d; s/ok - /&wiped: /'
[ "${PIPESTATUS[0]}" -eq 0 ] || rc=1
# How often each case wiped memory: one that is lost is missed even where no
# copy was left.  To write the list anew: run.sh --wipes
if sed -n 's/^# wiped \([0-9]*\) times: /\1 /p' "$log" |
    diff <(grep -F -e "${1:-}" -e ' what is made once' tests/ctime/wipes) - | sed -n 's/^[<>]/# &/p' | grep .; then
	echo "not ok - wiped: as often as tests/ctime/wipes says (<), not as it was (>)"
	rc=1
else
	echo "ok - wiped: as often as tests/ctime/wipes says"
fi
exit $rc
