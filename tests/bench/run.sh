#!/usr/bin/env bash
# tests/bench/run.sh [B]: a simulated cluster of one node, the bench as one of
# its app CVMs, and the cluster taken down again; then cluster.sh, three nodes.
# `make bench` runs it.
set -euo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.."
B=$(cd -- "${1:-build/gcc}" && pwd)
export KMSCTL_CONTRACTS=$PWD/contracts
work=$(mktemp -d "${TMPDIR:-/tmp}/kms-bench.XXXXXX")
dir=$work/c

finish() {
	local rc=$?
	trap - EXIT HUP INT TERM
	[ ! -e "$dir/sim.json" ] || "$B/kmsctl" sim down "$dir" >/dev/null || rc=1
	if [ "$rc" -ne 0 ]; then
		tail -n 5 "$dir"/log/*.log "$work/said" >&2 2>/dev/null || true
	fi
	rm -rf "$work"
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Their words only if they fail.
{
	"$B/kmsctl" sim init "$dir" --nodes 1
	# One client is all the load here.
	echo 'limits: { handshakes_per_source: 100000, requests_per_session: 100000 }' \
	    >>"$dir/kms/kms0/kmsd.yaml"
	"$B/kmsctl" sim up "$dir"
	"$B/kmsctl" sim app "$dir" bench
	"$B/kmsctl" kms allow-image "0x$(printf 'be%.0s' $(seq 32))" --sim "$dir"
} >"$work/said" 2>&1
"$B/bench" "$dir"
"$B/bench" socket "$dir/apps/bench/dstack.sock"
"$B/bench" gate "$dir"

# Another verifier beside ours, on one quote.
"$B/kmsctl" sim quote "$dir" --report-data 01 --collateral "$work/c.json" \
    -o "$work/q.bin" >>"$work/said" 2>&1
B=$B tests/bench/quote.sh "$work/q.bin" "$work/c.json" "$dir/sim-root.der" \
    "$(date +%s)"

tests/bench/cluster.sh "$B"
