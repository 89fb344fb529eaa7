#!/usr/bin/env bash
# deploy/demo-rotate.sh: the root is rotated by a public vote, twice, and no app
# breaks.  On a simulated cluster, every claim checked.  `make demo-rotate` runs
# it; exit status 0 only if every step held.
#
#   KEEP=1          leave the cluster running and say what to try next
#   B=build/clang   programs of another build (default build/gcc)
#   DEMO_DIR=DIR    where the cluster lives (default: a new folder in /tmp)
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
verify=$top/tests/js/verify.mjs
thief=$top/tests/js/thief.mjs
needs node jq pgrep
built kmsd-disclose cvm-agent kmsctl

# registry JQ: holds for `kmsctl rotate status`?
registry() { "$kmsctl" rotate status --sim "$dir" --json | jq -e "$1" >/dev/null; }
told() { "$kmsctl" rotate status --sim "$dir" --json | jq -r "$1"; }
checklist() {
	"$kmsctl" rotate status --sim "$dir" --json |
	    jq -r '.checklist[] | "      \(.done) \(.step): \(.detail)"'
}
wait_for() { # seconds jq what
	until_true "$1" registry "$2" || {
		checklist >&2
		die "$3: not after $1 s"
	}
}
# moved SPAN: the chain's clock.
moved() {
	quiet "$kmsctl" sim time "$dir" "$1"
	say "... $1 later (the chain's clock was moved)"
}
# decided WHAT...: member 0 proposes, 1 and 2 vote, the notice passes, and
# somebody executes it.
decided() {
	local id
	"$kmsctl" rotate "$@" --sim "$dir" --member 0 --json >"$work/out" 2>"$work/err" || {
		cat "$work/err" >&2
		die "rotate $*"
	}
	id=$(jq -r .proposal "$work/out")
	say "proposed: $(jq -r .what "$work/out")"
	quiet "$kmsctl" rotate vote "$id" --sim "$dir" --member 1
	quiet "$kmsctl" rotate vote "$id" --sim "$dir" --member 2
	moved 1h
	quiet "$kmsctl" rotate execute "$id" --sim "$dir" --wait-final
	held "three of five voted, the notice passed, it is done"
}
# key APP [EPOCH]: the answer to GetKey, with the secret.
key() {
	"$kmsctl" key data --purpose test --socket "$dir/apps/$1/dstack.sock" \
	    ${2:+--epoch "$2"} --json
}
secret() { key "$@" | jq -er .key; }
epoch_is() { [ "$(key "$1" | jq -r .epoch)" = "$2" ]; }
# verified APP EPOCH: its default key, followed to that epoch's root, twice.
verified() {
	local id
	id=$(app_id "$1")
	key "$1" >"$work/key"
	"$kmsctl" verify key --file "$work/key" --sim "$dir" --app "$id" \
	    --json >"$work/out" || die "kmsctl verify key"
	[ "$(jq -r .epoch "$work/out")" = "$2" ] || die "not of epoch $2"
	node "$verify" "$work/key" "$rpc" "$kms" "$id" "$reg" >"$work/out" ||
	    die "verify.mjs"
	[ "$(jq -r .epoch "$work/out")" = "$2" ] || die "verify.mjs: not of epoch $2"
	held "$1: key -> app key -> root of epoch $2 -> registry (kmsctl; noble and viem)"
}
# offline APP OPTION...: the same without a chain, from the root of epoch 0 and
# the certificates that the registry has kept.
offline() {
	"$kmsctl" rotate certificates --sim "$dir" --json >"$work/certificates"
	key "$1" >"$work/key"
	"$kmsctl" verify key --file "$work/key" --app "$(app_id "$1")" \
	    --root "$root0" --certificates "$work/certificates" "${@:2}"
}
app_id() {
	"$kmsctl" sim status "$dir" --json |
	    jq -r --arg n "$1" '.apps[] | select(.app == $n) | .app_id'
}
audited() { "$kmsctl" audit --sim "$dir"; }

troubled() { "$kmsctl" rotate status --sim "$dir"; }

# The nodes of this demo tell their roots to a file: that is the thief's.
mkdir "$work/bin"
cp "$build/kmsctl" "$build/cvm-agent" "$work/bin/"
cp "$build/kmsd-disclose" "$work/bin/kmsd"
kmsctl=$work/bin/kmsctl
export KMS_DISCLOSE_FILE=$work/disclosed
export KMSCTL_CONTRACTS=$top/contracts

# ---- the story ----

title "A cluster with a council of five, and an app from the first day"
cluster --council 5:3
reg=$(jq -r .registry_contract "$work/out")
quiet "$kmsctl" sim app "$dir" old --host app0
wait_for 20 '.active == 0 and (.nodes | map(select(.phase == "ready")) | length) == 3' "epoch 0"
old=$(secret old)
root0=$("$kmsctl" kms info --sim "$dir" --json | jq -r .k256_pub)
signer=$("$kmsctl" anchor status --sim "$dir" --json | jq -r .signer.address)
held "registry $reg, epoch 0 active; app old has a key of epoch 0"

title "A rotation is proposed; each mistake is refused before it costs gas"
refused "not a member" "$kmsctl" rotate order --sim "$dir"
quiet "$kmsctl" rotate order --sim "$dir" --member 0 --print-tx
held "--print-tx: for a hardware wallet, nothing was sent:"
grep -vE '^data' "$work/out" | sed 's/^/        /'
quiet "$kmsctl" rotate order --sim "$dir" --member 0
refused "proposed already" "$kmsctl" rotate order --sim "$dir" --member 1
refused "voted for it already" "$kmsctl" rotate vote --sim "$dir" --member 0
quiet "$kmsctl" rotate vote --sim "$dir" --member 1
refused "more vote" "$kmsctl" rotate execute --sim "$dir"
quiet "$kmsctl" rotate vote --sim "$dir" --member 2
refused "too early" "$kmsctl" rotate execute --sim "$dir"
checklist
moved 1h
quiet "$kmsctl" rotate execute --sim "$dir" --wait-final
held "ordered: three of five voted, and an hour of notice has passed"

title "The nodes make the root, hold it, publish it; then there is time to veto"
wait_for 90 '.epochs[-1].state == "published"' "publication"
checklist
held "published, signed by the root before it; held by a quorum"
refused "too early" "$kmsctl" rotate activate --sim "$dir"
moved 3h
wait_for 90 '.active == 1' "activation"
held "epoch 1 is active: $(told '.epochs[1].root')"

title "No app breaks: old keeps its keys, and a new app gets those of epoch 1"
[ "$(secret old)" = "$old" ] || die "the old app's key has changed"
epoch_is old 0 || die "the old app was moved"
held "old: the same key as before, of epoch 0"
quiet "$kmsctl" sim app "$dir" new --host app1
verified new 1
quiet offline new
held "new, offline: its root is certified by the root of epoch 0 that one pinned"
verified old 0

title "The old app's owner moves its pin: old data with epoch 0, new with 1"
refused "only its owner" "$kmsctl" rotate pin old 1 --sim "$dir" --member 3
pid=$("$kmsctl" sim status "$dir" --json | jq '.processes[] | select(.name == "old").pid')
quiet "$kmsctl" rotate pin old 1 --sim "$dir" --wait-final
until_true 60 epoch_is old 1 || die "the agent did not follow the pin"
[ "$("$kmsctl" sim status "$dir" --json | jq '.processes[] | select(.name == "old").pid')" = "$pid" ] ||
    die "the agent was restarted"
[ "$(secret old 0)" = "$old" ] || die "the key of epoch 0 has changed"
[ "$(secret old)" != "$old" ] || die "the key of epoch 1 is that of epoch 0"
held "no restart: by default keys of epoch 1; --epoch 0 still reads old data"
verified old 1

title "The root of epoch 1 is stolen.  Its thief tries to publish his own root"
node "$thief" "$rpc" "$reg" "$work/disclosed" >"$work/out" || die "the thief got in"
held "nothing is ordered: $(sort -u "$work/out" | paste -sd ';')"
decided order --emergency
node "$thief" "$rpc" "$reg" "$work/disclosed" >"$work/out" || die "the thief got in"
held "an emergency is: $(sort -u "$work/out" | paste -sd ';')"

title "The voters confirm the root that the nodes attest, by its hash"
same_hash='[.nodes[].root_hash_of_the_newest] | unique | length == 1 and .[0] != null'
wait_for 90 "$same_hash" "the nodes' root"
hash=$(told '.nodes[0].root_hash_of_the_newest')
say "all three nodes: $hash"
wait_for 90 '.epochs[-1].state == "published"' "publication"
refused "Not confirmed\|too early" "$kmsctl" rotate activate --sim "$dir"
decided confirm "$hash"
moved 3h
wait_for 90 '.active == 2' "activation"
held "epoch 2 is active; what was stolen signed nothing of it"
decided taint 1
held "epoch 1 is tainted: for old data alone, and only by number"
quiet "$kmsctl" rotate pin old 2 --sim "$dir"
quiet "$kmsctl" rotate pin new 2 --sim "$dir" --wait-final
until_true 60 epoch_is old 2 || die "old is not at epoch 2"
until_true 60 epoch_is new 2 || die "new is not at epoch 2"
held "both owners moved on; both agents followed"
verified new 2
refused "emergency" offline new
quiet offline new --anchor-signer "$signer"
held "offline it takes the anchor's signer, $signer"

title "Epoch 0 is retired, and destroyed for good"
refused "has no end" "$kmsctl" rotate destroy 0 --sim "$dir" --member 0
decided retire 0
refused "too early" "$kmsctl" rotate destroy 0 --sim "$dir" --member 0
moved 8d
decided destroy 0
destroyed() { "$kmsctl" rotate status --sim "$dir" --json |
    jq -e '[.nodes[].holds | startswith("0 destroyed")] | all'; }
until_true 90 destroyed || die "a node has epoch 0 still"
held "no node has its wrapping key any more"
quiet "$kmsctl" sim stop "$dir" old
quiet "$kmsctl" sim start "$dir" old
if secret old 0 >/dev/null 2>&1; then
	die "a destroyed epoch was released"
fi
held "asked for by number: refused; keys of epoch 2 are there: $(key old | jq -r .epoch)"

title "kmsctl audit: the chain and every node tell the same story"
until_true 60 audited || { audited || true; die "not clean"; }
audited | sed 's/^/      /'
held "clean"

if [ -n "$KEEP" ]; then
	title "The cluster is left running"
	here=${build#"$top"/}/kmsctl
	cat <<-EOF
	      try:
	        $here rotate status --sim $dir
	        $here council status --sim $dir
	        $here rotate order --sim $dir --member 0
	        $here sim time $dir 1h
	        $here audit --sim $dir
	        $here sim down $dir
	EOF
	exit 0
fi
title "The end"
