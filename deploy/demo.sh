#!/usr/bin/env bash
# deploy/demo.sh: the whole story once, on a simulated cluster, every claim
# checked.  `make demo` runs it; exit status 0 only if every step held.
#
#   KEEP=1          leave the cluster running and say what to try next
#   B=build/clang   programs of another build (default build/gcc)
#   DEMO_DIR=DIR    where the cluster lives (default: a new folder in /tmp)
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
ask=$top/tests/js/ask.mjs
verify=$top/tests/js/verify.mjs
needs node jq pgrep
built kmsd cvm-agent kmsctl

# The public half of a key: what a transcript may show.
public() { node "$verify" "$1" "$rpc" "$kms" "$app_id" | jq -r .public_key; }

# ---- the story ----

title "A cluster: simulated TDX platforms, a chain, three KMS nodes"
cluster
"$kmsctl" status "$dir" --json >"$work/status"
[ "$(jq '[.nodes[] | select(.phase == "ready")] | length' "$work/status")" = 3 ] ||
    die "not all nodes are ready"
held "three nodes are ready; KMS contract $kms"
held "root on chain: $root"

title "An app CVM: registered on chain, attested, given its keys"
quiet "$kmsctl" sim app "$dir" web --host app0
app_id=$(app_of web app_id)
compose=$(app_of web compose_hash)
socket=$(app_of web socket)
held "app $app_id"
say "compose hash $compose"

title "The app asks for a key through @phala/dstack-sdk, unmodified"
node "$ask" "$socket" wallet/main payments >"$work/key"
key=$(public "$work/key")
held "secp256k1 key for \"wallet/main\": public half $key"

title "Where does it come from?  Followed to the root on chain, twice"
"$kmsctl" verify key --file "$work/key" --sim "$dir" --app "$app_id" \
    --json >"$work/out" || die "kmsctl verify key"
held "kmsctl: key -> app key -> root $(jq -r .root_address "$work/out")"
node "$verify" "$work/key" "$rpc" "$kms" "$app_id" >"$work/out" ||
    die "verify.mjs"
[ "$(jq -r .root_address "$work/out")" = "$root" ] || die "another root"
held "noble and viem, no code in common: the same root"
jq '.purpose = "other"' "$work/key" >"$work/forged"
if "$kmsctl" verify key --file "$work/forged" --sim "$dir" \
    --app "$app_id" >/dev/null 2>&1; then
	die "a key with another purpose was believed"
fi
held "the same key, said to be for another purpose: not believed"

title "Refusal 1: the owner removes the app's compose hash on chain"
quiet "$kmsctl" app disallow web compose "$compose" --sim "$dir" --wait-final
quiet "$kmsctl" sim stop "$dir" web
refused "(contract_compose)" "$kmsctl" sim start "$dir" web
quiet "$kmsctl" app allow web compose "$compose" --sim "$dir" --wait-final
quiet "$kmsctl" sim start "$dir" web
node "$ask" "$socket" wallet/main payments | cmp -s - "$work/key" ||
    die "another key than before"
held "allowed again: the same key"

title "Refusal 2: the same kind of app in a TD that its host can debug"
quiet "$kmsctl" sim host "$dir" app1 debug
refused "(td_debug)" "$kmsctl" sim app "$dir" peeked --host app1
quiet "$kmsctl" sim host "$dir" app1 ok

title "Refusal 3: a KMS node with an OS image that the contract does not list"
quiet "$kmsctl" sim node "$dir" stranger --host app1 --image other
admin=$("$kmsctl" status "$dir" --json |
    jq -r '.nodes[] | select(.node == "stranger") | .admin')
# It measures itself, then asks its peers; give it time to be let in.
for _ in 1 2 3; do
	sleep 1
	"$kmsctl" status "$admin" --json >"$work/out" 2>&1 || true
	[ "$(jq -r .phase "$work/out")" != ready ] ||
	    die "the stranger has the roots"
done
[ "$(jq -r .self.allowed "$work/out")" = false ] || die "the stranger is allowed"
[ "$(jq '.epochs | length' "$work/out")" = 0 ] || die "the stranger has an epoch"
held "refused: $(jq -r .self.reason "$work/out"); it holds no roots"
quiet "$kmsctl" sim stop "$dir" stranger

title "One node is killed (SIGKILL); the app starts anew and asks again"
quiet "$kmsctl" sim kill "$dir" kms0
quiet "$kmsctl" sim stop "$dir" web
quiet "$kmsctl" sim start "$dir" web
node "$ask" "$socket" wallet/main payments | cmp -s - "$work/key" ||
    die "another key than before"
held "the two others released it: the same key"
quiet "$kmsctl" sim start "$dir" kms0
"$kmsctl" status "$dir" --json | jq -e .ready >/dev/null || die "not ready"
held "kms0 is back: it was attested anew and given the roots by its peers"

if [ -n "$KEEP" ]; then
	title "The cluster is left running"
	here=${kmsctl#"$top"/}
	cat <<-EOF
	      socket  $socket
	      pages   $(app_of web pages)

	      try:
	        $here status $dir
	        $here key wallet/main --purpose payments --socket $socket
	        node tests/js/ask.mjs $socket wallet/main payments
	        $here verify key --socket $socket --app $app_id --sim $dir
	        $here app disallow web compose $compose --sim $dir
	        $here sim host $dir app0 out-of-date
	        $here sim down $dir
	EOF
	exit 0
fi
title "The end"
