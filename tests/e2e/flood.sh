#!/usr/bin/env bash
# Goal of this test: a source that begins handshakes without end and means none
# (tests/load/flood.c) takes nothing from others: keys are released beside it,
# a new session is opened, the node's memory and log stay as small as they are
# meant to be, and its metrics tell what came.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
rude=127.0.0.66

quiet "$kmsctl" sim init "$c" --nodes 1
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web

port=$(jq -r '.nodes[0].admin_port' "$c/sim.json")
read -r pid _ <"$c/run/kms0.pid"
pid=$(pgrep -P "$pid" || echo "$pid") # the worker, not its keeper
# metric NAME: one without labels, or with them
metric() {
	curl -sf -m 5 "http://127.0.0.1:$port/metrics" |
	    awk -v n="$1" '$1 == n { print $2 }'
}
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$pid/status"; }
log_bytes() { stat -c %s "$c/log/kms0.log"; }
ready() { curl -sf -m 5 "http://127.0.0.1:$port/readyz" >/dev/null; }

# load NAME SECONDS: warm releases, as many as come; its words in $work/NAME.
load() {
	local stop=$work/$1.stop
	"$B/releases" "$c" web "$1" "$stop" >"$work/$1" 2>&1 &
	local load=$!
	sleep "$2"
	: >"$stop"
	wait "$load" || die "releases: $(cat "$work/$1")"
}

load before 5
jq -e '.releases > 20 and .failed == 0 and .moves == 0' "$work/before" >/dev/null ||
    die "nothing is released: $(cat "$work/before")"
held "keys are released: $(jq .releases "$work/before") in five seconds"

rss=$(rss_kib) log=$(log_bytes)
"$B/flood" "$c" web 0 "$rude" 2000 14 >"$work/flood" 2>&1 &
flood=$!
sleep 1
# A new session, on its first try, and releases on it.
load during 5
jq -e '.failed == 0 and .moves == 0' "$work/during" >/dev/null ||
    die "a session was not to be had: $(cat "$work/during")"
[ "$(jq .releases "$work/during")" -gt $(($(jq .releases "$work/before") / 4)) ] ||
    die "of $(jq .releases "$work/before") releases $(jq .releases "$work/during") are left"
held "keys are released beside it: $(jq .releases "$work/during")"
ready || die "the node is not ready"
wait "$flood" || die "flood: $(cat "$work/flood")"
jq -e '.begun > 5000 and .connected > 100' "$work/flood" >/dev/null ||
    die "that was no flood: $(cat "$work/flood")"

grown=$(($(rss_kib) - rss))
[ "$grown" -lt 49152 ] || die "memory has grown by $grown KiB"
held "memory has grown by $grown KiB"

# Releases have 400 bytes each, and a few hundred are logged; what strangers do
# is a line now and then.
grown=$(($(log_bytes) - log))
[ "$grown" -lt 800000 ] || die "the log has grown by $grown bytes"
held "the log has grown by $grown bytes"

[ "$(metric kms_connections_total)" -gt 100 ] || die "no connections are counted"
[ "$(metric 'kms_connections_closed_total{bound="rate"}')" -gt 10 ] ||
    die "none was over its rate"
[ "$(metric kms_handshakes_failed_total)" -gt 50 ] || die "no handshake failed"
curl -s "http://127.0.0.1:$port/metrics" |
    grep 'kms_refusals_total{at="channel"' >"$work/refusals" || die "no refusal is counted"
held "the metrics tell what came ($(metric kms_sources_muted_total) times muted by the kernel)"

# What was rude is served again when it no longer is.
sleep 3
"$B/flood" "$c" web 0 "$rude" 2 3 hello >"$work/again"
jq -e '.answered > 0' "$work/again" >/dev/null || die "never heard again: $(cat "$work/again")"
held "the source is heard again"
