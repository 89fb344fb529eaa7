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
runs_an_app=60 # an app may have 256 counters
. tests/chaos/lib.sh

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
	if one_run "$i" $((seed + i - 1)) "$app" "$load_s" >"$work/why" 2>&1; then
		echo "ok - chaos $i, seed $((seed + i - 1)):" \
		    "$(tail -n 1 "$work/run$i.load");" \
		    "$(nemesis_sum "$work/run$i.nemesis")" \
		    "($((SECONDS - start)) s)"
		one_run_forget "$i"
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
