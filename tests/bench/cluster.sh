#!/usr/bin/env bash
# tests/bench/cluster.sh [B]: compare-and-increment on three nodes, beside three
# members of Debian's etcd in the same run; what failures cost; what the
# protection of the log costs.  JSON lines on standard output, a table on standard
# error.  `make bench` runs it.
#
# tests/bench/cluster.sh B failover [KILLS [REPLACED]]: that part alone, a minute
# or two: KILLS (30, at most 64) times kill -9 of the leader, REPLACED (0) nodes.
set -euo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.."
B=$(cd -- "${1:-build/gcc}" && pwd)
part=${2:-all}
case $part in all | failover) ;; *) echo "usage: cluster.sh [B [failover [KILLS [REPLACED]]]]" >&2; exit 2 ;; esac
export KMSCTL_CONTRACTS=$PWD/contracts
work=$(mktemp -d "${TMPDIR:-/tmp}/kms-bench.XXXXXX")
dir=$work/c
members=()

finish() {
	local rc=$?
	trap - EXIT HUP INT TERM
	[ ! -e "$dir/sim.json" ] || "$B/kmsctl" sim down "$dir" >/dev/null || rc=1
	[ "${#members[@]}" -eq 0 ] || kill "${members[@]}" 2>/dev/null || true
	if [ "$rc" -ne 0 ]; then
		tail -n 5 "$dir"/log/*.log "$work"/said "$work"/etcd*.log >&2 \
		    2>/dev/null || true
	fi
	rm -rf "$work"
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

load() { cut -d' ' -f1 /proc/loadavg; }
tell() { tee -a "$work/lines"; }
line() { # name value unit
	printf '{"name":"%s","value":%s,"unit":"%s"}\n' "$@" | tell
}

# The program alone, out of Debian's package: nothing is installed, and no
# service is started.
etcd_program() {
	etcd=$(command -v etcd || true)
	[ -z "$etcd" ] || return 0
	etcd=$PWD/build/etcd/usr/bin/etcd
	[ ! -x "$etcd" ] || return 0
	mkdir -p build/etcd
	(
		cd build/etcd
		apt-get -q download etcd-server ||
		    { apt-get -q update && apt-get -q download etcd-server; }
		dpkg -x etcd-server_*.deb .
	) >"$work/said" 2>&1
}

# Three members with their defaults, on the same disk; sets `leader`, a URL.
etcd_up() {
	local i ports cluster= id
	mapfile -t ports < <(node -e '
	    const net = require("net"), n = 6, s = [];
	    const next = () => s.length === n
	        ? s.forEach(x => { console.log(x.address().port); x.close(); })
	        : (x => { s.push(x); x.listen(0, "127.0.0.1", next); })(net.createServer());
	    next();')
	for i in 0 1 2; do
		cluster+="${cluster:+,}m$i=http://127.0.0.1:${ports[i + 3]}"
	done
	for i in 0 1 2; do
		"$etcd" --name "m$i" --data-dir "$work/etcd$i" \
		    --listen-client-urls "http://127.0.0.1:${ports[i]}" \
		    --advertise-client-urls "http://127.0.0.1:${ports[i]}" \
		    --listen-peer-urls "http://127.0.0.1:${ports[i + 3]}" \
		    --initial-advertise-peer-urls "http://127.0.0.1:${ports[i + 3]}" \
		    --initial-cluster "$cluster" --initial-cluster-state new \
		    --logger zap >"$work/etcd$i.log" 2>&1 &
		members+=($!)
	done
	for _ in $(seq 200); do
		for i in 0 1 2; do
			id=$(curl -sf -m 2 -d '{}' "http://127.0.0.1:${ports[i]}/v3/maintenance/status" |
			    jq -r 'select(.leader == .header.member_id) | .leader') || continue
			[ -z "$id" ] || { leader=http://127.0.0.1:${ports[i]}; return 0; }
		done
		sleep 0.1
	done
	echo "etcd: no leader" >&2
	return 1
}

{
	"$B/kmsctl" sim init "$dir"
	# A few clients are all the load here.
	for n in kms0 kms1 kms2; do
		echo 'limits: { handshakes_per_source: 100000, sessions_per_source: 1024, sessions_per_device: 1024, requests_per_session: 100000 }' \
		    >>"$dir/kms/$n/kmsd.yaml"
	done
	"$B/kmsctl" sim up "$dir"
	"$B/kmsctl" sim app "$dir" bench
} >"$work/said" 2>&1

line load_average_before "$(load)" ''
"$B/bench" disk "$work" disk_sync_kms | tell
if [ "$part" = failover ]; then
	"$B/bench" failover "$dir" "$B/kmsctl" "${3:-30}" "${4:-0}" | tell
	line load_average_after "$(load)" ''
	jq -rs '.[] | if .p50_ms then
	    "\(.name), \(.n // "") min/p50/p99 ms\t\(.min_ms)/\(.p50_ms)/\(.p99_ms)"
	    else "\(.name)\t\(.value)" end' "$work/lines" |
	    column -t -s "$(printf '\t')" >&2
	exit 0
fi
"$B/bench" counters "$dir" | tell
"$B/bench" failover "$dir" "$B/kmsctl" | tell
"$B/kmsctl" sim down "$dir" >/dev/null

if etcd_program && etcd_up; then
	"$B/bench" disk "$work" disk_sync_etcd | tell
	"$B/bench" etcd "$leader" | tell
	kill "${members[@]}"
	wait "${members[@]}" 2>/dev/null || true
else
	echo "bench: no etcd here:" >&2
	tail -n 3 "$work/said" "$work"/etcd*.log >&2 2>/dev/null || true
fi
members=()

mkdir "$work/raft"
"$B/bench" raft "$work/raft" | tell
line load_average_after "$(load)" ''

# What the prototype did on a machine like this one, with 128 bytes a command
# and its client on a local socket, without attestation or policy.
{
	printf '{"name":"prototype_commits_per_second_%s","value":%s,"unit":"1/s","p50_ms":%s,"p99_ms":%s}\n' \
	    1 897 1.05 1.62 32 8835 3.52 6.17 256 26171 9.68 14.0
	printf '{"name":"prototype_failover","value":%s,"unit":"ms","min_ms":%s,"p50_ms":%s}\n' \
	    496 372 496
	printf '{"name":"prototype_node_replaced","value":%s,"unit":"ms","min_ms":%s,"p50_ms":%s}\n' \
	    526 361 526
} | tell

jq -rs 'map({key: .name, value: .}) | from_entries as $l |
    def cell: if . == null then "-" else
        "\(.value | round)/s \(.p50_ms)/\(.p99_ms)" end;
    ("commits/s, p50/p99 ms\tkms\tetcd\tprototype"),
    ("1", "32", "256" | . as $n | "  \($n) clients\t" + ([
        $l["commits_per_second_" + $n],
        $l["etcd_commits_per_second_" + $n],
        $l["prototype_commits_per_second_" + $n]] | map(cell) | join("\t"))),
    ("failover", "node_replaced" | . as $k | $l[$k] |
        "\($k), min/p50/p99 ms\t\(.min_ms)/\(.p50_ms)/\(.p99_ms)\t-\t" +
        "\($l["prototype_" + $k] | "\(.min_ms)/\(.p50_ms)")"),
    ("1", "32", "256" | . as $n | "protection, us of processor a commit, " +
        "\($n) at once\t\($l["protection_cpu_" + $n] | "\(.value) (+\(.percent) %)")"),
    ("disk_sync before it, min/p50/p99 ms\t" + ([$l.disk_sync_kms, $l.disk_sync_etcd] |
        map(if . == null then "-" else "\(.min_ms)/\(.p50_ms)/\(.p99_ms)" end) | join("\t"))),
    "load average\t\($l.load_average_before.value) to \($l.load_average_after.value)"' \
    "$work/lines" | column -t -s "$(printf '\t')" >&2
