#!/usr/bin/env bash
# Goal of this test: a network that does not deliver (T18): kms0 lives in a
# network namespace of its own, and what is between it and the others is a
# router that drops packets without a word: no connection ends, nothing is
# refused, as when a cable is cut.  e2e/faults.sh does it with relays where
# nobody may make a namespace.
if [ -z "${IN_NETNS:-}" ]; then
	if ! unshare -n sh -c 'ip link set lo up && ip link add x type veth peer \
	    name y && test -w /proc/sys/net/ipv4/ip_forward' 2>/dev/null; then
		echo "ok - partition # skip no network namespaces here"
		exit 0
	fi
	IN_NETNS=1 exec unshare -n "$0" "$@"
fi
. "$(dirname -- "$0")/witness.sh"
ip link set lo up

# ---- here -- router -- there: kms0 ------------------------------------------
hold() { # sets `held`: a process whose network namespace is a new one
	unshare -n sleep 3600 &
	held=$!
	extra+=("$held")
	other_net() { [ "$(readlink "/proc/$held/ns/net")" != \
	    "$(readlink /proc/self/ns/net)" ]; }
	within 10 other_net
}
inside() { # PID command...
	nsenter -t "$1" -n "${@:2}"
}
hold
router=$held
hold
there=$held
wire() { # PID ADDRESS NAME ADDRESS: from that namespace to the router
	ip link add "w$3" type veth peer name "r$3"
	ip link set "r$3" netns "$router"
	inside "$router" ip addr add "$4/24" dev "r$3"
	inside "$router" ip link set "r$3" up
	[ "$1" = $$ ] || ip link set "w$3" netns "$1"
	inside "$1" ip addr add "$2/24" dev "w$3"
	inside "$1" ip link set "w$3" up
}
wire $$ 10.99.1.1 1 10.99.1.254
wire "$there" 10.99.2.1 2 10.99.2.254
inside "$there" ip link set lo up
ip route add 10.99.2.0/24 via 10.99.1.254
inside "$there" ip route add 10.99.1.0/24 via 10.99.2.254
forward() { inside "$router" sh -c "echo $1 >/proc/sys/net/ipv4/ip_forward"; }
forward 1

# Who speaks to kms0 as its operator or its app does it from there.
at() { # NODE command...
	if [ "$1" = kms0 ] && [ -n "${moved:-}" ]; then
		inside "$there" "${@:2}"
	else
		"${@:2}"
	fi
}
page() { at "$1" curl -sf -m 3 "$(admin "$1")/status"; }
probe() { at "$1" "$kmsctl" sim probe "$c" "$@" --json 2>/dev/null || true; }

# ---- a cluster; kms0 moves there --------------------------------------------
# Until it does, its address is here, so that nobody else need be told.
quiet "$kmsctl" sim init "$c"
ip addr add 10.99.2.1/32 dev lo
for n in kms0 kms1 kms2; do
	y=$c/kms/$n/kmsd.yaml
	sed -i "s|^listen: 'tcp://127.0.0.1|listen: 'tcp://0.0.0.0|
	    s|^  - 'tcp://127.0.0.1:$(port_of kms0)'|  - 'tcp://10.99.2.1:$(port_of kms0)'|
	    s|^  - 'tcp://127.0.0.1|  - 'tcp://10.99.1.1|" "$y"
done
quiet "$kmsctl" sim up "$c"
probe kms1 read >/dev/null # makes the app
chain=()
for p in "$(jq -r .rpc_port "$c/sim.json")" "$(jq -r .pccs_port "$c/sim.json")"; do
	node tests/js/line.mjs "$work/line.$p" "$p" >"$work/here.$p" 2>&1 &
	extra+=($!)
	nsenter -t "$there" -n node tests/js/line.mjs "$p" "$work/line.$p" \
	    >"$work/there.$p" 2>&1 &
	extra+=($!)
	chain+=($!)
	within 20 grep -q ready "$work/here.$p"
	within 20 grep -q ready "$work/there.$p"
done
quiet "$kmsctl" sim kill "$c" kms0
ip addr del 10.99.2.1/32 dev lo
moved=1
quiet at kms0 "$kmsctl" sim start "$c" kms0
whole "a node behind a router"

cut() { forward 0; }
mend() { forward 1; }

# ---- the leader is cut off -----------------------------------------------------
lead_by kms0
cut
t=$(now)
count_at kms0 2000 && die "a leader without a quorum counted" || true
count 2 kms1 kms2
held "the leader is cut off: the others count on ($(($(now) - t)) ms)"
within 20 says kms0 '.cluster.fresh | not'
for what in keys read; do
	a=$(probe kms0 $what --timeout 15000)
	[ "$(field ok <<<"$a")" != true ] || die "$what of a node that is cut off"
	held "it gives no $what: $(field reason <<<"$a")"
done
mend
whole "the network is there again, with what was under way"

# ---- the same, for longer than eviction and fence, without the chain -----------
lead_by kms0
cut
for p in "${chain[@]}"; do kill -STOP "$p"; done
count 2 kms1 kms2
within 30 says kms0 '.cluster.fenced'
held "a node that sees neither the others nor the chain is fenced"
a=$(probe kms0 keys --timeout 3000)
[ "$(field ok <<<"$a")" != true ] || die "a fenced node gave keys"
for p in "${chain[@]}"; do kill -CONT "$p"; done
mend
whole "it comes back by itself"

# ---- a follower is cut off -------------------------------------------------------
l=$(find_leader)
while [ "$l" = kms0 ]; do lead_by kms1 && l=$(find_leader); done
term=$(page "$l" | jq -r .cluster.term)
cut
count 3 kms1 kms2
sleep 3
mend
whole "a follower was cut off for some seconds"
[ "$(page "$l" | jq -r .cluster.term)" = "$term" ] ||
    die "a follower's return has ended the leader's term"
held "its return disturbs nobody: still term $term"

# ---- on and off ------------------------------------------------------------------
for _ in $(seq 8); do
	cut
	sleep 0.7
	mend
	count_any kms1 kms2 kms0 || true
done
whole "the network comes and goes"

# ---- packets are lost, late and out of order -----------------------------------------
bad() { inside "$router" tc qdisc add dev "$1" root netem delay 40ms 30ms loss 10%; }
if bad r1 2>/dev/null && bad r2; then
	count 6 kms0 kms1 kms2
	for n in kms0 kms1 kms2; do within 30 reads_at $n; done
	held "a tenth of all packets is lost: it counts and reads"
	inside "$router" tc qdisc del dev r1 root
	inside "$router" tc qdisc del dev r2 root
	whole "and is well again"
else
	echo "ok - packets are lost # skip no netem in this kernel"
fi
