#!/usr/bin/env bash
# Goal of this test: what operators see and do: the table, the doctor, whose
# commands work as printed, and orders to nodes that refuse to do harm; the
# metrics say the same.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

admin() {
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) |
	    "http://127.0.0.1:\(.admin_port)"' "$c/sim.json"
}
# found: the doctor's findings, whatever its exit status
found() { "$kmsctl" doctor "$c" --json 2>/dev/null || true; }
# doctor: as "node code" lines
doctor() {
	found |
	    jq -r '.findings[] | "\(.node) \(.code)"'
}
advice() { # code
	found |
	    jq -r --arg c "$1" '.findings[] | select(.code == $c) | .do'
}
until_true() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.5
	done
}
healthy() { "$kmsctl" doctor "$c"; }
finds() { [[ $'\n'$(doctor)$'\n' == *$'\n'"$1 $2"$'\n'* ]]; }
leader() {
	"$kmsctl" nodes "$c" --json |
	    jq -er '.nodes[] | select(.role == "leader").node'
}
metric() { curl -sf "$(admin "$1")/metrics" | awk -v n="$2" '$1 == n { print $2 }'; }

# start NODE: without waiting for it to be ready, as `kmsctl sim start` does.
started=()
start() {
	"$(dirname "$kmsctl")/kmsd" --config "$c/kms/$1/kmsd.yaml" \
	    >>"$work/$1.log" 2>&1 &
	started+=($!)
}
stop_started() {
	[ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
	[ ${#started[@]} -eq 0 ] || wait "${started[@]}" 2>/dev/null || true
	started=()
}
trap 'rc=$?; set +e; stop_started; (exit $rc); finish' EXIT

quiet "$kmsctl" sim init "$c"
quiet "$kmsctl" sim up "$c"
until_true 30 healthy || die "a fresh cluster is not healthy: $(doctor)"
quiet "$kmsctl" nodes "$c"
quiet "$kmsctl" nodes "$(admin kms1)"
[ "$("$kmsctl" nodes "$c" --json | jq '[.nodes[] | select(.fresh and .phase == "ready")] | length')" = 3 ] ||
    die "not all fresh"
l=$(leader)
held "three nodes, one leads; nothing is wrong"

[ "$(metric "$l" 'kms_raft_role{role="leader"}')" = 1 ] || die "role"
[ "$(metric "$l" kms_raft_voters)" = 3 ] || die "voters"
[ "$(metric "$l" kms_links_connected)" = 2 ] || die "links"
[ "$(metric "$l" kms_fresh)" = 1 ] || die "fresh"
held "the metrics say the same"

# ---- orders -----------------------------------------------------------------
f=kms1
[ "$l" != kms1 ] || f=kms2
"$kmsctl" node anchor "$(admin $f)" >"$work/said" 2>&1 && die "a follower anchored"
grep -q "only the leader" "$work/said" || die "no reason"
quiet "$kmsctl" node anchor "$(admin "$l")"
held "the leader anchors what is committed; a follower says who leads"

quiet "$kmsctl" node drain "$(admin $f)"
until_true 20 finds $f down || die "the doctor does not miss $f"
for n in kms0 kms1 kms2; do [ $n = "$l" ] || [ $n = $f ] || other=$n; done
until_true 20 finds cluster few_voters || die "the voters were not counted: $(doctor)"
"$kmsctl" node drain "$(admin "$other")" >"$work/said" 2>&1 && die "drained below quorum"
"$kmsctl" node remove "$other" --sim "$c" >"$work/said" 2>&1 && die "removed below quorum"
"$kmsctl" node remove nobody --sim "$c" >"$work/said" 2>&1 && die "removed a seat that is not"
held "a node was drained; a second one is refused"

quiet "$kmsctl" node remove $f --sim "$c"
"$kmsctl" anchor status --sim "$c" --json |
    jq -e --arg f $f '[.seats[].slot] | index($f) == null' >/dev/null ||
    die "the seat is there"
start $f
until_true 30 finds $f seat_missing || die "the seat is not missed: $(doctor)"
cmd=$(advice seat_missing)
quiet "$kmsctl" ${cmd#kmsctl }
until_true 60 healthy || die "its seat is back, but: $(doctor)"
held "a slot was removed; the doctor's command seats it again"

# ---- a list lacks it ------------------------------------------------------------
device=$(curl -sf "$(admin $f)/status" | jq -r .self.device_id)
quiet "$kmsctl" kms disallow-device "0x$device" --sim "$c" --wait-final
until_true 30 finds $f self_denied || die "nobody is denied: $(doctor)"
cmd=$(advice self_denied | head -1)
quiet "$kmsctl" ${cmd#kmsctl } --wait-final
# A life that was denied is over; the next one may come.
stop_started
quiet "$kmsctl" sim start "$c" $f
until_true 60 healthy || die "allowed again, but: $(doctor)"
held "de-listed: the doctor names the list, and its command helps"

# ---- the quorum is lost ------------------------------------------------------------
l=$(leader)
for n in kms0 kms1 kms2; do quiet "$kmsctl" sim kill "$c" $n; done
finds cluster no_quorum || die "no_quorum is not seen: $(doctor)"
advice no_quorum | grep -q 'nothing else can recover' || die "it advises $(advice no_quorum)"
start kms0
start kms1
lossy() { advice no_quorum | grep -q 'recover 0x.* --lossy'; }
until_true 30 lossy || die "two disks of three: $(advice no_quorum)"
advice no_quorum | grep -q '2 disks are here, 3 are needed' || die "$(advice no_quorum)"
held "two of three disks: more are asked for, and --lossy comes with its price"
start kms2
enough() { advice no_quorum | grep -qE 'kmsctl anchor recover 0x[0-9a-f]{64} --sim'; }
until_true 30 enough || { healthy >/dev/null 2>&1 || die "three disks: $(advice no_quorum)"; }
cmd=$(advice no_quorum | grep -oE 'kmsctl anchor recover 0x[0-9a-f]{64} --sim [^ ]*' || true)
# The lab's own operators may have been quicker.
[ -z "$cmd" ] || quiet "$kmsctl" ${cmd#kmsctl }
until_true 90 healthy || die "after the recovery: $(doctor)"
[ "$(metric kms0 kms_raft_generation)" -ge 2 ] || die "generation"
held "the doctor's command recovers it, in generation $(metric kms0 kms_raft_generation)"
