#!/usr/bin/env bash
# Goal of this test: nodes in mode proof need nobody's word for what a contract
# says.  Each has three endpoints, two must name the same block.  One that lies
# about state is named in log and metrics, and that is all; three that lie about
# answers are not even asked; three that lie about state are silence, and a
# release is never given by it.  The KMS contract's code is pinned: a node whose
# list lacks it says which code it saw, and is not ready.
. "$(dirname -- "$0")/witness.sh"

quiet "$kmsctl" sim init "$c" --chain-mode proof
rpc=$(jq -r .rpc_port "$c/sim.json")
ports=()
for _ in 1 2 3; do ports+=("$(free_port)"); done
node tests/js/liar.mjs "http://127.0.0.1:$rpc" "${ports[@]}" >"$work/liar" 2>&1 &
extra+=($!)
within 20 grep -q ready "$work/liar"
for n in kms0 kms1 kms2; do
	sed -i "s|^  rpc: .*|  rpc: [$(printf "'http://127.0.0.1:%s', " "${ports[@]}" |
	    sed 's/, $//')]|" "$c/kms/$n/kmsd.yaml"
done
quiet "$kmsctl" sim up "$c"
probe kms0 read >/dev/null # makes the app

lie() { # ENDPOINT LIE
	curl -sf -m 10 "http://127.0.0.1:${ports[$1]}/lie/$2" >/dev/null ||
	    die "the endpoint does not take $2"
}
gives_keys() { [ "$(probe "$1" keys | field ok)" = true ]; }
odd() { # NODE ENDPOINT WHAT: how often
	curl -sf -m 3 "$(admin "$1")/metrics" | awk -v l="kms_chain_endpoint_odd_total{endpoint=\"127.0.0.1:${ports[$2]}\",what=\"$3\"}" \
	    '$1 == l { print $2 }'
}

within 30 all_ready
for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
held "three nodes execute the contracts over proven state"

# ---- the code is pinned -----------------------------------------------------------
app=$(jq -r '.apps[] | select(.name == "witness") | .app_id' "$c/sim.json")
mapfile -t codes < <("$kmsctl" kms code "$app" --sim "$c" --json |
    jq -r '.[].code_hash' | sort -u)
[ "${#codes[@]}" -ge 3 ] || die "kms code: ${codes[*]}"
list=$(printf '"%s", ' "${codes[@]}" | sed 's/, $//')
pin() { # NODE LIST
	sed -i "s|^  mode: proof|  mode: proof\n  code_hashes: [$2]|" \
	    "$c/kms/$1/kmsd.yaml"
	quiet "$kmsctl" sim stop "$c" "$1"
	# Whether it becomes ready is for us to see.
	"$kmsctl" sim start "$c" "$1" >/dev/null 2>&1 || true
}
pin kms1 "$list"
within 60 all_ready
within 20 gives_keys kms1
held "the code that \`kms code\` shows is pinned at one node: all serve"

# ---- one lies -----------------------------------------------------------------------
lie 0 proof
named() {
	local n
	for n in kms0 kms1 kms2; do
		[ "$(odd $n 0 proof)" -gt 0 ] &&
		    grep -q "event=endpoint_odd.*127.0.0.1:${ports[0]}.*what=proof" \
			"$c/log/$n.log" || return 1
	done
}
# Whoever is asked first changes when one fails: have them ask it.
lie 1 proof
lie 2 proof
within 30 named
lie 1 none
lie 2 none
within 60 all_ready
for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
held "one of three lies about slots: it is named, all serve"
hash=$(jq -r '.apps[] | select(.name == "witness") | .compose_hash' \
    "$c/sim.json")
quiet "$kmsctl" app disallow "$app" compose "$hash" --sim "$c"
refused() { [ "$(probe "$1" keys | field reason)" = contract_compose ]; }
for n in kms0 kms1 kms2; do within 60 refused $n; done
quiet "$kmsctl" app allow "$app" compose "$hash" --sim "$c" --wait-final
for n in kms0 kms1 kms2; do within 60 gives_keys $n; done
held "what is taken back meanwhile is refused, and allowed again when it is"
lie 0 none

# ---- all lie ------------------------------------------------------------------------
for i in 0 1 2; do lie $i index/5; done
sleep 10 # more than fence_s
for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
within 10 all_ready
held "three say the same false answer to a call: nobody asks for answers"
for i in 0 1 2; do lie $i proof; done
silent() {
	local n
	for n in kms0 kms1 kms2; do
		[ "$(probe $n keys --timeout 3000 | field ok)" != true ] || return 1
	done
}
within 30 silent
for _ in 1 2 3 4 5; do
	silent || die "keys were given while nothing was proven"
done
held "three lie about state: silence"
for i in 0 1 2; do lie $i none; done
within 60 all_ready
for n in kms0 kms1 kms2; do within 60 gives_keys $n; done
held "they are honest again: all serve"

# ---- code that is not on the list -----------------------------------------------------
code=$(printf '%s\n' "${codes[@]}" | grep '^kms:')
list=$(printf '"%s", ' "${codes[@]/$code/proxy:${code#kms:}}" | sed 's/, $//')
pin kms2 "$list"
seen() { grep -q "reason=chain_code.*${code#kms:}" "$c/log/kms2.log"; }
within 40 seen
! says kms2 '.phase == "ready" and .cluster.fresh' ||
    die "a node is ready under a contract of unknown code"
within 20 gives_keys kms0
held "a KMS contract of unlisted code: the node says which, and is not ready"
