#!/usr/bin/env bash
# Goal of this test: every way in which an app's machine, image, contract or
# file can be wrong is refused, each for its own reason; what is right again
# afterwards gets its keys.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

# refused REASON command...
refused() {
	local reason=$1 rc=0
	shift
	"$@" >"$work/said" 2>&1 || rc=$?
	if [ $rc != 1 ] || ! grep -q "($reason)" "$work/said"; then
		cat "$work/said" >&2
		die "exit $rc instead of a refusal for $reason: $*"
	fi
	held "refused: $reason"
}

node_says() { # jq-expression on the node's status
	local port
	port=$(jq -r '.nodes[0].admin_port' "$c/sim.json")
	{ "$kmsctl" status "http://127.0.0.1:$port" --json 2>/dev/null ||
	    true; } | jq -e "$1" >/dev/null # a node may not be ready
}

quiet "$kmsctl" sim init "$c" --nodes 1 --hosts elsewhere
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
key=$(key_of "$c" web p)

# The machine.
while read -r state reason; do
	quiet "$kmsctl" sim stop "$c" web
	quiet "$kmsctl" sim host "$c" app0 "$state"
	if [ "$state" = revoked ]; then
		# A node keeps a CRL for half its life: it must fetch one.
		quiet "$kmsctl" sim stop "$c" kms0
		quiet "$kmsctl" sim start "$c" kms0
	fi
	refused "$reason" "$kmsctl" sim start "$c" web
	quiet "$kmsctl" sim host "$c" app0 ok
	quiet "$kmsctl" sim start "$c" web
	[ "$(key_of "$c" web p)" = "$key" ] || die "another key after $state"
	held "and the same key once it is mended"
done <<-EOF
	debug td_debug
	no-sept-ve td_attributes
	out-of-date tcb_status
	revoked revoked
EOF

# The same app, moved by its host to a machine that the contract doesn't list.
quiet "$kmsctl" sim stop "$c" web
sed -i 's|/hosts/app0|/hosts/elsewhere|' "$c/apps/web/agent.yaml"
refused contract_device "$kmsctl" sim start "$c" web
sed -i 's|/hosts/elsewhere|/hosts/app0|' "$c/apps/web/agent.yaml"

# A machine that the contract lists, and the node's operator does not.
ppid() { sed -n 's/.*"ppid": *"\([0-9a-f]*\)".*/\1/p' "$c/hosts/$1/host.json"; }
node_with() { # platforms: kms0 believes these only
	quiet "$kmsctl" sim stop "$c" kms0
	sed -i '/allow_ppid/d' "$c/kms/kms0/kmsd.yaml"
	[ -z "$1" ] || sed -i "s/^attestation:/&\n  allow_ppid: [$1]/" \
	    "$c/kms/kms0/kmsd.yaml"
	quiet "$kmsctl" sim start "$c" kms0
}
quiet "$kmsctl" sim stop "$c" web
node_with "'$(ppid kms0)'"
refused platform "$kmsctl" sim start "$c" web
node_says "$(printf '.policy.allow_ppid == ["%s"]' "$(ppid kms0)")" ||
    die "status does not name the platforms"
held "status names the platforms that are believed"
node_with "'$(ppid kms0)', '$(ppid app0)'"
quiet "$kmsctl" sim start "$c" web
[ "$(key_of "$c" web p)" = "$key" ] || die "another key on a listed machine"
held "and the same key once the machine is listed"
quiet "$kmsctl" sim stop "$c" web
node_with ""

# One more space in its compose file.
cp "$c/apps/web/app-compose.json" "$work/compose"
echo >>"$c/apps/web/app-compose.json"
refused contract_compose "$kmsctl" sim start "$c" web
cp "$work/compose" "$c/apps/web/app-compose.json"

# Another OS image than the KMS's owner lists.
refused contract_os_image "$kmsctl" sim app "$c" odd --image other

# An app that nobody registered.
refused contract_app_unknown "$kmsctl" sim app "$c" nobody --no-register

quiet "$kmsctl" sim start "$c" web
[ "$(key_of "$c" web p)" = "$key" ] || die "another key in the end"
quiet "$kmsctl" status "$c"
held "what is right gets the same key in the end"

# Collateral of before must not be believed after a restart: a node that can
# fetch none knows from its disk alone how new it was.
floors='.eval_floors != null and (.eval_floors |
    map("\(.document) \(.number)") == ["tcb_info 18", "qe_identity 18"])'
node_says "$floors" || die "status does not tell the evaluation numbers"
quiet "$kmsctl" sim stop "$c" web
quiet "$kmsctl" sim stop "$c" kms0
quiet "$kmsctl" sim stop "$c" pccs
"$kmsctl" sim start "$c" kms0 >/dev/null 2>&1 & # it would wait until ready
starter=$!
kept=no
for _ in $(seq 100); do
	! node_says "$floors and .phase != \"ready\"" || { kept=yes && break; }
	sleep 0.1
done
kill "$starter" 2>/dev/null || true
wait "$starter" || true
[ "$kept" = yes ] || die "the evaluation numbers are forgotten"
held "evaluation numbers survive a restart"
