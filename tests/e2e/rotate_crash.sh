#!/usr/bin/env bash
# Goal of this test: nodes are killed (SIGKILL) at every step of rotations, also
# of emergencies; each ends in exactly one root per epoch on all nodes, which is
# the registry's, and no request for keys of the pinned epoch fails.
#
#   ROUNDS   rotations (default 2), each with four nodes killed at other steps
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
ROUNDS=${ROUNDS:-2}
releases=$(dirname "$kmsctl")/releases
[ -x "$releases" ] || die "make test-bins"
trap 'rc=$?; set +e; touch "$work/stop"; (exit $rc); finish' EXIT

ctl() { "$kmsctl" "$@" --sim "$c"; }
told() { ctl rotate status --json | jq -r "$1"; }
registry() { ctl rotate status --json | jq -e "$1" >/dev/null; }
until_true() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}
wait_for() { # seconds jq
	until_true "$1" registry "$2" || die "not after $1 s: $2: $(ctl rotate status)"
}
moved() { quiet "$kmsctl" sim time "$c" "$1"; }
decided() { # command...
	quiet ctl "$@" --member 0
	moved 1h
	quiet ctl council execute
}
leader() {
	"$kmsctl" nodes "$c" --json |
	    jq -er '.nodes[] | select(.role == "leader").node'
}
killed=0
# crash NODE DELAY: after so many seconds it is gone, and another life begins.
crash() {
	sleep "$2"
	quiet "$kmsctl" sim kill "$c" "$1"
	killed=$((killed + 1))
	quiet "$kmsctl" sim start "$c" "$1"
}

# One council member: votes are rotate.sh's.
quiet "$kmsctl" sim init "$c" --council 1:1
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web --any-device
key() { "$kmsctl" key data --socket "$c/apps/web/dstack.sock" --json | jq -er .key; }
first=$(key)
"$releases" "$c" web load "$work/stop" >"$work/load" 2>&1 &
load=$!

for ((i = 1; i <= ROUNDS; i++)); do
	mode=
	[ $((i % 2)) -eq 1 ] || mode=--emergency
	decided rotate order $mode
	# Seen at a final block two seconds later, made, held, published.
	l=$(leader) || l=kms0
	crash "$l" "$(awk -v i=$i 'BEGIN { print i % 4 * 0.7 }')"
	crash kms$((i % 3)) "$(awk -v i=$i 'BEGIN { print i % 3 * 0.5 }')"
	wait_for 120 '.epochs[-1].state == "published"'
	root=$(told '.epochs[-1].root')
	crash kms$(((i + 1) % 3)) 0
	if [ -n "$mode" ]; then
		hash=$(told '[.nodes[].root_hash_of_the_newest] | unique | if length == 1 then .[0] else empty end')
		[ -n "$hash" ] || die "the nodes attest several roots: $(ctl rotate status)"
		decided rotate confirm "$hash"
	fi
	moved 3h
	l=$(leader) || l=kms1
	crash "$l" 0.$((i % 10))
	wait_for 120 ".active == $i"
	same() {
		registry "[.nodes[].root_hash_of_the_newest] | unique | length == 1 and .[0] != null" &&
		    registry "[.nodes[].holds | contains(\"$i active\")] | all"
	}
	until_true 60 same || die "not one root: $(ctl rotate status)"
	[ "$(told '.epochs[-1].root')" = "$root" ] || die "another root than was published"
	held "epoch $i, ${mode:-routine}: one root on all nodes, $killed killed so far"
done

# An end under fire, too: no node keeps what is destroyed.
decided rotate retire 0
moved 8d
quiet ctl rotate pin web "$ROUNDS"
decided rotate destroy 0
for n in kms0 kms1 kms2; do crash $n 0.5; done
gone() { registry '[.nodes[].holds | startswith("0 destroyed")] | all'; }
until_true 90 gone || die "not destroyed everywhere: $(ctl rotate status)"
held "epoch 0 is destroyed on all nodes, $killed killed"

touch "$work/stop"
wait $load || die "releases failed: $(cat "$work/load")"
jq -e --arg e "$ROUNDS" '.failed == 0 and .epochs["0"] > 0 and .epochs[$e] > 0 and
    (.epochs | keys | length) == 2' "$work/load" >/dev/null || die "$(cat "$work/load")"
held "$(jq -r .releases "$work/load") releases meanwhile, none failed: $(jq -c .epochs "$work/load")"
until_true 60 ctl audit || die "$(ctl audit)"
held "kmsctl audit is clean"
