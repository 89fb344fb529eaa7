# tests/e2e/scenario.sh: sourced by each scenario.  Gives it a folder of its own,
# takes down every cluster in it at the end, and fails if a process is left.
# The first step that does not hold ends the scenario.  Prints TAP.
set -euo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.."
B=${B:-build/gcc}
kmsctl=$(cd -- "$B" && pwd)/kmsctl
work=$(mktemp -d "${TMPDIR:-/tmp}/kms-e2e.XXXXXX")

die() {
	echo "not ok - $*"
	exit 1
}

held() { echo "ok - $*"; }

# quiet command...: its words only if it fails.
quiet() {
	"$@" >"$work/said" 2>&1 || {
		cat "$work/said" >&2
		die "$*"
	}
}

# root_of DIR: the root's address that the contract names.
root_of() { "$kmsctl" kms info --sim "$1" --json | jq -r .address; }

# key_of DIR APP PATH: hash of the answer to GetKey, so that no log has it.
key_of() {
	"$kmsctl" key "$3" --socket "$1/apps/$2/dstack.sock" --json | sha256sum
}

# state_of DIR NAME: running or stopped.
state_of() {
	"$kmsctl" sim status "$1" --json |
	    jq -r --arg n "$2" '.processes[] | select(.name == $n) | .state'
}

finish() {
	local rc=$? d
	trap - EXIT HUP INT TERM
	for d in "$work"/*/; do
		[ ! -e "$d/sim.json" ] || "$kmsctl" sim down "$d" >/dev/null ||
		    rc=1
	done
	if pgrep -af -- "$work/" >&2; then
		echo "not ok - no process is left behind"
		rc=1
	else
		held "no process is left behind"
	fi
	if [ "$rc" -eq 0 ]; then
		rm -rf "$work"
	else
		echo "logs are in $work" >&2
	fi
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
