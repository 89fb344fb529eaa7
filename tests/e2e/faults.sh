#!/usr/bin/env bash
# Goal of this test: a cluster of three whose nodes are killed, frozen, cut
# off, filled up and de-listed loses no acknowledged count, tells nothing old,
# and serves again without a human (raft-nng-rollback.md T11, T14, T16 to
# T18).
. "$(dirname -- "$0")/witness.sh"
# ---- a cluster; kms0's lines to the others can be cut -----------------------
quiet "$kmsctl" sim init "$c"
line=()
cut_able() { # NODE PEER: its line to the peer leads through a relay
	local p
	p=$(free_port)
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
[ $t -lt "$(slow 10000)" ] || die "$t ms from kill -9 of the leader to the next count"
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
# A disk of 384 KiB, in a mount namespace that ends with its last process.
mine=() # beside the namespace of mounts
[ "$(id -u)" = 0 ] || mine=(--user)
small_disk() { # NODE; sets `disk`
	unshare --mount "${mine[@]/--user/--map-root-user}" sh -c '
	    mount -t tmpfs -o size=384k,mode=0700 none "$1" && echo ready &&
	    exec sleep 3600' sh "$c/kms/$1/data/db" >"$work/disk" 2>&1 &
	disk=$!
	extra+=("$disk")
	for _ in $(seq 100); do
		! grep -q ready "$work/disk" || return 0
		kill -0 "$disk" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
on_disk() {
	nsenter --target "$disk" --mount ${mine[@]+"${mine[@]}" --preserve-credentials} "$@"
}
if small_disk "$n"; then
	quiet on_disk "$kmsctl" sim start "$c" "$n"
	on_disk dd if=/dev/zero of="$c/kms/$n/data/db/full" bs=4k 2>/dev/null || true
	full() { count_any kms0 kms1 kms2 && says "$n" '.cluster.disk.failed'; }
	within 60 full
	held "disk full: $n says so" # shellcheck disable=SC2046
	count 3 $(others "$n")
	held "and the cluster counts on"
	on_disk rm "$c/kms/$n/data/db/full"
	whole "there is room again, and it comes back by itself"
	quiet "$kmsctl" sim kill "$c" "$n"
	kill -KILL "$disk"
else
	echo "ok - disk full # skip no mount namespaces here"
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
[ $t -le "$(slow 10000)" ] || die "a de-listed node was a member for $t ms"
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
[ $t -le "$(slow $((1000 + b)))" ] || die "the next release came $t ms after SIGTERM"
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
