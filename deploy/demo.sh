#!/usr/bin/env bash
# deploy/demo.sh: the whole story once, on a simulated cluster, every claim
# checked.  `make demo` runs it; exit status 0 only if every step held.
#
#   KEEP=1          leave the cluster running and say what to try next
#   B=build/clang   programs of another build (default build/gcc)
#   DEMO_DIR=DIR    where the cluster lives (default: a new folder in /tmp)
set -euo pipefail
umask 077

top=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
B=${B:-build/gcc}
KEEP=${KEEP:-}
kmsctl=$top/${B#"$top"/}/kmsctl
ask=$top/tests/js/ask.mjs
verify=$top/tests/js/verify.mjs
began=$SECONDS

# ---- how steps are shown ----

step=0
say() { printf '      %s\n' "$*"; }
title() {
	step=$((step + 1))
	printf '\n[%2d] %s\n' "$step" "$*"
}
held() { printf '  ok  %s\n' "$*"; }
die() {
	printf 'FAIL  %s\n' "$*" >&2
	exit 1
}

# quiet command...: run it; show what it said only if it fails.
quiet() {
	"$@" >"$work/out" 2>&1 || {
		sed 's/^/      /' "$work/out" >&2
		die "$(basename -- "$1") ${*:2:2} failed"
	}
}

# refused LABEL command...: it must fail, and say this reason.
refused() {
	local label=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		die "was not refused"
	fi
	grep -q "($label)" "$work/out" || {
		sed 's/^/      /' "$work/out" >&2
		die "failed, but not because of $label"
	}
	held "refused: $(sed -n 's/^kmsctl: //p' "$work/out" | tail -n 1)"
}

# The public half of a key: what a transcript may show.
public() { node "$verify" "$1" "$rpc" "$kms" "$app_id" | jq -r .public_key; }

# ---- the end, on any way out ----

work=$(mktemp -d "${TMPDIR:-/tmp}/kms-demo.XXXXXX")
dir=${DEMO_DIR:-$work/c}
up=
finish() {
	local rc=$?
	trap - EXIT HUP INT TERM
	if [ -n "$up" ] && { [ -z "$KEEP" ] || [ "$rc" -ne 0 ]; }; then
		if [ "$rc" -ne 0 ]; then
			"$kmsctl" sim status "$dir" >&2 2>/dev/null || true
		fi
		"$kmsctl" sim down "$dir" >/dev/null || rc=1
		if pgrep -f -- "$dir/" >/dev/null; then
			echo "FAIL  a process was left behind:" >&2
			pgrep -af -- "$dir/" >&2
			rc=1
		elif [ "$rc" -eq 0 ]; then
			held "nothing runs any more"
		fi
	fi
	# They hold keys.
	rm -f "$work/key" "$work/forged" "$work/out" "$work/status"
	rmdir "$work" 2>/dev/null || true
	if [ "$rc" -eq 0 ] && [ -n "$KEEP" ]; then
		exit 0
	fi
	if [ "$rc" -eq 0 ]; then
		printf '\nEvery step held; %d s.\n' $((SECONDS - began))
		rm -rf "$work"
	else
		printf '\nThe demo failed; logs are in %s/log\n' "$dir" >&2
	fi
	exit "$rc"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

for tool in node jq pgrep; do
	command -v "$tool" >/dev/null || die "$tool is missing; make deps"
done
for program in kmsd cvm-agent kmsctl; do
	[ -x "$(dirname -- "$kmsctl")/$program" ] ||
	    die "$B/$program is missing; run make"
done
[ -d tests/js/node_modules ] || die "tests/js: run make deps"

# ---- the story ----

title "A cluster: simulated TDX platforms, a chain, three KMS nodes"
quiet "$kmsctl" sim init "$dir"
up=1
say "starts anvil, deploys the contracts, starts a PCCS and the nodes,"
say "has the contract allow them, and publishes the first roots ..."
quiet "$kmsctl" sim up "$dir"
"$kmsctl" status "$dir" --json >"$work/status"
rpc=$(jq -r .rpc "$work/status")
kms=$(jq -r .kms_contract "$work/status")
[ "$(jq '[.nodes[] | select(.phase == "ready")] | length' "$work/status")" = 3 ] ||
    die "not all nodes are ready"
held "three nodes are ready; KMS contract $kms"
root=$("$kmsctl" kms info --sim "$dir" --json | jq -r .address)
held "root on chain: $root"

title "An app CVM: registered on chain, attested, given its keys"
quiet "$kmsctl" sim app "$dir" web --host app0
"$kmsctl" sim status "$dir" --json >"$work/status"
app_id=$(jq -r '.apps[0].app_id' "$work/status")
compose=$(jq -r '.apps[0].compose_hash' "$work/status")
socket=$(jq -r '.apps[0].socket' "$work/status")
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
refused contract_compose "$kmsctl" sim start "$dir" web
quiet "$kmsctl" app allow web compose "$compose" --sim "$dir" --wait-final
quiet "$kmsctl" sim start "$dir" web
node "$ask" "$socket" wallet/main payments | cmp -s - "$work/key" ||
    die "another key than before"
held "allowed again: the same key"

title "Refusal 2: the same kind of app in a TD that its host can debug"
quiet "$kmsctl" sim host "$dir" app1 debug
refused td_debug "$kmsctl" sim app "$dir" peeked --host app1
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
