#!/usr/bin/env bash
# Goal of this test: the thread through the whole house on real processes: a
# chain, three KMS nodes that attest each other, an app CVM, other people's
# clients; keys that survive every restart; and each refusal with its own
# reason for the caller (the agent's log), the node's log, and the metrics.
. "$(dirname "$0")/lib.sh"

# ---- a cluster, and a key -------------------------------------------------
ok 'sim init' ctl sim init "$D" --hosts app2
ok 'sim up: three nodes ready' ctl sim up "$D"
[ $failures -eq 0 ] || finish
ok 'sim up again changes nothing' ctl sim up "$D"
ok 'every node is ready' all_ready
digests() {
	local n
	for n in kms0 kms1 kms2; do status $n | jq -r .epochs[0].k256_pub; done | sort -u | wc -l
}
ok 'one root on all three' test "$(digests)" = 1
records_agree() {
	local n
	[ "$(for n in kms0 kms1 kms2; do status $n | jq -r .digest; done | sort -u | wc -l)" = 1 ]
}
ok 'audit records converge' eventually 20 records_agree

# ---- the anchor -----------------------------------------------------------
anchor_is() {
	local page
	page=$(ctl anchor status --sim "$D" --json) && jq -e "$1" <<<"$page" >/dev/null
}
device() { status "$1" | jq -r .self.device_id; }
seated() { # node device
	anchor_is ".seats[] | select(.slot == \"$1\") | .device_id == \"0x${2#0x}\""
}
ok 'the anchor is of this KMS' anchor_is \
    ".kms_contract | ascii_downcase == \"$(jq -r .kms_contract "$D/sim.json")\""
ok 'every node has a seat' anchor_is '[.seats[].slot] | sort == ["kms0", "kms1", "kms2"]'
ok 'for its own machine' seated kms1 "$(device kms1)"
no 'not for another one' seated kms1 "$(device kms0)"
ok 'the owner gives a seat' ctl anchor seat set spare "0x$(printf '%064d' 7)" --sim "$D"
ok 'it is there' seated spare "0x$(printf '%064d' 7)"
ok 'and takes it' ctl anchor seat remove spare --sim "$D" --wait-final
no 'twice' ctl anchor seat remove spare --sim "$D"
ok 'three are left' anchor_is '.seats | length == 3'

ok 'an app CVM gets its keys' ctl sim app "$D" oracle
ok 'another app' ctl sim app "$D" other --host app1
ok 'the unmodified dstack SDK is content' node tests/js/sdk.mjs "$(sock oracle)"
k=$(key oracle /oracle)
ok 'same path, same key' same "$k" "$(key oracle /oracle)"
ok 'another path, another key' differ "$k" "$(key oracle /other)"
ok 'another app, another key' differ "$k" "$(key other /oracle)"
replica_key() { # app path
	curl -sfG --unix-socket "$(sock "$1")" http://x/GetReplicaKey \
	    --data-urlencode "path=$2" | jq -er .key
}
r=$(replica_key oracle /oracle)
ok "a replica's own key is another" differ "$k" "$r"

kms=$(jq -r .kms_contract "$D/sim.json")
app=$(jq -r '.apps[] | select(.name == "oracle") | .app_id' "$D/sim.json")
other=$(jq -r '.apps[] | select(.name == "other") | .app_id' "$D/sim.json")
(umask 077; node tests/js/ask.mjs "$(sock oracle)" /oracle ethereum >"$W/ask.json")
ok 'a verifier that is not ours finds the root on chain' \
    node tests/js/verify.mjs "$W/ask.json" "$(rpc)" "$kms" "$app"
no 'and not for another app' \
    node tests/js/verify.mjs "$W/ask.json" "$(rpc)" "$kms" "$other"
ok 'kmsctl verify key agrees' ctl verify key --sim "$D" \
    --socket "$(sock oracle)" --path /oracle --purpose ethereum --app "$app"
no 'kmsctl verify key refuses another app' ctl verify key --sim "$D" \
    --socket "$(sock oracle)" --path /oracle --purpose ethereum --app "$other"
ok "and follows a replica's own chain" ctl verify key --sim "$D" --replica \
    --socket "$(sock oracle)" --path /oracle --app "$app"
no 'which is not of another instance' ctl verify key --sim "$D" \
    --instance "$(printf '%040d' 7)" \
    --socket "$(sock oracle)" --path /oracle --app "$app"

# ---- restarts --------------------------------------------------------------
restart_app() { ctl sim stop "$D" "$1"; ctl sim start "$D" "$1"; }
ok 'the agent restarts' restart_app oracle
ok 'with the same key' same "$k" "$(key oracle /oracle)"
ok 'kms1 is killed' ctl sim kill "$D" kms1
restart_app oracle >/dev/null 2>&1
ok 'the others give the same key' same "$k" "$(key oracle /oracle)"
ok "and the same of this replica alone" same "$r" "$(replica_key oracle /oracle)"
ok 'kms1 comes back' ctl sim start "$D" kms1
ok 'ready from its sealed disk' eventually 30 status_is kms1 '.phase == "ready"'
ok 'kms0 dies instead' ctl sim kill "$D" kms0
restart_app oracle >/dev/null 2>&1
ok 'with the restarted node the same key' same "$k" "$(key oracle /oracle)"
ok 'kms0 is back' ctl sim start "$D" kms0
ok 'kms2 is killed' ctl sim kill "$D" kms2
ok 'kms2 loses its disk' rm -rf "$D/kms/kms2/data/db"
ok 'and starts' ctl sim start "$D" kms2
ok 'it joins again and is ready' eventually 30 status_is kms2 '.phase == "ready"'
ok 'all ready' eventually 120 all_ready
ok 'and agree' eventually 20 records_agree

# Starts a node without waiting for it to be ready, as it may never be.
start_only() { # node
	"$W/bin/kmsctl" sim start "$D" "$1" >/dev/null 2>&1 &
	disown $!
	starters="${starters:-} $!"
	eventually 20 status "$1"
}

# An app that is refused: its agent gives up, saying why; so does the node.
refused() { # description app label
	local n before=0 after=0 what=$1
	for n in kms0 kms1 kms2; do before=$((before + $(metric $n "$3"))); done
	ctl sim stop "$D" "$2" >/dev/null 2>&1
	sed -i 's/boot_deadline_s:.*/boot_deadline_s: 3/' "$D/apps/$2/agent.yaml"
	: >"$D/log/$2.log"
	no "$what: no keys" ctl sim start "$D" "$2"
	ok "$what: the caller is told $3" in_log "$2" "reason=$3"
	ok "$what: a node logged $3" grep -qE "reason=$3" "$D"/log/kms?.log
	for n in kms0 kms1 kms2; do after=$((after + $(metric $n "$3"))); done
	ok "$what: a metric counted $3" test "$after" -gt "$before"
}
accepted() { # description app
	ctl sim stop "$D" "$2" >/dev/null 2>&1
	sed -i 's/boot_deadline_s:.*/boot_deadline_s: 30/' "$D/apps/$2/agent.yaml"
	ok "$1" ctl sim start "$D" "$2"
}
# ---- refusals: a node that may be alone --------------------------------------
# What is left of the cluster does not know whether it is: it releases nothing.
ok 'two of three are killed' ctl sim kill "$D" kms1
ok 'at once' ctl sim kill "$D" kms2
ok 'the third is not sure of itself' eventually 20 status_is kms0 '.cluster.fresh == false'
alone() { # no other node answers: the agent asks kms0 alone
	local before after
	before=$(metric kms0 no_leader)
	ctl sim stop "$D" oracle >/dev/null 2>&1
	sed -i 's/boot_deadline_s:.*/boot_deadline_s: 12/' "$D/apps/oracle/agent.yaml"
	not ctl sim start "$D" oracle || return 1
	after=$(metric kms0 no_leader)
	test "$after" -gt "$before"
}
ok 'and gives no keys: no_leader' alone
ok 'the third is killed, too' ctl sim kill "$D" kms0
ok 'all are started: an order opens a new generation' ctl sim up "$D"
ok 'the chain has it' anchor_is '.point.generation == 2'
ok 'all are ready' eventually 120 all_ready
ok 'with one state' eventually 20 records_agree
accepted 'the app gets its keys again' oracle
ok 'of the old root' same "$k" "$(key oracle /oracle)"

# ---- refusals: what the contracts decide -----------------------------------
compose=$(jq -r '.apps[] | select(.name == "oracle") | .compose_hash' "$D/sim.json")
ok 'the owner removes the compose hash' ctl app disallow "$app" compose "$compose" --sim "$D" --wait-final
refused 'compose hash' oracle contract_compose
ok 'the owner allows it again' ctl app allow "$app" compose "$compose" --sim "$D" --wait-final
accepted 'and keys come again' oracle
ok 'unchanged' same "$k" "$(key oracle /oracle)"

# The same app on a machine that its contract does not list.
sed -i 's|hosts/app0|hosts/app2|' "$D/apps/oracle/agent.yaml"
refused 'device' oracle contract_device
sed -i 's|hosts/app2|hosts/app0|' "$D/apps/oracle/agent.yaml"
# The same app on an OS image that the KMS contract does not list.
sed -i 's|images/app|images/other|' "$D/apps/oracle/agent.yaml"
refused 'OS image' oracle contract_os_image
sed -i 's|images/other|images/app|' "$D/apps/oracle/agent.yaml"
accepted 'listed machine and image again' oracle

no 'an app without a contract starts' ctl sim app "$D" stranger --no-register --boot-deadline 3
ok 'the caller is told contract_app_unknown' in_log stranger 'reason=contract_app_unknown'
ok 'and a node logged it' grep -q 'reason=contract_app_unknown' "$D"/log/kms?.log

# ---- refusals: what the platform is ----------------------------------------
ok 'the app host turns debug' ctl sim host "$D" app0 debug
refused 'debug TD' oracle td_debug
ok 'it is out of date' ctl sim host "$D" app0 out-of-date
refused 'old TCB' oracle tcb_status
# Nodes that tolerate it leave the decision to the app's contract.
advisories=$(grep -oE '(SIM|INTEL)-SA-[0-9]+' "$D/pki/tcb_info.json" | sort -u | paste -sd, -)
for n in kms0 kms1 kms2; do
	sed -i "s/^  insecure_simulated_root/  allow_status: [OutOfDate]\n  allow_advisory: [$advisories]\n&/" "$D/kms/$n/kmsd.yaml"
	ctl sim stop "$D" $n >/dev/null 2>&1
	ctl sim start "$D" $n >/dev/null 2>&1
done
ok 'nodes that tolerate an old TCB' eventually 120 all_ready
ok 'the app demands a current one' ctl app disallow "$app" old-tcb --sim "$D" --wait-final
refused 'old TCB, by contract' oracle contract_tcb
ok 'it no longer does' ctl app allow "$app" old-tcb --sim "$D" --wait-final
accepted 'old TCB, allowed by contract' oracle
ok 'it is well again' ctl sim host "$D" app0 ok
accepted 'a healthy platform' oracle

# ---- a KMS node that the contract does not list ----------------------------
"$W/bin/kmsctl" sim node "$D" evil >/dev/null 2>&1 &
disown $!
starters="${starters:-} $!"
ok 'an unlisted KMS node knows why' eventually 30 in_log evil 'reason=(self_denied|contract_)'
no 'it never gets roots' status_is evil '.epochs | length > 0'
no 'it is not ready' status_is evil '.phase == "ready"'
ctl sim stop "$D" evil >/dev/null 2>&1
# Its own gate would stop it; what if it lies to itself?  Members ask, too:
# test_cluster has that half.
sed -i 's/genesis: false/genesis: true/' "$D/kms/evil/kmsd.yaml"
: >"$D/log/evil.log"
start_only evil
ok 'a second genesis is refused' eventually 30 in_log evil 'reason=genesis_done'
no 'and makes no root' status_is evil '.epochs | length > 0'
ctl sim stop "$D" evil >/dev/null 2>&1

# ---- what the chain endpoints say -------------------------------------------
second=$(jq -r .rpc_port "$D/sim.json")
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
    node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }
other_chain() { # chain id: starts another anvil, sets port
	local id
	printf -v id '"result":"0x%x"' "$1"
	for _ in 1 2 3; do # somebody else may have taken the port meanwhile
		port=$(free_port)
		contracts/tools/anvil --quiet --port "$port" --chain-id "$1" --block-time 1 \
		    --slots-in-an-epoch 1 >/dev/null 2>&1 &
		extra_pids="${extra_pids:-} $!"
		eventually 20 says_chain "$id" && return
	done
}
says_chain() {
	curl -sf -m 2 "http://127.0.0.1:$port" -H 'content-type: application/json' \
	    -d '{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}' | grep -qF "$1"
}
with_rpc() { # node, rpc list: restarts it with other endpoints
	sed -i "s|^  rpc:.*|  rpc: [$2]|" "$D/kms/$1/kmsd.yaml"
	# Whoever still waits for the last start would end the next one.
	kill $starters 2>/dev/null
	ctl sim stop "$D" "$1" >/dev/null 2>&1
	start_only "$1"
}
good="'$(rpc)'"
other_chain 31337
# Another history, longer than ours.  A node at its start has seen nothing yet:
# it can only say that they disagree, whatever is on its disk.
contracts/tools/cast rpc --rpc-url "http://127.0.0.1:$port" anvil_mine 0x800 >/dev/null 2>&1
with_rpc kms2 "$good, 'http://127.0.0.1:$port'"
ok 'endpoints that disagree' eventually 60 status_is kms2 '.chain.error == "chain_disagree"'
no 'and the node is not ready' curl -sf "$(admin kms2)/readyz"
other_chain 999
with_rpc kms2 "'http://127.0.0.1:$port'"
ok 'an endpoint of another chain' eventually 60 status_is kms2 '.chain.error == "chain_wrong"'
with_rpc kms2 "'http://127.0.0.1:1'"
ok 'a silent endpoint' eventually 60 status_is kms2 '.chain.error == "chain_unreachable"'
sed -i 's/max_age_s:.*/max_age_s: 6/' "$D/kms/kms2/kmsd.yaml"
with_rpc kms2 "$good"
ok 'a good endpoint' eventually 60 status_is kms2 '.phase == "ready"'
cast_rpc evm_setIntervalMining 0 >/dev/null 2>&1
ok 'a head that stands still' eventually 40 status_is kms2 '.chain.error == "chain_stale"'
counted() { [ "$(metric "$1" "$2")" -gt 0 ]; }
ok 'is counted' eventually 20 counted kms2 chain_stale
cast_rpc evm_setIntervalMining 1 >/dev/null 2>&1
ok 'the chain moves again' eventually 40 status_is kms2 '.chain.error == null'

# ---- the chain is turned back -------------------------------------------------
with_rpc kms2 "$good"
# A life whose first batch was lost has its lease a period (60 s) later.
ok 'all are ready again' eventually 180 all_ready
snapshot=$(cast_rpc evm_snapshot | tr -d '"')
final=$(status kms0 | jq .chain.block_number)
ok 'the chain goes on' eventually 20 status_is kms0 ".chain.block_number > $final + 3"
ok 'and back' cast_rpc evm_revert "$snapshot"
ok 'which a node does not follow' eventually 20 status_is kms0 '.chain.error == "chain_backwards"'
ok 'nor another' eventually 20 status_is kms1 '.chain.error == "chain_backwards"'
refused 'a chain that was turned back' oracle chain_backwards

# ---- secrets ------------------------------------------------------------------
ok 'roots and keys were disclosed to this test' test "$(sort -u "$W/disclosed" | wc -l)" -ge 6
for name in root_k256 root_ca wrap_key app_k256 app_disk app_env; do
	ok "$name is among them" grep -q "^$name " "$W/disclosed"
done
leaks() { # finds a disclosed key, in hex or raw, in any file or argument
	local name hex
	sort -u "$W/disclosed" | while read -r name hex; do
		grep -rlai -- "$hex" "$D" && echo "$name in hex"
		LC_ALL=C grep -rlaP -- "$(sed 's/../\\x&/g' <<<"$hex")" "$D" && echo "$name raw"
		grep -lai -- "$hex" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null && echo "$name in a process"
	done
}
echo "$k" | sed 's/^/planted /' >"$W/planted"
ok 'the search finds a planted key' bash -c 'cp "$1" "$2/plant" && grep -rlai -- "$3" "$2" | grep -q plant; rc=$?; rm "$2/plant"; exit $rc' _ "$W/planted" "$D" "$k"
ok 'no root, wrapping key or app key is in any file, log, argument or environment' test -z "$(leaks)"
pid=$(cat "$D/run/kms0.pid" | head -1 | awk '{print $1}')
ok 'a node cannot dump core' grep -qE '^Max core file size +0 +0' "/proc/$pid/limits"

# ---- the end ---------------------------------------------------------------------
pids=$(awk '{print $1}' "$D"/run/*.pid)
ok 'sim down' ctl sim down "$D"
gone() { local p; for p in $pids; do
	[ ! -d "/proc/$p" ] || grep -q '^State:.Z' "/proc/$p/status" || return 1; done; }
ok 'no process is left' gone
finish
