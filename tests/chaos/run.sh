#!/usr/bin/env bash
# Goal of this test: whatever becomes of single nodes, no acknowledged
# increment is lost, no counter goes back or repeats, and the cluster serves
# again by itself.
#
# usage: tests/chaos/run.sh [B] [RUNS] [SEED]
#
# Each run: clients load the counters of a simulated cluster for some seconds
# while a nemesis kills, freezes, restarts and drains its nodes; then all nodes
# must become ready within a bound, agree on their state, tell every counter,
# and the history of all answers must be linearizable (README.md).  Prints TAP,
# one line a run, with its seed; run i of SEED is run 1 of SEED + i - 1.
set -uo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.." || exit 1
B=$(cd -- "${1:-build/gcc}" && pwd) || exit 1
runs=${2:-20}
seed=${3:-${CHAOS_SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}}
load_s=${CHAOS_LOAD_S:-6}
clients=${CHAOS_CLIENTS:-8}
counters=3
runs_an_app=60 # an app may have 256 counters
export KMSCTL_CONTRACTS=$PWD/contracts
. tests/chaos/nemesis.sh

work=$(mktemp -d "${TMPDIR:-/tmp}/kms-chaos.XXXXXX")
dir=$work/c
keep=0

finish() {
	local rc=$?
	trap - EXIT HUP INT TERM
	thaw_all
	[ ! -e "$dir/sim.json" ] || "$B/kmsctl" sim down "$dir" >/dev/null || rc=1
	if [ "$keep" -eq 0 ]; then
		rm -rf "$work"
	else
		echo "# logs and histories are in $work"
	fi
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A cluster, and an app in it.
lab_up() {
	{
		"$B/kmsctl" sim init "$dir" --force && "$B/kmsctl" sim up "$dir"
	} >"$work/said" 2>&1 || { sed 's/^/# /' "$work/said"; return 1; }
	nemesis_nodes "$dir"
}
lab_app() { # app
	"$B/kmsctl" sim app "$dir" "$1" >"$work/said" 2>&1 ||
	    { sed 's/^/# /' "$work/said"; return 1; }
}

one_run() { # number
	local i=$1 s=$((seed + $1 - 1)) app loader say
	say=$work/run$i
	app=app$(((i - 1) / runs_an_app))
	history=$work/history$i
	echo "# history of run $i, seed $s" >"$history"
	"$B/chaos" load "$dir" "$app" "$history" "$load_s" "$clients" "$s" \
	    "r$i" "$counters" >"$say.load" 2>&1 &
	loader=$!
	nemesis "$s" "$load_s" "$say.nemesis"
	wait "$loader" || { cat "$say.load"; return 1; }
	# By itself: only what ends is started again, as systemd would.
	all_ready 30 || { echo "not all ready after 30 s"; return 1; }
	"$B/chaos" read "$dir" "$app" "$history" "r$i" "$counters" \
	    >"$say.read" 2>&1 || { cat "$say.read"; return 1; }
	same_state 15 || { echo "the nodes do not agree"; return 1; }
	"$B/chaos" check "$history" >"$say.check" 2>&1 ||
	    { cat "$say.check"; return 1; }
}

echo "# chaos: seed $seed, $runs runs of $load_s s, $clients clients"
failed=0 up=0
for ((i = 1; i <= runs; i++)); do
	start=$SECONDS
	if [ "$up" -eq 0 ]; then
		lab_up && up=1 || { echo "not ok - chaos $i: no cluster"; exit 1; }
		have_app=
	fi
	app=app$(((i - 1) / runs_an_app))
	if [ "$have_app" != "$app" ]; then
		lab_app "$app" || { echo "not ok - chaos $i: no app"; exit 1; }
		have_app=$app
	fi
	if one_run "$i" >"$work/why" 2>&1; then
		echo "ok - chaos $i, seed $((seed + i - 1)):" \
		    "$(tail -n 1 "$work/run$i.load");" \
		    "$(nemesis_sum "$work/run$i.nemesis")" \
		    "($((SECONDS - start)) s)"
		rm -f "$work/history$i" "$work/run$i".*
	else
		failed=$((failed + 1)) keep=1 up=0
		echo "not ok - chaos $i, seed $((seed + i - 1))"
		sed 's/^/# /' "$work/why" "$work/run$i.nemesis"
		states | sed 's/^/# /'
		echo "# again: tests/chaos/run.sh $B 1 $((seed + i - 1))"
		thaw_all
		"$B/kmsctl" sim down "$dir" >/dev/null 2>&1
		mv "$dir" "$work/failed$i"
	fi
done
[ "$failed" -eq 0 ]
