# deploy/lib.sh: sourced by the demos and the examples: how steps are shown, a
# simulated cluster, and an end that leaves nothing running.
#
#   KEEP=1          leave the cluster running
#   B=build/clang   programs of another build (default build/gcc)
#   DEMO_DIR=DIR    where the cluster lives (default: a new folder in /tmp)
#   TAP=1           steps in the form that tests/run.sh counts
#
# Sets top (the repository, which is the working folder), build, kmsctl, work (a
# folder for the story's own files, which may hold keys), dir (the cluster's).
# A story may define `troubled`, which is called when it has failed, and `tidy`,
# which is called last; what was started with `beside` ends with the story.
set -euo pipefail
umask 077

top=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
B=${B:-build/gcc}
KEEP=${KEEP:-}
TAP=${TAP:-}
build=$top/${B#"$top"/}
kmsctl=$build/kmsctl
began=$SECONDS

# ---- how steps are shown ----

step=0
if [ -n "$TAP" ]; then
	ok='ok -' more='#' chapter='# '
else
	ok='  ok ' more='     ' chapter=
fi
say() { printf '%s %s\n' "$more" "$*"; }
title() {
	step=$((step + 1))
	printf '\n%s[%2d] %s\n' "$chapter" "$step" "$*"
}
held() { printf '%s %s\n' "$ok" "$*"; }
die() {
	[ -z "$TAP" ] || printf 'not ok - %s\n' "$*"
	printf 'FAIL  %s\n' "$*" >&2
	exit 1
}

# quiet command...: run it; show what it said only if it fails.
quiet() {
	"$@" >"$work/out" 2>&1 || {
		sed 's/^/      /' "$work/out" >&2
		die "$(basename -- "$1") ${*:2:2} failed"
	}
}

# refused WORDS command...: it must fail, and say these words.
refused() {
	local words=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		die "was not refused: $*"
	fi
	grep -q -- "$words" "$work/out" || {
		sed 's/^/      /' "$work/out" >&2
		die "failed, but not because of \"$words\""
	}
	held "refused: $(sed -n 's/^[a-z_.]*: //p' "$work/out" | tail -n 1 | cut -c 1-150)"
}

# until_true SECONDS command...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}

# ---- what must be there ----

# needs tool...
needs() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || die "$tool is missing; make deps"
	done
}
# built program...
built() {
	local program
	for program; do
		[ -x "$build/$program" ] || die "$B/$program is missing; run make"
	done
	[ -d tests/js/node_modules ] || die "tests/js: run make deps"
}

# ---- the cluster, and what runs beside it ----

work=$(mktemp -d "${TMPDIR:-/tmp}/kms-demo.XXXXXX")
dir=${DEMO_DIR:-$work/c}
up=
declare -A pids=()

# cluster option...: a simulated cluster (`kmsctl sim init` has the options),
# started until it is ready.  Sets rpc, kms (the contract) and root (its address).
cluster() {
	quiet "$kmsctl" sim init "$dir" "$@"
	up=1
	say "starts anvil, deploys the contracts, starts a PCCS and the nodes,"
	say "has the contract allow them, and publishes the first roots ..."
	quiet "$kmsctl" sim up "$dir"
	"$kmsctl" sim status "$dir" --json >"$work/out"
	rpc=$(jq -r .rpc "$work/out")
	kms=$(jq -r .kms_contract "$work/out")
	root=$("$kmsctl" kms info --sim "$dir" --json | jq -r .address)
}
# app_of NAME MEMBER: app_id, socket, compose_hash
app_of() {
	"$kmsctl" sim status "$dir" --json |
	    jq -er --arg n "$1" --arg m "$2" '.apps[] | select(.app == $n) | .[$m]'
}

# beside NAME command...: runs until `ends NAME` or the end of the story, and
# says what it says to $work/NAME.log.
beside() {
	local name=$1
	shift
	: >"$work/$name.log" # of an earlier one, before somebody waits for words
	"$@" >"$work/$name.log" 2>&1 </dev/null &
	pids[$name]=$!
}
ends() { # name
	kill "${pids[$1]}" 2>/dev/null || true
	wait "${pids[$1]}" 2>/dev/null || true
	unset "pids[$1]"
}
# said SECONDS NAME WORDS: waits until it has said them.
said() {
	until_true "$1" grep -q -- "$3" "$work/$2.log" || {
		sed 's/^/      /' "$work/$2.log" >&2
		die "$2 did not say \"$3\" in $1 s"
	}
}

# ---- the end, on any way out ----

troubled() { "$kmsctl" sim status "$dir"; }
tidy() { :; }

finish() {
	local rc=$? name
	trap - EXIT HUP INT TERM
	for name in "${!pids[@]}"; do
		[ "$rc" -eq 0 ] || tail -n 5 "$work/$name.log" >&2
		ends "$name"
	done
	if [ -n "$up" ] && { [ -z "$KEEP" ] || [ "$rc" -ne 0 ]; }; then
		[ "$rc" -eq 0 ] || troubled >&2 2>/dev/null || true
		"$kmsctl" sim down "$dir" >/dev/null || rc=1
		if pgrep -f -- "$dir/" >/dev/null; then
			echo "FAIL  a process was left behind:" >&2
			pgrep -af -- "$dir/" >&2
			[ -z "$TAP" ] || echo "not ok - a process was left behind"
			rc=1
		elif [ "$rc" -eq 0 ]; then
			held "nothing runs any more"
		fi
	fi
	tidy
	# They may hold keys.
	find "$work" -maxdepth 1 -type f ! -name '*.log' -delete
	if [ "$rc" -eq 0 ] && [ -n "$KEEP" ]; then
		exit 0
	fi
	if [ "$rc" -eq 0 ]; then
		[ -n "$TAP" ] ||
		    printf '\nEvery step held; %d s.\n' $((SECONDS - began))
		rm -rf "$work"
	else
		printf '\nIt failed; logs are in %s and %s/log\n' "$work" "$dir" >&2
	fi
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
