#!/usr/bin/env bash
# deploy/examples/oracle/run.sh: a price that a contract accepts, since an app in
# a TEE has fetched it; and six that it does not.  README.md has the story; the
# options are those of deploy/lib.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
host=prices.example
app=$here/app.mjs

# answered PORT REQUEST [SYMBOL]: what an app says about a request on chain.
answered() {
	curl -sS -m 20 "http://127.0.0.1:$1/answer" -d "$(jq -nc --arg c "$oracle" \
	    --argjson i "$chain_id" --arg r "$2" --arg s "${3:-ETH-USD}" \
	    '{chainId: $i, contract: $c, request: $r, symbol: $s}')"
}
# arguments FILE: of fulfill, as cast reads them.
arguments() {
	jq -r '"(\(.answer.request),\(.answer.symbol),\(.answer.price),\(.answer.observedAt))",
	    "(\(.chain.appKey),\(.chain.rootSignature),\(.chain.key),\(.chain.keySignature))",
	    .signature' "$1"
}
fulfill='fulfill((uint256,string,uint256,uint64),(bytes,bytes,bytes,bytes),bytes)'
# dry FILE: what the contract would say to it.
dry() {
	local a
	mapfile -t a < <(arguments "$1")
	cast call --rpc-url "$rpc" "$oracle" "$fulfill" "${a[@]}" 2>&1 |
	    sed 's/^Error: .*execution reverted: /oracle: /; s/, data: .*//' >&2
	return "${PIPESTATUS[0]}"
}
sent() { # address signature argument...: a transaction that anyone may send
	cast send --rpc-url "$rpc" --private-key "$(cat "$dir/operator.key")" "$@" --json
}
deploy() { # app id, seconds: an oracle for it, whose prices keep that long
	forge create --root contracts --rpc-url "$rpc" --broadcast --json \
	    --private-key "$(cat "$dir/operator.key")" \
	    src/examples/PriceOracle.sol:PriceOracle \
	    --constructor-args "$kms" "$1" "$2" | jq -er .deployedTo
}
asked() { # symbol: the number of a new request
	sent "$oracle" 'ask(string)' "$1" >/dev/null || die "ask"
	cast call --rpc-url "$rpc" "$oracle" 'requests()(uint256)' | cut -d' ' -f1
}

title "A price server on HTTPS, with a CA of its own"
authority price_ca "/CN=Price CA"
certificate prices price_ca $host
beside prices node "$here/prices.mjs" "$work/prices.crt" "$work/prices.key"
prices=$(port_of prices)
held "https://$host, on port $prices"

title "A cluster, and the app, whose compose file pins that CA"
cluster
chain_id=$("$kmsctl" sim status "$dir" --json | jq .chain_id)
node "$examples/compose.mjs" oracle "$app" PRICE_HOST=$host \
    PRICE_CA=@"$work/price_ca.crt" >"$work/compose.json"
quiet "$kmsctl" sim app "$dir" oracle --compose "$work/compose.json"
app_id=$(app_of oracle app_id)
beside app env DSTACK_SOCKET="$(app_of oracle socket)" PRICE_PORT="$prices" \
    node "$app"
at=$(port_of app)
held "app $app_id, root $root"

title "A contract that believes this app under this root"
oracle=$(deploy "$app_id" 300) || die "the contract is not deployed"
held "PriceOracle at $oracle"
one=$(asked ETH-USD)
held "request $one: ETH-USD"

title "Nobody answers in the app's place"
answered "$at" "$one" >"$work/one.json"
jq -e .signature "$work/one.json" >/dev/null || die "$(cat "$work/one.json")"
say "a price that was changed on the way:"
jq '.answer.price = "1"' "$work/one.json" >"$work/tampered.json"
refused "Not signed by the app's key" dry "$work/tampered.json"
say "the same code, registered by somebody else, so another app with other keys:"
quiet "$kmsctl" sim app "$dir" copy --host app1 --compose "$work/compose.json"
beside copy env DSTACK_SOCKET="$(app_of copy socket)" PRICE_PORT="$prices" \
    node "$app"
answered "$(port_of copy)" "$one" >"$work/copy.json"
jq -e .signature "$work/copy.json" >/dev/null || die "$(cat "$work/copy.json")"
refused "The root did not sign this app's key" dry "$work/copy.json"
ends copy
say "a KMS of one's own, so the same signatures under another root:"
node "$here/forge.mjs" "$work/one.json" "$app_id" "$oracle" "$chain_id" >"$work/forged.json"
refused "The root did not sign this app's key" dry "$work/forged.json"

title "Nor in the price server's"
authority other_ca "/CN=Price CA"
certificate fake other_ca $host
beside fake node "$here/prices.mjs" "$work/fake.crt" "$work/fake.key"
beside fooled env DSTACK_SOCKET="$(app_of oracle socket)" \
    PRICE_PORT="$(port_of fake)" node "$app"
answered "$(port_of fooled)" "$one" >"$work/fooled.json"
jq -e '.signature == null and (.error | test("certificate|issuer"))' \
    "$work/fooled.json" >/dev/null || die "$(cat "$work/fooled.json")"
held "the host sends the app to another server: nothing is signed ($(jq -r .error "$work/fooled.json"))"
ends fooled

title "The answer is accepted, once"
mapfile -t arguments < <(arguments "$work/one.json")
sent "$oracle" "$fulfill" "${arguments[@]}" >"$work/out" || die "not accepted"
held "accepted, for $(jq -r .gasUsed "$work/out" | xargs printf '%d') gas: $(cast call --rpc-url "$rpc" "$oracle" \
    'priceOf(bytes32)(uint256,uint64,uint256)' "$(cast keccak ETH-USD)" |
    head -n 1 | cut -d' ' -f1) millionths of a dollar"
say "once more, and for another request:"
refused "Answered already" dry "$work/one.json"
two=$(asked BTC-USD)
jq --arg r "$two" '.answer.request = $r' "$work/one.json" >"$work/other.json"
refused "Another symbol was asked for" dry "$work/other.json"

title "An answer does not keep"
oracle=$(deploy "$app_id" 3) || die "the contract is not deployed"
late=$(asked ETH-USD)
answered "$at" "$late" >"$work/late.json"
say "an answer for a contract that takes prices of three seconds, five seconds later:"
sleep 5
refused "Too old" dry "$work/late.json"
answered "$at" "$late" >"$work/late.json"
quiet dry "$work/late.json"
held "a new answer to the same request is good"

if [ -n "$KEEP" ]; then
	title "The cluster is left running, the app and its price server are not"
	say "${kmsctl#"$top"/} verify key --socket $(app_of oracle socket) --app $app_id --sim $dir"
	say "$(app_of oracle pages)    # the app's dashboard"
	say "${kmsctl#"$top"/} sim down $dir"
fi
