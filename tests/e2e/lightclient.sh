#!/usr/bin/env bash
# Goal of this test: the gate reads the chain through a light client
# (deploy/helios), and neither a beacon node nor an execution node that lies gets
# a wrong yes out of it.  The beacon chain is synthetic (tests/js/beacon.mjs),
# the execution chain is anvil, and nothing leaves the machine.
set -euo pipefail
cd "$(dirname -- "$0")/../.."
B=${B:-build/gcc}
work=$(mktemp -d "${TMPDIR:-/tmp}/kms-e2e.XXXXXX")
pids=()
finish() {
	local rc=$?
	trap - EXIT
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	[ $rc -ne 0 ] || rm -rf "$work"
	[ $rc -eq 0 ] || echo "logs are in $work" >&2
	exit $rc
}
trap finish EXIT
trap 'exit 1' INT TERM
die() {
	echo "not ok - $*"
	exit 1
}
held() { echo "ok - $* ($SECONDS s)"; }
skip() {
	echo "ok - light client # skip $*"
	exit 0
}
within() { # seconds command...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || die "not in time: $*"
		sleep 0.5
	done
}
# said FILE PATTERN: what stands behind it.
said() { sed -n "s/^.*$2 //p" "$1" | head -1; }

[ -d deploy/helios/node_modules/@a16z ] || skip "Helios is not installed"
[ -d tests/js/node_modules/@lodestar ] || skip "tests/js is not installed"
[ -d contracts/out/DstackKms.sol ] || skip "contracts/ is not built"
[ "$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -gt 900 ] ||
    skip "less than 900 MB of memory are free"

# ---- a chain with contracts ----------------------------------------------------
contracts/tools/anvil --port 0 --chain-id 1 >"$work/anvil" 2>&1 &
pids+=($!)
within 30 grep -q 'Listening on' "$work/anvil"
anvil=http://$(said "$work/anvil" 'Listening on')
cast() { contracts/tools/cast "$@" --rpc-url "$anvil" >>"$work/cast" 2>&1; }
key=0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80
owner=0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266
kms=0xc000000000000000000000000000000000000001
app=0xc000000000000000000000000000000000000002
os=0x$(printf '05%.0s' {1..32})
good=0x$(printf 'cc%.0s' {1..32})
bad=0x$(printf 'dd%.0s' {1..32})
code() { jq -r .deployedBytecode.object "contracts/out/$1.sol/$1.json"; }
send() { cast send --private-key "$key" "$@"; }
cast rpc anvil_setCode $kms "$(code DstackKms)"
cast rpc anvil_setCode $app "$(code DstackApp)"
send $kms 'initialize(address,address)' $owner $app
# Nothing is zero that was written: anvil keeps such slots in its tries, which no
# real chain does, and Helios takes that for a lie.
send $app 'initialize(address,bool,bool,bool,bytes32,bytes32)' \
    $owner false true true $os $os
send $kms 'registerApp(address)' $app
send $kms 'addOsImageHash(bytes32)' $os

# ---- a beacon chain over it, and light clients -----------------------------------
node tests/js/beacon.mjs "$anvil" >"$work/beacon" 2>&1 &
pids+=($!)
within 60 grep -q '^checkpoint' "$work/beacon"
beacon=http://127.0.0.1:$(said "$work/beacon" beacon)
rpc=http://127.0.0.1:$(said "$work/beacon" rpc)
root=$(said "$work/beacon" checkpoint)
lie() { curl -sf -m 10 "$beacon/lie/$1" >/dev/null; }
rpclie() { curl -sf -m 10 "$rpc/rpclie/$1" >/dev/null; }
sidecar() { # NAME CHECKPOINT MAX_AGE: sets `url`
	NETWORK=mainnet CHECKPOINT=$2 CONSENSUS_RPC=$beacon EXECUTION_RPC=$rpc \
	    MAX_FINALIZED_AGE=$3 PORT=0 node deploy/helios/sidecar.mjs \
	    >"$work/$1" 2>&1 &
	pids+=($!)
	within 60 grep -q 'listens on' "$work/$1"
	url=http://$(said "$work/$1" 'listens on')
}
ask() { # METHOD PARAMS
	curl -s -m 40 -H 'content-type: application/json' --data-binary \
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "$at"
}
error_of() { ask "$@" | jq -r '.error | "\(.code) \(.message)"'; }
final() { ask eth_getBlockByNumber '["finalized",false]' | jq -r '.result.number // empty'; }
decides() { # MODE COMPOSE [MAX_AGE]
	timeout 120 "$B/light-ask" "$at" "$1" "${3:-3600}" $kms $app $os "$2"
}
allows() { [ "$(decides "$@")" = allowed ]; }

sidecar main "$root" 3600
at=$url
sidecar strict "$root" 40
strict=$url
within 60 grep -q 'in sync' "$work/main"
within 60 final
for mode in quorum proof; do
	a=$(decides $mode $good)
	[ "$a" = 'denied contract_compose: Compose hash not allowed' ] ||
	    die "$mode, not allowed yet: $a"
done
held "through the light client: the contract's no, in both modes"

before=$(final)
send $app 'addComposeHash(bytes32)' $good
within 60 allows quorum $good
allows proof $good || die "proof: $(decides proof $good)"
[ $(($(final))) -gt $((before)) ] || die "the same final block"
held "what is allowed on chain is allowed once it is final, in both modes"

# ---- what it serves ----------------------------------------------------------------
for tag in latest safe pending finalized; do
	ask eth_getBlockByNumber "[\"$tag\",false]" | jq -r .result.number
done | sort -u >"$work/tags"
# The final block may move once meanwhile; the head is further on than that.
[ "$(wc -l <"$work/tags")" -le 2 ] || die "tags: $(tr '\n' ' ' <"$work/tags")"
head=$(contracts/tools/cast block-number --rpc-url "$anvil")
[ $(($(tail -1 "$work/tags"))) -lt "$head" ] || die "a tag names the head"
hash=$(contracts/tools/cast block latest --rpc-url "$anvil" --field hash)
for q in 'eth_accounts []' 'eth_getLogs [{}]' 'debug_traceCall []' 'constructor []' \
    "eth_getBlockByNumber [\"0x$(printf %x "$head")\",false]" \
    'eth_getBlockByNumber ["earliest",false]' 'eth_getBlockByNumber [7,false]' \
    "eth_getBlockByHash [\"$hash\",false]" "eth_getBlockByHash [\"$good\",false]" \
    "eth_getCode [\"$kms\",{\"blockHash\":\"$hash\"}]" 'eth_call [{},{}]' \
    'eth_getProof ["0x",[],"0xffffff"]' 'eth_chainId {}'; do
	e=$(error_of "${q%% *}" "${q#* }")
	case $e in -326* | -3200*) ;; *) die "$q: $e" ;; esac
done
head -c 70000 /dev/zero | tr '\0' '[' >"$work/long"
for body in '' '[]' 'null' '{' '[[' '{"id":1}' "@$work/long"; do
	e=$(curl -s -m 20 --data-binary "$body" "$at" | jq -r '.error.code' || true)
	case $e in -326* | -32700 | '') ;; *) die "body $body: $e" ;; esac
done
[ "$(ask eth_chainId '[]' | jq -r .result)" = 0x1 ] || die "it is gone"
held "only known methods, only final blocks, only small bodies"

# ---- an execution node that lies -----------------------------------------------------
drop() { # the newest sidecar
	kill "${pids[-1]}" 2>/dev/null || true # it may have given up
	unset 'pids[-1]'
}
for name in value account old; do
	rpclie $name
	for mode in quorum proof; do
		a=$(decides $mode $bad)
		case $a in 'again '*) ;; *) die "$name, $mode: $a" ;; esac
	done
done
# Code is kept by its hash: the lie is for one who has none yet.
sidecar code "$root" 3600
fresh() { [ -n "$(at=$url final)" ]; }
within 60 fresh
for name in drop code; do
	rpclie $name
	for mode in quorum proof; do
		# An end that is missing must not be taken for nothing either.
		for compose in $good $bad; do
			a=$(at=$url decides $mode $compose)
			case $a in 'again '*) ;; *) die "$name, $mode: $a" ;; esac
		done
	done
done
drop
rpclie none
a=$(decides proof $bad)
[ "${a%%:*}" = 'denied contract_compose' ] || die "honest again: $a"
held "an execution node that lies about values, code, accounts, age, ends of proofs: no answer"

# ---- a beacon node that lies ---------------------------------------------------------
for name in signature state few; do
	lie $name
	sidecar "$name" "$root" 3600
	new=$url
	sleep 3
	a=$(at=$new decides quorum $good)
	# With few signatures the checkpoint stays the final block, where it is
	# not allowed yet.
	case $name:$a in *:'again '* | few:'denied contract_compose'*) ;;
	*) die "$name: $a" ;; esac
	drop
done
lie none
sidecar other "$good" 3600
sleep 3
a=$(at=$url decides quorum $good)
case $a in 'again '*) ;; *) die "another checkpoint: $a" ;; esac
held "a beacon node that lies about signatures, states, its checkpoint: no answer"

# ---- finality that stands still --------------------------------------------------------
lie frozen
stale() { at=$strict error_of eth_chainId '[]' | grep -q 's old'; }
within 120 stale
a=$(at=$strict decides quorum $good)
case $a in 'again '*) ;; *) die "a stale light client: $a" ;; esac
# The other one does not mind yet; but the node does, by itself.
a=$(decides proof $good 30)
[ "${a%%:*}" = 'again chain_stale' ] || die "a stale block: $a"
allows proof $good || die "not yet: $(decides proof $good)"
held "a final block that is too old is refused, by the light client and by the node"
lie none
url=$strict
within 60 fresh
held "and it goes on when the chain does"
! awk 'length > 400' "$work"/main "$work"/strict "$work"/signature | grep -q . ||
    die "a log line is long"
held "no error fills a log"
