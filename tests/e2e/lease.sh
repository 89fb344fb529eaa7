#!/usr/bin/env bash
# Goal of this test: nodes that are shown an old chain, block times and all, do
# not see that an app was removed; so their keys must stop within lease_s, and
# come back when they see the chain again.
. "$(dirname -- "$0")/blind.sh"

# ---- all is well -------------------------------------------------------------------
quiet "$kmsctl" checkin status "$c" --rpc "http://127.0.0.1:$rpc"
[ "$("$kmsctl" checkin status "$c" --rpc "http://127.0.0.1:$rpc" --json |
    jq '[.nodes[] | select(.lease == "good" and .on_chain > 0)] | length')" = 3 ] ||
    die "a node's batch is not on chain"
before=$(metric_of kms2 kms_lease_renewed_total)
more() { [ "$(metric_of kms2 kms_lease_renewed_total)" -gt "$before" ]; }
within 20 more
held "each node is renewed, from what the chain has"

# ---- all are blinded ---------------------------------------------------------------
lie past kms0 kms1 kms2
began=$(now)
quiet "$kmsctl" app disallow "$app" compose "$hash" --sim "$c"
if gives_keys kms2; then
	held "they do not see the removal, and give keys: that is the attack"
else
	# A slow machine: the lease may be over by now; that is for below.
	[ $(($(now) - began)) -gt $((lease * 1000 - 8000)) ] || die "kms2 sees it"
fi
for n in kms0 kms1 kms2; do
	while ! refuses $n chain_lease; do
		[ $(($(now) - began)) -lt $((lease * 1000 + $(slow 8) * 1000)) ] ||
		    die "$n still gives keys after $(($(now) - began)) ms"
		sleep 0.2
	done
	took=$(($(now) - began))
	says $n '.cluster.fresh and (.cluster.fenced | not) and .chain.error == null' ||
	    die "something else than the lease of $n has noticed"
done
held "blinded, they give no keys after $took ms at most; stated: $lease s"
for _ in 1 2 3; do
	for n in kms0 kms1 kms2; do ! gives_keys $n || die "$n gives keys again"; done
done
[ "$(curl -s -m 3 "$(admin kms2)/readyz")" = "not ready: no lease" ] || die "readyz"
[ "$(metric_of kms2 kms_lease_good)" = 0 ] || die "kms_lease_good"
"$kmsctl" doctor "$c" --json >"$work/doctor" || true
jq -e '.findings[] | select(.node == "kms2" and .code == "lease")' \
    "$work/doctor" >/dev/null || die "the doctor does not see it"
! "$kmsctl" checkin status "$c" >/dev/null || die "checkin status says all is well"
held "readyz, metrics, doctor and checkin status say so"

lie none kms0 kms1 kms2
began=$(now)
for n in kms0 kms1 kms2; do within 20 leased $n; done
took=$(($(now) - began))
for n in kms0 kms1 kms2; do within 20 refuses $n contract_compose; done
quiet "$kmsctl" app allow "$app" compose "$hash" --sim "$c" --wait-final
for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
held "they see the chain again: leases after $took ms, and the removal"
