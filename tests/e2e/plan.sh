#!/usr/bin/env bash
# Goal of this test: `kmsctl app plan` tells what an upgrade changes, when it
# holds and who must sign, for each kind of app contract; and what it tells comes
# true: its calldata is sent as it is, and the chain is asked.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

refused() { # exit words command...
	local want=$1 words=$2 rc=0
	shift 2
	"$@" >"$work/said" 2>&1 || rc=$?
	[ $rc = "$want" ] && grep -q -- "$words" "$work/said" || {
		cat "$work/said" >&2
		die "exit $rc instead of $want for \"$words\": $*"
	}
}
plan() { "$kmsctl" app plan "$@" --sim "$c" --json; }
# tells JQ APP OPTION...: holds for its plan?
tells() {
	local want=$1
	shift
	plan "$@" >"$work/plan" || die "plan $*: $(cat "$work/plan")"
	jq -e "$want" "$work/plan" >/dev/null || {
		cat "$work/plan" >&2
		die "not so: $want"
	}
}
warned() { jq -e --arg w "$1" '.warnings | any(.code == $w)' "$work/plan" >/dev/null; }
cast() { contracts/tools/cast "$@"; }
own() { cast send --rpc-url "$rpc" --private-key "$(cat "$c/operator.key")" "$@" >/dev/null; }
# sent N: the plan's N-th transaction, as it was told.
sent() { own "$(jq -r ".transactions[$1].to" "$work/plan")" "$(jq -r ".transactions[$1].data" "$work/plan")"; }
view() { cast call --rpc-url "$rpc" "$@" | cut -d' ' -f1; }
create() { # contract argument...
	local name=$1
	shift
	contracts/tools/forge create --root contracts --rpc-url "$rpc" --broadcast \
	    --json --private-key "$(cat "$c/operator.key")" \
	    "src/$name.sol:$name" --constructor-args "$@" | jq -er .deployedTo
}

quiet "$kmsctl" sim init "$c" --nodes 1
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
rpc=$("$kmsctl" sim status "$c" --json | jq -r .rpc)
operator=$("$kmsctl" sim status "$c" --json | jq -r .operator)
old=$c/apps/web/app-compose.json
jq '.docker_compose_file |= sub("alpine"; "alpine:3") | .public_logs = false
    | .allowed_envs = ["A"]' "$old" >"$work/new.json"
hash=0x$("$kmsctl" compose-hash "$work/new.json")
was=0x$("$kmsctl" compose-hash "$old")
zero=0x$(printf '%064d' 0)

# ---- what makes no sense --------------------------------------------------------
refused 2 "what is to change" "$kmsctl" app plan web --sim "$c"
refused 2 "which chain" "$kmsctl" app plan "$operator" --compose "$work/new.json"
refused 2 "no such app" "$kmsctl" app plan shop --sim "$c" --compose "$work/new.json"
refused 2 "no such thing" "$kmsctl" app plan web --sim "$c" --compose "$work/none"
echo '[]' >"$work/list.json"
refused 1 "not an app-compose.json" "$kmsctl" app plan web --sim "$c" --compose "$work/list.json"
echo '{' >"$work/cut.json"
refused 1 "not an app-compose.json" "$kmsctl" app plan web --sim "$c" --compose "$work/cut.json"
refused 2 "\-\-any-device" "$kmsctl" app plan web --sim "$c" --any-device perhaps
refused 2 "32 bytes" "$kmsctl" app plan web --sim "$c" --add-device 0x12
refused 2 "32 bytes" "$kmsctl" app plan web --sim "$c" --add-device nowhere
refused 2 "of which file" "$kmsctl" app plan "$(printf '0x%040d' 1)" --rpc "$rpc" --drop-old
refused 1 "no contract there" "$kmsctl" app plan "$operator" --sim "$c" --compose "$work/new.json"
refused 1 "no app's contract" "$kmsctl" app plan "$(jq -r .anchor_contract "$c/sim.json")" --sim "$c" --compose "$work/new.json"
refused 3 "chain_unreachable\|127.0.0.1:1" "$kmsctl" app plan "$operator" --rpc http://127.0.0.1:1 --compose "$work/new.json"
held "what makes no sense is refused, each with its words"

# ---- DstackApp: at once ---------------------------------------------------------
tells '.contract.kind == "DstackApp" and .contract.owner_is == "an account"
    and .contract.notice_to_let_in == "none" and .contract.registered
    and .contract.code == "its owner can replace it"
    and (.active | test("with the block"))' web --compose "$work/new.json"
jq -e --arg h "$hash" --arg w "$was" '.compose == {old: $w, old_allowed: "yes", new: $h, new_allowed: "no"}' \
    "$work/plan" >/dev/null || die "$(jq .compose "$work/plan")"
jq -e '[.changes[] | "\(.member) \(.change)"] | sort ==
    ["allowed_envs added", "docker_compose_file changed", "public_logs changed"]' \
    "$work/plan" >/dev/null || die "$(jq .changes "$work/plan")"
jq -e '[.lines[] | .change + .line] == ["-    image: alpine", "+    image: alpine:3"]' \
    "$work/plan" >/dev/null || die "$(jq .lines "$work/plan")"
for w in instant code one_key old_stays name image any_kms allowed_envs not_canonical; do
	warned $w || die "no warning $w: $(jq .warnings "$work/plan")"
done
for w in same any_device old_tcb unregistered refused public_logs foreign; do
	! warned $w || die "a warning $w"
done
held "DstackApp: what changes, and that nobody is told before"

app=$("$kmsctl" sim status "$c" --json | jq -r '.apps[0].app_id')
[ "$(view "$app" 'allowedComposeHashes(bytes32)' "$hash")" = "$zero" ] || die "allowed already"
sent 0
[ "$(view "$app" 'allowedComposeHashes(bytes32)' "$hash")" != "$zero" ] || die "not allowed"
tells '.transactions[0].state == "is so" and .compose.new_allowed == "yes"' web --compose "$work/new.json"
held "its calldata, sent as it is, did that"

tells '[.transactions[] | "\(.call | sub("\\(.*"; "")) \(.state)"] == [
    "addDevice to be sent", "setAllowAnyDevice is so", "removeDevice to be sent",
    "removeComposeHash to be sent"]' web --drop-old --any-device no --add-device app1 --remove-device app0
for i in 0 2 3; do sent $i; done
tells 'all(.transactions[]; .state == "is so")' web --drop-old --any-device no --add-device app1 --remove-device app0
[ "$(view "$app" 'allowedComposeHashes(bytes32)' "$was")" = "$zero" ] || die "the old one stays"
held "devices and the old version: what lets in first, what keeps out after it"

own "$app" 'disableUpgrades()'
tells '.contract.code | test("disabled")' web --any-device yes
warned any_device && ! warned code || die "$(jq .warnings "$work/plan")"
held "given up for good: its code"
own "$app" 'transferOwnership(address)' "$(printf '0x%040d' 7)"
tells '.warnings | any(.code == "pending_owner")' web --any-device yes
# Another owner than the one who pays here: the plan speaks of the owner.
tells '.warnings | all(.code != "refused")' web --add-device kms0
own "$app" 'renounceOwnership()'
tells '.contract.owner_is == "nobody" and (.who_signs | test("nobody"))
    and .active == "never" and (.warnings | any(.code == "no_owner"))' web --any-device yes
held "without an owner: never"

# ---- TimelockAppAuth: after its notice -------------------------------------------
notice=7200
lock=$(create TimelockAppAuth "$operator" $notice true false "$zero" "$was") || die "timelock"
tells '.contract.kind == "TimelockAppAuth" and .contract.code == "fixed"
    and .contract.notice_to_let_in == "2 h" and .contract.notice_to_keep_out == "none"
    and .transactions[0].state == "to be sent" and (.active | test("at the earliest"))' \
    "$lock" --compose "$work/new.json" --old "$old"
warned unregistered || die "it is registered?"
! warned instant || die "instant?"
soon=$(jq .active_at "$work/plan")
sent 0
from=$(cast to-dec "$(view "$lock" 'composeHashFrom(bytes32)' "$hash")")
[ "$from" -ge "$soon" ] && [ "$from" -le $((soon + 60)) ] || die "told $soon, is $from"
tells ".transactions[0].state == \"announced\" and .active_at == $from
    and (.compose.new_allowed | test(\"^from \"))" "$lock" --compose "$work/new.json"
quiet "$kmsctl" app register "$lock" --sim "$c"
tells '.warnings | all(.code != "unregistered")' "$lock" --compose "$work/new.json"
tells '.transactions[1].from >= .active_at' "$lock" --compose "$work/new.json" --old "$old" --drop-old
held "TimelockAppAuth: the time that was told, then the time that is announced"
cast rpc --rpc-url "$rpc" evm_increaseTime $((notice + 5)) >/dev/null
sleep 2
tells '.transactions[0].state == "is so" and .compose.new_allowed == "yes"
    and (.active | test("^now"))' "$lock" --compose "$work/new.json"
[ "$(view "$lock" 'allowedComposeHashes(bytes32)' "$hash")" != "$zero" ] || die "not allowed"
held "two hours later it is so"

# ---- QuorumAppAuth: by votes, after their notice ---------------------------------
quorum=$(create QuorumAppAuth "[$operator,$(printf '0x%040d' 8)]" 2 3600 86400 true false "$zero" "$was") ||
    die "quorum"
tells '.contract.kind == "QuorumAppAuth" and .contract.owner_is == "its own members"
    and (.who_signs | test("2 of 2 members")) and .contract.notice_to_let_in == "1 h"
    and .contract.notice_to_keep_out == "none" and .transactions[0].state == "to be sent"' \
    "$quorum" --compose "$work/new.json" --old "$old" --drop-old
quiet "$kmsctl" council propose "$quorum" "$(jq -r '.transactions[0].data' "$work/plan")" \
    --council "$quorum" --sim "$c"
tells '(.transactions[0].state | test("^proposed, voting: 0x"))
    and .transactions[1].state == "to be sent"' "$quorum" --compose "$work/new.json" --old "$old" --drop-old
held "QuorumAppAuth: who has to vote, and that it is proposed already"
