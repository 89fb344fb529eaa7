#!/usr/bin/env bash
# Goal of this test: the root is rotated by a vote while an app asks for its keys
# all the time, and everybody who has no say is refused: on the command line,
# and by the contracts behind it.
#
# What needs no nodes is Foundry's (contracts/test): RootRegistry.t.sol has the
# wrong previous signature, replay on another chain or registry, a skipped
# epoch, a second root for an epoch, a publication without a quorum of holders;
# OperatorCouncil.t.sol votes, generations, vetoes and times.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
releases=$(dirname "$kmsctl")/releases
# Nothing is missing before a cluster is up.
[ -x "$releases" ] || die "make test-bins"
trap 'rc=$?; set +e; touch "$work/stop"; (exit $rc); finish' EXIT

ctl() { "$kmsctl" "$@" --sim "$c"; }
told() { ctl rotate status --json | jq -r "$1"; }
registry() { ctl rotate status --json | jq -e "$1" >/dev/null; }
until_true() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}
wait_for() { # seconds jq
	until_true "$1" registry "$2" || die "not after $1 s: $2: $(ctl rotate status)"
}
refused() { # words command...
	local words=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		die "was not refused: $*"
	fi
	grep -q -- "$words" "$work/said" || die "$*: $(cat "$work/said")"
}
# would FROM TO SIGNATURE ARGS...: what a transaction would do, asked of the chain.
would() { contracts/tools/cast call --rpc-url "$rpc" --from "$1" "${@:2}"; }
member() { ctl council members --json | jq -r ".members[$1]"; }
moved() { quiet "$kmsctl" sim time "$c" "$1"; }
propose() { ctl "$@" --member 0 --json | jq -er .proposal; } # command...
votes() { # id member...
	local id=$1 m
	shift
	for m; do quiet ctl council vote "$id" --member "$m"; done
}
decided() { # command...
	local id
	id=$(propose "$@") || die "$*"
	votes "$id" 1 2
	moved 1h
	quiet ctl council execute "$id" --wait-final
}
key() { "$kmsctl" key data --socket "$c/apps/web/dstack.sock" ${1:+--epoch "$1"} --json; }
secret() { key "$@" | jq -er .key; }
default_is() { [ "$(key | jq -r .epoch)" = "$1" ]; }
holds() { told "[.nodes[].holds] | unique | join(\" | \")"; }

quiet "$kmsctl" sim init "$c" --council 5:3
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web --any-device
rpc=$("$kmsctl" sim status "$c" --json | jq -r .rpc)
reg=$("$kmsctl" sim status "$c" --json | jq -r .registry_contract)
council=$("$kmsctl" sim status "$c" --json | jq -r .council.contract)
app=$("$kmsctl" sim status "$c" --json | jq -r '.apps[0].app_id')
owner=$("$kmsctl" sim status "$c" --json | jq -r .operator)
epoch0=$(secret)

# ---- who may vote, and when ---------------------------------------------------
refused "not a member" ctl rotate order
id=$(propose rotate order)
refused "not a member" ctl council vote "$id"
refused "voted for it already" ctl council vote "$id" --member 0
refused "Not a member" would "$owner" "$council" "vote(bytes32)" "$id"
refused "Voted already" would "$(member 0)" "$council" "vote(bytes32)" "$id"
refused "more vote" ctl council execute "$id"
refused "Not ready" would "$owner" "$council" "execute(bytes32)" "$id"
refused "no such proposal" ctl council vote 0x$(printf '%064d' 7) --member 1
held "a stranger's vote, a second vote, an execution without votes: refused"

# ---- veto: as many as leave fewer than three behind ---------------------------
for m in 2 3; do quiet ctl council veto "$id" --member $m; done
refused "vetoed it already" ctl council veto "$id" --member 2
quiet ctl council veto "$id" --member 4
ctl council show "$id" --json | jq -e '.stage == "vetoed"' >/dev/null || die "not vetoed"
refused "vetoed" ctl council vote "$id" --member 1
held "three of five vetoed a proposal: nothing can be done with it any more"

# ---- a new generation voids old votes --------------------------------------------
old=$(propose rotate order)
votes "$old" 1 2
id=$(propose council members "$(ctl council members --json | jq -r '.members | join(",")')" 3)
votes "$id" 1 2
moved 1h
quiet ctl council execute "$id"
ctl council show "$old" --json | jq -e '.stage == "void"' >/dev/null || die "not void"
refused "members have changed" ctl council execute "$old"
refused "Not ready" would "$owner" "$council" "execute(bytes32)" "$old"
[ "$(told '.epochs | length')" = 1 ] || die "something is ordered"
held "the same members once more are a new generation: a passed proposal is void"

# ---- a reorg before finality changes nothing --------------------------------------
id=$(propose rotate order)
votes "$id" 1 2
refused "too early" ctl council execute "$id"
refused "Not ready" would "$owner" "$council" "execute(bytes32)" "$id"
moved 1h
before=$(holds)
snapshot=$(contracts/tools/cast rpc --rpc-url "$rpc" evm_snapshot | tr -d '"')
quiet ctl council execute "$id"
contracts/tools/cast rpc --rpc-url "$rpc" evm_revert "$snapshot" >/dev/null
[ "$(told '.epochs | length')" = 1 ] || die "the reorg kept the order"
sleep 6
[ "$(holds)" = "$before" ] || die "nodes followed a block that is gone: $(holds)"
held "an order in a block that was reorganised away: no node made a root"

# ---- the rotation, under load ------------------------------------------------------
"$releases" "$c" web load "$work/stop" >"$work/load" 2>&1 &
load=$!
quiet ctl council execute "$id" --wait-final
wait_for 90 '.epochs[-1].state == "published"'
refused "too early" ctl rotate activate
refused "Too early" would "$owner" "$reg" "activate(uint64)" 1
refused "No rotation to this epoch" would "$owner" "$reg" \
    "publishRoot(uint64,bytes,bytes32,bytes,(uint256,uint64,bytes,bytes))" 2 0x02 \
    "$id" 0x00 "(7,1,0x00,0x00)"
first=$(told '.epochs[1].root')

# ---- the voters do not want this root: the nodes make another one ------------------
decided rotate veto
wait_for 90 '.epochs[-1].state == "published"'
[ "$(told '.epochs[1].root')" != "$first" ] || die "the vetoed root came again"
[ "$(told .vetoes)" = 1 ] || die "no veto is counted"
moved 3h
wait_for 90 '.active == 1'
[ "$(told '[.nodes[].root_hash_of_the_newest] | unique | length')" = 1 ] || die "two roots"
held "published, vetoed, another one published, active: one root on all nodes"

# ---- pins ----------------------------------------------------------------------------
refused "only its owner" ctl rotate pin "$app" 1 --member 1
refused "Only the app or its owner" would "$(member 1)" "$reg" "pin(address,uint64)" "$app" 1
refused "Only the app or its owner" would "$council" "$reg" "pin(address,uint64)" "$app" 1
refused "not ordered yet" ctl rotate pin "$app" 2
default_is 0 || die "somebody moved the pin"
[ "$(secret)" = "$epoch0" ] || die "the key has changed"
held "nobody moves an app but its owner: not the council, not a member"

# ---- the load, until here ---------------------------------------------------------------
touch "$work/stop"
wait $load || die "releases failed: $(cat "$work/load")"
jq -e '.failed == 0 and .moves == 0 and .releases > 500 and (.epochs | keys == ["0"])' \
    "$work/load" >/dev/null || die "$(cat "$work/load")"
held "$(jq -r .releases "$work/load") releases beside all that, none failed, all of the pinned epoch"

# ---- tainted and destroyed epochs --------------------------------------------------------
refused "the active one" ctl rotate taint 1 --member 0
decided rotate taint 0
tainted() { registry '[.nodes[].holds | startswith("0 tainted")] | all'; }
until_true 60 tainted || die "not tainted: $(holds)"
restart() {
	quiet "$kmsctl" sim stop "$c" web
	"$kmsctl" sim start "$c" web >"$work/said" 2>&1
}
restart && die "keys of a tainted epoch without its number"
grep -q epoch "$work/said" || die "$(cat "$work/said")"
held "the app is pinned to a tainted epoch: no keys without a number"
quiet ctl rotate pin "$app" 1 --wait-final
restart || die "$(cat "$work/said")"
default_is 1 || die "not of epoch 1"
[ "$(secret 0)" = "$epoch0" ] || die "by number: another key"
held "it moved; by number, old data can be read"

refused "has no end" ctl rotate destroy 0 --member 0
decided rotate retire 0
refused "too early" ctl rotate destroy 0 --member 0
refused "Too early" would "$council" "$reg" "destroy(uint64)" 0
moved 8d
decided rotate destroy 0
gone() { registry '[.nodes[].holds | startswith("0 destroyed")] | all'; }
until_true 60 gone || die "not destroyed: $(holds)"
restart || die "$(cat "$work/said")"
secret 0 >/dev/null 2>&1 && die "a destroyed epoch was released"
refused "destroyed" ctl rotate pin "$app" 0
held "a destroyed epoch is not released at all"

# ---- the audit ------------------------------------------------------------------------------
until_true 60 ctl audit || die "$(ctl audit)"
held "kmsctl audit is clean"
# What one endpoint leaves out is missed: events from a later block on.
last=$(told .handovers)
[ "$last" -gt 0 ] || die "no hand-overs"
refused "is missing\|counts" ctl audit --from-block \
    "$(($(contracts/tools/cast block-number --rpc-url "$rpc") - 1))" --json
held "without the events it finds each hand-over that is missing"
