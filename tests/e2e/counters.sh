#!/usr/bin/env bash
# Goal of this test: an app's counters are the cluster's, on real processes:
# of each app its own, one sequence through whatever node, none lost and none
# repeated when the leader is killed, there again after all were stopped; and
# an app that keeps its number beside its data notices a restored disk.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
agents=()

quiet "$kmsctl" sim init "$c"
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
quiet "$kmsctl" sim app "$c" shop

# ask SOCKET METHOD JSON: the answer, whatever its status.
ask() {
	curl -s -m 70 --unix-socket "$1" "http://agent/$2" \
	    -H 'content-type: application/json' -d "$3"
}
# value SOCKET NAME
value() { ask "$1" CounterGet "{\"name\":\"$2\"}" | jq -er .value; }
# inc SOCKET NAME EXPECTED: the new value; fails on a refusal
inc() {
	ask "$1" CounterIncrement "{\"name\":\"$2\",\"expected\":$3}" |
	    jq -e 'if .error then error(.error) else .value end'
}
# refused_at WANT ANSWER: a mismatch that tells the value
refused_at() {
	jq -e --argjson v "$1" '.error == "The counter has another value" and
	    .value == $v' <<<"$2" >/dev/null || die "not a mismatch at $1: $2"
}
leader() {
	local n port
	for n in kms0 kms1 kms2; do
		port=$(jq -r --arg n $n '.nodes[] | select(.name == $n).admin_port' "$c/sim.json")
		curl -sf -m 2 "http://127.0.0.1:$port/status" |
		    jq -er 'select(.cluster.leader == .slot).slot' && return
	done
	return 1
}

# ---- two apps, one name -----------------------------------------------------
web=$c/apps/web/dstack.sock shop=$c/apps/shop/dstack.sock
[ "$(value "$web" db)" = 0 ] || die "a counter does not begin at 0"
[ "$(inc "$web" db 0)" = 1 ] || die "no increment"
[ "$(inc "$web" db 1)" = 2 ] || die "no second increment"
[ "$(value "$shop" db)" = 0 ] || die "another app's counter moved"
[ "$(inc "$shop" db 0)" = 1 ] || die "the other app's counter is not its own"
[ "$(value "$web" db)" = 2 ] || die "the other app moved this one's"
held "two apps with the same name have two counters"

refused_at 2 "$(ask "$web" CounterIncrement '{"name":"db","expected":1}')"
refused_at 2 "$(ask "$web" CounterIncrement '{"name":"db","expected":3}')"
[ "$(value "$web" db)" = 2 ] || die "a refused increment moved it"
"$kmsctl" counter increment db --socket "$web" --expected 7 >"$work/said" 2>&1 &&
    die "kmsctl was not refused"
grep -q 'another value: 2' "$work/said" || die "kmsctl does not tell the value"
held "a mismatch is refused, with the value"

op=00112233445566778899aabbccddeeff
again="{\"name\":\"db\",\"expected\":2,\"operation\":\"$op\"}"
for i in 1 2 3; do
	[ "$(ask "$web" CounterIncrement "$again" | jq .value)" = 3 ] ||
	    die "the same operation had another effect"
done
[ "$("$kmsctl" counter get db --socket "$web" --json | jq .value)" = 3 ] || die "repeated"
held "an operation that is repeated has one effect"

# ---- one app, an agent at each node -------------------------------------------
# Instances of the same app, each with another node first in its list.
instance() { # number
	local d=$work/inst$1 first rest
	mkdir -p "$d"
	first=$(jq -r --argjson i "$1" '"\(.nodes[$i].listen_port)"' "$c/sim.json")
	rest=$(jq -r --argjson i "$1" '[.nodes[range(0; 3)].listen_port] |
	    [.[$i], .[($i + 1) % 3], .[($i + 2) % 3]] |
	    map("'"'"'tcp://127.0.0.1:\(.)'"'"'") | join(", ")' "$c/sim.json")
	sed -e '/^  external:/d' -e "/^  urls:/,/^  chain_id:/{/^    - /d}" \
	    -e "s|^  urls:.*|  urls: [$rest]|" \
	    -e "s|$c/apps/web/app-compose.json|KEEP|" \
	    -e "s|$c/apps/web|$d|g" -e "s|KEEP|$c/apps/web/app-compose.json|" \
	    "$c/apps/web/agent.yaml" >"$d/agent.yaml"
	"$(dirname "$kmsctl")/cvm-agent" --config "$d/agent.yaml" 2>"$d/log" >&2 &
	agents+=($!)
	for _ in $(seq 100); do
		[ -S "$d/dstack.sock" ] && return
		sleep 0.2
	done
	cat "$d/log" >&2
	die "instance $1 (first port $first) has no socket"
}
stop_agents() {
	[ ${#agents[@]} -eq 0 ] || kill "${agents[@]}" 2>/dev/null || true
	[ ${#agents[@]} -eq 0 ] || wait "${agents[@]}" 2>/dev/null || true
	agents=()
}
trap 'rc=$?; set +e; stop_agents; (exit $rc); finish' EXIT
for i in 0 1 2; do instance $i; done
n=3
for round in 1 2 3 4; do
	for i in 0 1 2; do
		[ "$(inc "$work/inst$i/dstack.sock" db $n)" = $((n + 1)) ] ||
		    die "node $i: $n did not become $((n + 1))"
		n=$((n + 1))
		[ "$(value "$work/inst$(((i + 1) % 3))/dstack.sock" db)" = $n ] ||
		    die "another node tells an older value than $n"
	done
done
held "through three nodes it is one sequence, and reads see the last"

# ---- the leader is killed, again and again --------------------------------------
# Nothing acknowledged is lost, and no value is given twice: whatever happens,
# the move from n gives n + 1, to exactly one of the instances that try it.
race() { # number: tries each value as soon as it sees it
	local s=$work/inst$1/dstack.sock at r v
	until [ -e "$work/stop" ]; do
		at=$(value "$s" db 2>/dev/null) || continue
		r=$(ask "$s" CounterIncrement "{\"name\":\"db\",\"expected\":$at}") || continue
		v=$(jq -r 'select(.error == null).value' <<<"$r" 2>/dev/null) || continue
		[ -z "$v" ] || echo "$at $v"
	done
}
racers=()
for i in 0 1 2; do
	race $i >"$work/won$i" &
	racers+=($!)
done
kills=0
for _ in 1 2 3; do
	sleep 3
	l=$(leader) || { sleep 3; l=$(leader); } || die "no leader"
	quiet "$kmsctl" sim kill "$c" "$l"
	kills=$((kills + 1))
	sleep 3
	quiet "$kmsctl" sim start "$c" "$l"
done
sleep 2
touch "$work/stop"
wait "${racers[@]}" || true
sort -n "$work"/won? >"$work/won"
got=$(wc -l <"$work/won")
[ "$got" -gt 20 ] || die "only $got increments were acknowledged"
awk '$2 != $1 + 1 { print "from " $1 " to " $2; bad = 1 } END { exit bad }' \
    "$work/won" >&2 || die "an increment that was none"
cut -d' ' -f2 "$work/won" | uniq -d | grep -q . && die "a value was given twice"
end=$(value "$work/inst0/dstack.sock" db)
last=$(tail -1 "$work/won" | cut -d' ' -f2)
[ "$end" -ge "$last" ] || die "$last was acknowledged, $end is there"
# What was not acknowledged to anybody is only what was told "uncertain".
[ $((end - n)) -ge "$got" ] || die "$got increments moved it by $((end - n))"
n=$end
held "the leader was killed $kills times in $got increments: none lost, none repeated"
stop_agents

# ---- everything stops ---------------------------------------------------------------
quiet "$kmsctl" sim down "$c"
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim start "$c" web
quiet "$kmsctl" sim start "$c" shop
back=$(ask "$web" CounterGet '{"name":"db"}')
jq -e --argjson n "$n" '.value == $n and .generation >= 2' <<<"$back" >/dev/null ||
    die "after a cold start: $back"
[ "$(value "$shop" db)" = 1 ] || die "the other app's is lost"
[ "$(inc "$web" db "$n")" = $((n + 1)) ] || die "it does not go on"
held "after all were stopped it is $n, in generation $(jq .generation <<<"$back")"

# ---- a restored database -------------------------------------------------------------
# The app keeps {n, op, data}; a version counts once its n is claimed by op.
db=$work/db.json
claim() { # the version on disk: fails if it is not the newest
	ask "$web" CounterIncrement "$(jq -c '{name: "store",
	    expected: (.n - 1), operation: .op}' "$db")"
}
store() { # text: a new version
	local at op
	at=$(jq -r '.n // 0' "$db" 2>/dev/null || echo 0)
	op=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	jq -n --argjson n $((at + 1)) --arg op "$op" --arg d "$1" \
	    '{n: $n, op: $op, data: $d}' >"$db"
	claim | jq -e '.value' >/dev/null
}
rm -f "$db"
store 'balance 100' || die "store"
cp "$db" "$work/old.json"
store 'balance 40' || die "store"
store 'balance 10' || die "store"
claim | jq -e '.error == null' >/dev/null || die "the newest version is refused"
held "an app that restarts finds its newest version good"
cp "$db" "$work/new.json"
cp "$work/old.json" "$db"
refused_at 3 "$(claim)"
held "its host restores an old copy: seen"
# Two versions with one number, from one copy: only the first is ever good.
cp "$work/new.json" "$db"
jq '.n += 1 | .op = "00000000000000000000000000000001"' "$work/new.json" >"$work/fork.json"
store 'balance 0' || die "store"
cp "$work/fork.json" "$db"
refused_at 4 "$(claim)"
held "a fork of the same number: seen"
# A write that was not finished is finished at the next start.
cp "$work/new.json" "$db"
jq '.n = 5 | .op = "00000000000000000000000000000002"' "$work/new.json" >"$db"
[ "$(claim | jq .value)" = 5 ] && [ "$(claim | jq .value)" = 5 ] ||
    die "an unfinished write is not finished"
held "a write that was cut off is finished once"
