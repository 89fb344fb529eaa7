# tests/chaos/lib.sh: sourced.  A simulated cluster in a folder of its own that
# is taken down on any way out, and one run on it.  Needs B, and `clients`.
counters=3
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

# Says why on failure; leaves $work/history$1 and $work/run$1.*.
one_run() { # number seed app seconds
	local history=$work/history$1 say=$work/run$1 loader
	echo "# history of run $1, seed $2" >"$history"
	"$B/chaos" load "$dir" "$3" "$history" "$4" "$clients" "$2" \
	    "r$1" "$counters" >"$say.load" 2>&1 &
	loader=$!
	nemesis "$2" "$4" "$say.nemesis"
	wait "$loader" || { cat "$say.load"; return 1; }
	# By itself: only what ends is started again, as systemd would.
	all_ready 30 || { echo "not all ready after 30 s"; return 1; }
	"$B/chaos" read "$dir" "$3" "$history" "r$1" "$counters" \
	    >"$say.read" 2>&1 || { cat "$say.read"; return 1; }
	same_state 15 || { echo "the nodes do not agree"; return 1; }
	"$B/chaos" check "$history" >"$say.check" 2>&1 ||
	    { cat "$say.check"; return 1; }
}
one_run_forget() { rm -f "$work/history$1" "$work/run$1".*; }
