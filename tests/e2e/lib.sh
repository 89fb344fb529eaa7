# Common parts of the end-to-end tests; sourced.  Prints TAP; `finish` at the
# end.  Needs B, the folder of the programs.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
TOP=$PWD
B=$(cd "${B:-build/gcc}" && pwd) || exit 1
W=$(mktemp -d) || exit 1
D=$W/sim
failures=0

# The programs under test, side by side, kmsd being the one that discloses.
mkdir "$W/bin"
ln "$B/kmsctl" "$B/cvm-agent" "$W/bin/" 2>/dev/null ||
    cp "$B/kmsctl" "$B/cvm-agent" "$W/bin/"
cp "$B/kmsd-disclose" "$W/bin/kmsd"
export KMS_DISCLOSE_FILE=$W/disclosed
export KMSCTL_CONTRACTS=$TOP/contracts
ctl() { "$W/bin/kmsctl" "$@"; }

cleanup() {
	ctl sim down "$D" >/dev/null 2>&1
	[ -z "${extra_pids:-}${starters:-}" ] || kill ${extra_pids:-} ${starters:-} 2>/dev/null
	rm -rf "$W"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ok() { # description command...
	local what=$1 start=$SECONDS
	shift
	if "$@" >"$W/out" 2>&1; then
		echo "ok - $what ($((SECONDS - start)) s)"
	else
		echo "not ok - $what"
		sed 's/^/# /' "$W/out" | tail -15
		failures=$((failures + 1))
	fi
}
not() { ! "$@"; }
no() { # description command...: must fail, and for no silly reason
	local what=$1
	shift
	type "$1" >/dev/null || { echo "not ok - $what: no $1"; failures=$((failures + 1)); return; }
	ok "$what" not "$@"
}
eventually() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { "$@"; return 1; }
		sleep 0.3
	done
}
finish() { exit $((failures > 0)); }

admin() { # node: its admin URL
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) |
	    "http://127.0.0.1:\(.admin_port)"' "$D/sim.json"
}
status() { curl -sf -m 5 "$(admin "$1")/status"; } # node
status_is() { # node jq-expression
	local page # jq 1.6 -e calls it a success when there is no input
	page=$(status "$1") && jq -e "$2" <<<"$page" >/dev/null
}
metric() { # node label: refusals of that reason so far, all places
	curl -sf -m 5 "$(admin "$1")/metrics" |
	    awk -v r="reason=\"$2\"" 'index($0, r) { n += $NF } END { print n + 0 }'
}
all_ready() {
	local n
	for n in kms0 kms1 kms2; do status_is "$n" '.phase == "ready"' || return 1; done
}
sock() { echo "$D/apps/$1/dstack.sock"; } # app
key() { # app path: the secret
	local reply
	reply=$(ctl key --socket "$(sock "$1")" "$2" --purpose ethereum --json) &&
	    jq -er .key <<<"$reply"
}
same() { [ -n "$1" ] && [ "$1" = "$2" ]; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }
in_log() { # name pattern
	grep -qE "$2" "$D/log/$1.log"
}
rpc() { jq -r '"http://127.0.0.1:\(.rpc_port)"' "$D/sim.json"; }
cast_rpc() { contracts/tools/cast rpc --rpc-url "$(rpc)" "$@"; }
