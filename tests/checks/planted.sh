#!/usr/bin/env bash
# Does the checker find what was put in on purpose, and nothing else?  Prints
# TAP.  B: the folder of the build; CHECKER: address, thread, memory or
# valgrind (UNDER: its command).
set -u
cd "$(dirname "$0")/../.." || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
rc=0

case $CHECKER in
address) faults='beyond-the-end after-free never-freed overflow' ;;
thread) faults=race ;;
memory) faults='unwritten-stack unwritten-heap unwritten-tail unwritten-beside-libraries' ;;
valgrind) faults='unwritten-stack unwritten-heap unwritten-tail
    unwritten-beside-libraries beyond-the-end after-free never-freed' ;;
*) echo "planted.sh: CHECKER=$CHECKER?" >&2; exit 2 ;;
esac
# What it says, so that a crash of another kind does not count.
declare -A words=(
	[unwritten]='use-of-uninitialized-value|depends on uninitialised'
	[beyond]='heap-buffer-overflow|Invalid read'
	[after]='heap-use-after-free|Invalid read'
	[never]='detected memory leaks|definitely lost'
	[overflow]='signed integer overflow'
	[race]='data race'
)

# A word or several, or none.
# shellcheck disable=SC2086
if ${UNDER:-} "$B/planted" nothing >"$log" 2>&1; then
	echo "ok - $CHECKER: nothing is found where nothing is"
else
	echo "not ok - $CHECKER: something is found where nothing is"
	cat "$log" >&2
	rc=1
fi
for f in $faults; do
	${UNDER:-} "$B/planted" "$f" >"$log" 2>&1
	status=$?
	if [ $status -ne 0 ] && grep -qE "${words[${f%%-*}]}" "$log"; then
		echo "ok - $CHECKER: $f is found"
	else
		echo "not ok - $CHECKER: $f is not found (status $status)"
		cat "$log" >&2
		rc=1
	fi
done
exit $rc
