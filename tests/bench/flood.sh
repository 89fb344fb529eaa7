#!/usr/bin/env bash
# tests/bench/flood.sh [B [RATE [ROUNDS]]]: what bogus handshakes of one source
# cost those who are served.  A simulated node on one core (the first that this
# shell may use); everything else on the others: an app CVM that asks for its
# keys all the time, and tests/load/flood.c from SOURCE (127.0.0.66).  Each round is
# four seconds without it and four with it.  JSON lines on stdout.
# PRIORITY=-15 (as root) keeps other work on the machine from taking part.
set -euo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.."
B=$(cd -- "${1:-build/gcc}" && pwd)
rate=${2:-10000}
rounds=${3:-3}
source=${SOURCE:-127.0.0.66}
kinds=${KINDS:-hello,cookie,garbage,silent,half,evidence}
export KMSCTL_CONTRACTS=$PWD/contracts
work=$(mktemp -d "${TMPDIR:-/tmp}/kms-flood.XXXXXX")
dir=$work/c
flood=

finish() {
	local rc=$?
	trap - EXIT HUP INT TERM
	[ -z "$flood" ] || kill "$flood" 2>/dev/null || true
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

{
	"$B/kmsctl" sim init "$dir" --nodes 1
	# All that asks is one app here.
	echo 'limits: { requests_per_session: 100000 }' >>"$dir/kms/kms0/kmsd.yaml"
	"$B/kmsctl" sim up "$dir"
	"$B/kmsctl" sim app "$dir" bench
} >"$work/said" 2>&1

read -r pid _ <"$dir/run/kms0.pid"
pid=$(pgrep -P "$pid" || echo "$pid") # the worker, not its keeper
cpus=$(taskset -cp $$ | sed 's/.*: //')
first=${cpus%%[-,]*}
taskset -acp "$first" "$pid" >>"$work/said"
# The rest of what we may use, if there is any.
for p in $$ $(awk '{ print $1 }' "$dir"/run/*.pid); do
	[ "$p" = "$pid" ] ||
	    taskset -acp "$((first + 1))-$(($(nproc --all) - 1))" "$p" >>"$work/said" 2>&1 || true
done

[ -z "${PRIORITY:-}" ] || for p in $$ "$pid" $(awk '{ print $1 }' "$dir"/run/*.pid); do
	echo "$PRIORITY" >"/proc/$p/autogroup"
	renice -n "$PRIORITY" -p "$p" >>"$work/said"
done

cpu_ms() { awk '{ print ($14 + $15) * 10 }' "/proc/$pid/stat"; }
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$pid/status"; }
log_bytes() { stat -c %s "$dir/log/kms0.log"; }

# cost NAME COMMAND...: what the node did meanwhile, beside the line that the
# command says.
cost() {
	local cpu start log said ms name=$1
	shift
	cpu=$(cpu_ms) log=$(log_bytes) start=$(date +%s%N)
	said=$("$@")
	ms=$((($(date +%s%N) - start) / 1000000))
	jq -c --arg name "$name" --argjson cpu $(($(cpu_ms) - cpu)) --argjson ms $ms \
	    --argjson rss "$(rss_kib)" --argjson log $(($(log_bytes) - log)) \
	    '{name: $name} + . + {kmsd_cores: ($cpu / $ms * 1000 | round / 1000),
	      kmsd_rss_kib: $rss, log_bytes_per_second: ($log * 1000 / $ms | round)}' \
	    <<<"$said" | tee -a "$work/lines"
}
flood() { # SECONDS
	"$B/flood" "$dir" bench 0 "$source" "$rate" "$1" "$kinds"
}
idle() {
	sleep 4
	echo '{}'
}
ask() {
	echo go >&"${bench[1]}"
	read -r line <&"${bench[0]}"
	jq -c '{releases_per_second: .per_second}' <<<"$line"
}

coproc bench { exec "$B/bench" releases "$dir" 2>>"$work/said"; }
cost warming ask >/dev/null
: >"$work/lines"
# What it costs alone, then beside releases.
cost idle idle
cost flood_alone flood 4
for _ in $(seq "$rounds"); do
	cost quiet ask
	flood 5 >"$work/flood" &
	flood=$!
	sleep 0.3
	cost flooded ask
	wait "$flood"
	flood=
	jq -c '{name: "flood"} + .' "$work/flood" | tee -a "$work/lines"
	sleep 1
done
jq -sc 'def of(n; f): map(select(.name == n) | f) | add / length;
    of("quiet"; .releases_per_second) as $q | of("flooded"; .releases_per_second) as $f |
    {name: "flood_kept", value: ($f / $q * 100 | round / 100), quiet: ($q | round),
     flooded: ($f | round), attack_per_second: (of("flood"; .per_second) | round),
     flood_cores: (of("flood_alone"; .kmsd_cores) - of("idle"; .kmsd_cores))}' \
    "$work/lines"
