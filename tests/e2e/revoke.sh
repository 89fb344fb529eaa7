#!/usr/bin/env bash
# Goal of this test: what is taken back on chain takes effect within one final
# block and a stated time (README.md, "An old chain"): requests are refused at once,
# also on sessions from before; sessions end; a KMS node that is removed loses
# its links and serves nobody.
. "$(dirname -- "$0")/witness.sh"

# Beyond the block: poll_ms (500 here), half a second until the cluster looks, a
# quarter until sessions are looked at, and the questions.
stated=2000

quiet "$kmsctl" sim init "$c"
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
rpc=$(jq -r .rpc_port "$c/sim.json")
read -r app hash < <(jq -r '.apps[] | select(.name == "web") |
    "\(.app_id) \(.compose_hash)"' "$c/sim.json")

# Every call is a request to the KMS: on the session that the agent keeps.
certificate() {
	curl -sf -m 10 --unix-socket "$c/apps/web/dstack.sock" -X POST \
	    -H 'content-type: application/json' -d '{"subject":"web"}' \
	    http://localhost/GetTlsKey | jq -e .key >/dev/null
}
final() { # number of the block that is final
	curl -sf -m 5 -H 'content-type: application/json' -d '{"jsonrpc":"2.0",
	    "id":1,"method":"eth_getBlockByNumber","params":["finalized",false]}' \
	    "http://127.0.0.1:$rpc" | jq -r .result.number
}
await_final() { # BLOCK: returns at the moment at which it is final
	while [ $(($(final))) -lt "$1" ]; do sleep 0.02; done
}
since() { echo $(($(now) - began)); }
limit=$(($(slow 1) * stated)) # on a machine with nothing else to do: as stated

# ---- an app ------------------------------------------------------------------------
within 30 all_ready
disallow() {
	block=$("$kmsctl" app disallow "$app" compose "$hash" --sim "$c" --json | jq .block)
	await_final "$block"
	began=$(now)
}
allow() {
	quiet "$kmsctl" app allow "$app" compose "$hash" --sim "$c" --wait-final
	within 20 certificate
}
certificate || die "no certificate"
disallow
while certificate; do [ "$(since)" -lt $limit ] || die "still served"; done
held "app: refused on its session $(since) ms after the final block; stated: $stated"
allow

# Now it asks nothing, so that only the session is left.
count_ended() { cat "$c"/log/kms?.log | grep -c 'event=session_ended.*reason=contract_compose' || true; }
before=$(count_ended)
disallow
while [ "$(count_ended)" = "$before" ]; do
	[ "$(since)" -lt $limit ] || die "the session is still there"
	sleep 0.05
done
held "app: its idle session ended $(since) ms after the final block; stated: $stated"
! certificate || die "it got a certificate"
metered() { # what the pages say is half a second old at most
	local n total=0
	for n in kms0 kms1 kms2; do
		total=$((total + $(curl -sf -m 3 "$(admin $n)/metrics" |
		    awk '$1 == "kms_sessions_ended_total" { print $2 }')))
	done
	[ "$total" -ge 1 ]
}
within 5 metered
allow
held "app: allowed again, and served"

# ---- the image that it runs, the device that it is on ------------------------------
image=$(curl -sf -m 10 --unix-socket "$c/apps/web/dstack.sock" http://localhost/Info |
    jq -r .os_image_hash)
# The guest does not know its device; the nodes do.
device=$(cat "$c"/log/kms?.log | grep -o 'request=sign_cert .* device=[0-9a-f]*' |
    sed -n '1s/.*device=//p')
[ ${#image} = 64 ] && [ ${#device} = 64 ] || die "no image or device: $image $device"
take() { # COMMAND...: returns when that is final
	certificate || die "no certificate"
	block=$("$kmsctl" "$@" --sim "$c" --json | jq .block)
	await_final "$block"
	began=$(now)
}
refused() { # WHAT COMMAND...: on the session of before
	local what=$1
	shift
	take "$@"
	while certificate; do [ "$(since)" -lt $limit ] || die "$what: still served"; done
	held "$what: refused on its session $(since) ms after the final block; stated: $stated"
}
ended() { # WHAT REASON COMMAND...: the session, which asks nothing
	local what=$1 reason=$2 before
	shift 2
	before=$(counted "$reason")
	take "$@"
	while [ "$(counted "$reason")" = "$before" ]; do
		[ "$(since)" -lt $limit ] || die "$what: the session is still there"
		sleep 0.05
	done
	held "$what: its idle session ended $(since) ms after the final block; stated: $stated"
	! certificate || die "$what: it got a certificate"
}
counted() {
	cat "$c"/log/kms?.log | grep -c "event=session_ended.*reason=$1" || true
}
given() { # COMMAND...: it is given back, and serves
	quiet "$kmsctl" "$@" --sim "$c" --wait-final
	within 20 certificate
}
for how in refused "ended contract_os_image"; do
	read -r how reason <<<"$how"
	$how "OS image" ${reason:+"$reason"} kms disallow-image "0x$image"
	given kms allow-image "0x$image"
done
given app allow "$app" device "0x$device"
given app disallow "$app" any-device
for how in refused "ended contract_device"; do
	read -r how reason <<<"$how"
	$how "app's device" ${reason:+"$reason"} app disallow "$app" device "0x$device"
	given app allow "$app" device "0x$device"
done
held "OS image, app's device: allowed again, and served"

# ---- a KMS node --------------------------------------------------------------------
lead_by kms0
device=$(page kms2 | jq -r .self.device_id)
linked() { # from both others
	local n
	for n in kms0 kms1; do
		says $n '[.peers[] | select(.slot == "kms2" and .connected)] | length == 1' ||
		    return 1
	done
}
unlinked() {
	local n
	for n in kms0 kms1; do
		says $n '[.peers[] | select(.slot == "kms2" and .connected)] | length == 0' ||
		    return 1
	done
}
silent() { [ "$(probe kms2 keys --timeout 2000 | field ok)" != true ]; }
probe kms2 keys >/dev/null
within 20 linked
block=$("$kmsctl" kms disallow-device "0x$device" --sim "$c" --json | jq .block)
await_final "$block"
began=$(now)
while ! silent; do [ "$(since)" -lt $limit ] || die "kms2 still serves"; done
refused=$(since)
while ! unlinked; do
	# The pages are half a second old at most.
	[ "$(since)" -lt $((limit + 1000)) ] || die "kms2 still has links"
	sleep 0.05
done
held "KMS node: serves nobody after $refused ms, no links after $(since) ms; stated: $stated"
for n in kms0 kms1; do [ "$(probe $n keys | field ok)" = true ] || die "$n gives no keys"; done
for _ in 1 2 3; do silent || die "kms2 serves again"; sleep 0.3; done
quiet "$kmsctl" kms allow-device "0x$device" --sim "$c" --wait-final
within 60 linked
back() { [ "$(probe kms2 keys | field ok)" = true ]; }
within 60 back
held "KMS node: allowed again, it is back"
