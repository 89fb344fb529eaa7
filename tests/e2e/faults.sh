#!/usr/bin/env bash
# Goal of this test: a cluster of three whose nodes are killed, frozen, cut
# off, filled up and de-listed loses no acknowledged count, tells nothing old,
# and serves again without a human (raft-nng-rollback.md T11, T14, T16 to
# T18).  An app's counter is the witness: each increment names the value before
# it, so one that was lost or done twice shows.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
# Polling hides what is said; what ends the test is said all the same.
exec 3>&1
die() {
	echo "not ok - $*" >&3
	exit 1
}
extra=() tmpfs=
cleanup() {
	local rc=$? p
	exec >&3
	for p in "${extra[@]}"; do kill -KILL "$p" 2>/dev/null || true; done
	for p in kms0 kms1 kms2; do signal CONT $p 2>/dev/null || true; done
	[ -z "$tmpfs" ] || { "$kmsctl" sim kill "$c" "$tmpfs" >/dev/null 2>&1
		umount "$c/kms/$tmpfs/data/db" || true; }
	return "$rc"
}
# shellcheck disable=SC2015 # finish looks at what cleanup returns, and exits
trap 'cleanup && finish || finish' EXIT

now() { date +%s%3N; }
pid_of() { awk '{ print $1 }' "$c/run/$1.pid"; }
signal() { kill -"$1" "$(pid_of "$2")"; } # SIGNAL NODE
admin() {
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) |
	    "http://127.0.0.1:\(.admin_port)"' "$c/sim.json"
}
port_of() {
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) | .listen_port' \
	    "$c/sim.json"
}
page() { curl -sf -m 3 "$(admin "$1")/status"; }
says() { page "$1" | jq -e "$2" >/dev/null; } # NODE jq-expression
# within SECONDS command...: polls; the words only if it fails.
within() {
	local end=$(($(now) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now)" -lt $end ] || { "$@" || die "never: $*"; return 0; }
		sleep 0.1
	done
}
probe() { "$kmsctl" sim probe "$c" "$@" --json 2>/dev/null || true; }
field() { jq -r ".$1 // empty"; }
leader() { # of those that a quorum confirms
	local n
	for n in kms0 kms1 kms2; do
		! says $n '.cluster.fresh and .cluster.leader == .slot' \
		    2>/dev/null || { echo $n; return 0; }
	done
	return 1
}
find_leader() { within 30 leader; leader; }
others() { for n in kms0 kms1 kms2; do [ $n = "$1" ] || echo $n; done; }
other() { others "$1" | sed -n 1p; }
all_ready() {
	local n
	for n in kms0 kms1 kms2; do
		says $n '.phase == "ready" and .cluster.fresh and
		    .cluster.voters == 3' || return 1
	done
}
agree() { # one state on all three
	all_ready && [ "$(for n in kms0 kms1 kms2; do
		page $n | jq -c '[.digest, .digest_index]'
	done | sort -u | wc -l)" = 1 ]
}

# The counter.  `acked` is what a client was told last; `unknown` is 1 if an
# increment since then may be in.  Each names `acked`, so one is the most.
acked=0 unknown=0
count_at() { # NODE [TIMEOUT_MS]: one increment; fails if it was refused
	local a v
	a=$(probe "$1" increment --expected "$acked" --timeout "${2:-8000}")
	case $(field ok <<<"$a"):$(field reason <<<"$a") in
	true:*)
		v=$(field value <<<"$a")
		if [ "$(jq .matched <<<"$a")" = true ]; then
			[ "$v" -eq $((acked + 1)) ] || die "$acked, then $v"
		else
			# An unknown one is in, perhaps; nothing else may be.
			[ "$v" -ge "$acked" ] &&
			    [ "$v" -le $((acked + unknown)) ] ||
			    die "the counter is $v, a client was told $acked"
		fi
		acked=$v unknown=0
		;;
	*:not_ready | *:no_leader | *:not_member | *:fenced | *:busy) return 1 ;;
	*:contract_* | *:chain_* | *:self_denied | *:evicted) return 1 ;;
	*) # not known, or nobody answered
		unknown=1
		return 1
		;;
	esac
}
count_any() { # NODE...
	local n
	for n; do ! count_at "$n" || return 0; done
	return 1
}
count() { # N NODE...
	local i n=$1
	shift
	for i in $(seq "$n"); do within 30 count_any "$@"; done
}
reads_at() { # NODE: has all that was acknowledged
	local v
	v=$(probe "$1" read | field value)
	[ -n "$v" ] && [ "$v" -ge "$acked" ] &&
	    [ "$v" -le $((acked + unknown)) ]
}
whole() { # what...: all are back, agree, and nothing is lost
	local n
	within 60 all_ready
	within 30 count_any kms0 kms1 kms2
	within 30 agree
	for n in kms0 kms1 kms2; do
		within 20 reads_at $n
	done
	held "$* (counter $acked)"
}

# ---- a cluster; kms0's lines to the others can be cut -----------------------
quiet "$kmsctl" sim init "$c"
line=()
cut_able() { # NODE PEER: its line to the peer leads through a relay
	local p
	p=$(node -e 'const s = require("net").createServer().listen(0,
	    "127.0.0.1", () => { console.log(s.address().port); s.close() })')
	"$kmsctl" sim relay "$c" "$p" "$(port_of "$2")" >/dev/null 2>&1 &
	line+=($!)
	extra+=($!)
	sed -i "s|^  - 'tcp://127.0.0.1:$(port_of "$2")'|  - 'tcp://127.0.0.1:$p'|" \
	    "$c/kms/$1/kmsd.yaml"
}
cut_able kms0 kms1
cut_able kms0 kms2
cut_able kms1 kms0
cut_able kms2 kms0
quiet "$kmsctl" sim up "$c"
probe kms0 read >/dev/null # makes the app
count 3 kms0 kms1 kms2

# ---- kill -9 (T16) -----------------------------------------------------------
l=$(find_leader)
quiet "$kmsctl" sim kill "$c" "$l"
t=$(now)
# shellcheck disable=SC2046
count 1 $(others "$l")
t=$(($(now) - t))
[ $t -lt 10000 ] || die "$t ms from kill -9 of the leader to the next count"
held "kill -9 of the leader: the next count $t ms later"
quiet "$kmsctl" sim start "$c" "$l"
for n in $(others "$l"); do
	quiet "$kmsctl" sim kill "$c" "$n"
	quiet "$kmsctl" sim start "$c" "$n"
done
whole "kill -9 of every node in turn"

# ---- SIGSTOP of the leader, longer than election, eviction and fence (T18) ---
l=$(find_leader)
app=$(jq -r '.apps[] | select(.name == "witness") | .app_id' "$c/sim.json")
hash=$(jq -r '.apps[] | select(.name == "witness") | .compose_hash' \
    "$c/sim.json")
says "$l" '.cluster.fresh' || die "$l is not fresh"
signal STOP "$l"
frozen=$(now)
# shellcheck disable=SC2046
count 2 $(others "$l")
held "SIGSTOP of the leader: the others count on"
quiet "$kmsctl" app disallow "$app" compose "$hash" --sim "$c" --wait-final
while [ "$(now)" -le $((frozen + 12000)) ]; do sleep 0.1; done
# Clients that waited at its door meanwhile, and one who comes at once.
probe "$l" read --timeout 20000 >"$work/read" &
readers=$!
probe "$l" keys --timeout 20000 >"$work/keys" &
keys=$!
sleep 0.5
signal CONT "$l"
t=$(now)
old=0
while [ $(($(now) - t)) -lt 4000 ]; do
	# Fresh may only be what a quorum has confirmed since it goes on.
	page "$l" >"$work/page" 2>/dev/null || continue
	jq -e --argjson ms $(($(now) - t)) '(.cluster.fresh | not) or
	    .cluster.confirmed_age_ms <= $ms + 200' "$work/page" \
	    >/dev/null || old=$((old + 1))
done
wait $readers $keys || true
[ $old -eq 0 ] || die "$old pages of before the freeze"
held "after SIGCONT its status is never fresh by what was before"
v=$(field value <"$work/read")
[ -z "$v" ] || [ "$v" -ge "$acked" ] || die "a frozen node read $v, not $acked"
held "nor is its counter (${v:-$(field reason <"$work/read")})"
[ "$(field ok <"$work/keys")" != true ] ||
    die "a frozen node gave keys that the contract had taken back"
held "nor does it give keys that were taken back meanwhile \
($(field reason <"$work/keys"))"
quiet "$kmsctl" app allow "$app" compose "$hash" --sim "$c" --wait-final
whole "a leader frozen for 12 s comes back as a follower"

for n in $(others "$(find_leader)"); do
	signal STOP "$n"
	# shellcheck disable=SC2046
	count 1 $(others "$n")
	sleep 2
	signal CONT "$n"
done
whole "each follower was frozen for 2 s"

# ---- a partition ---------------------------------------------------------------
lead_by() { # NODE: until it leads
	local l
	for _ in $(seq 12); do
		l=$(find_leader)
		[ "$l" != "$1" ] || return 0
		signal STOP "$l"
		within 30 leader
		signal CONT "$l"
		within 30 all_ready
	done
	die "$1 does not become the leader"
}
lead_by kms0
for p in "${line[@]}"; do kill -STOP "$p"; done
t=$(now)
count_at kms0 2000 && die "a leader without a quorum counted" || true
count 2 kms1 kms2
held "the leader is cut off: the others count on ($(($(now) - t)) ms)"
within 20 says kms0 '.cluster.fresh | not'
a=$(probe kms0 keys --timeout 15000)
[ "$(field ok <<<"$a")" != true ] || die "a node that is cut off gave keys"
held "it gives no keys: $(field reason <<<"$a")"
a=$(probe kms0 read --timeout 15000)
[ "$(field ok <<<"$a")" != true ] || die "a node that is cut off read"
held "and no counter: $(field reason <<<"$a")"
for p in "${line[@]}"; do kill -CONT "$p"; done
whole "the lines are there again, with what was under way"

# ---- disks ------------------------------------------------------------------------
n=$(other "$(find_leader)")
quiet "$kmsctl" sim kill "$c" "$n"
if mount -t tmpfs -o size=384k,mode=0700 none "$c/kms/$n/data/db" 2>/dev/null; then
	tmpfs=$n
	quiet "$kmsctl" sim start "$c" "$n"
	dd if=/dev/zero of="$c/kms/$n/data/db/full" bs=4k 2>/dev/null || true
	full() { count_any kms0 kms1 kms2 && says "$n" '.cluster.disk.failed'; }
	within 60 full
	held "disk full: $n says so" # shellcheck disable=SC2046
	count 3 $(others "$n")
	held "and the cluster counts on"
	rm "$c/kms/$n/data/db/full"
	whole "there is room again, and it comes back by itself"
	quiet "$kmsctl" sim kill "$c" "$n"
	umount "$c/kms/$n/data/db"
	tmpfs=
else
	echo "ok - disk full # skip mount is not allowed here"
fi
quiet "$kmsctl" sim start "$c" "$n"
whole "with its older disk it is a member again"

db=$c/kms/$n/data/db/data.mdb
quiet "$kmsctl" sim kill "$c" "$n"
truncate -s $(($(stat -c %s "$db") / 2 + 100)) "$db"
: >"$c/log/$n.log"
quiet "$kmsctl" sim start "$c" "$n"
grep -q 'event=disk_refused' "$c/log/$n.log" || die "a torn file was believed"
whole "T11 a truncated data.mdb is refused, and the node joins without it"

quiet "$kmsctl" sim kill "$c" "$n"
size=$(stat -c %s "$db")
for at in $(seq 8292 1024 $((size - 1))); do
	printf '\125' | dd of="$db" bs=1 seek="$at" conv=notrunc 2>/dev/null
done
: >"$c/log/$n.log"
quiet "$kmsctl" sim start "$c" "$n"
grep -q 'event=disk_refused' "$c/log/$n.log" || die "altered bytes were believed"
whole "T11 altered bytes are refused, and the node joins without them"

# ---- a node that the contract no longer lists ----------------------------------
# Stated: once the block is final, within 10 s.
l=$(find_leader)
n=$(other "$l")
device=0x$(page "$n" | jq -r '.self.device_id | ltrimstr("0x")')
quiet "$kmsctl" kms disallow-device "$device" --sim "$c" --wait-final
t=$(now)
two() { says "$l" '.cluster.voters == 2'; }
within 30 two
t=$(($(now) - t))
[ $t -le 10000 ] || die "a de-listed node was a member for $t ms"
held "a de-listed node is out $t ms after the block is final"
a=$(probe "$n" keys)
[ "$(field ok <<<"$a")" != true ] || die "a de-listed node gave keys"
held "it gives no keys: $(field reason <<<"$a")"
# shellcheck disable=SC2046
count 2 $(others "$n")
quiet "$kmsctl" kms allow-device "$device" --sim "$c" --wait-final
whole "listed again, it comes back by itself"

# ---- SIGTERM of the leader ----------------------------------------------------------
l=$(find_leader)
n=$(other "$l")
b=$(now)
[ "$(probe "$n" keys | field ok)" = true ] || die "$n gives no keys"
b=$(($(now) - b))
signal TERM "$l"
t=$(now)
until [ "$(probe "$n" keys | field ok)" = true ]; do
	[ $(($(now) - t)) -lt 30000 ] || die "no release after SIGTERM"
done
t=$(($(now) - t))
[ $t -le $((1000 + b)) ] || die "the next release came $t ms after SIGTERM"
held "SIGTERM of the leader: the next release $t ms later ($b ms before)"
t=$(now)
# shellcheck disable=SC2046
count 1 $(others "$l")
held "and the next count $(($(now) - t)) ms after that"
within 10 grep -q 'event=halted why=left' "$c/log/$l.log"
held "it left in an orderly way"
gone() { [ "$(state_of "$c" "$l")" = stopped ]; }
within 30 gone
quiet "$kmsctl" sim start "$c" "$l"
whole "it is back"
