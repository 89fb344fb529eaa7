#!/usr/bin/env bash
# Goal of this test: one node alone that is shown an old chain, block times and
# all, is noticed by the floor of the others before its lease is over, also
# after a restart; and if it is the leader, it does not take the others along.
. "$(dirname -- "$0")/blind.sh"

# ---- one alone ---------------------------------------------------------------------
lead_by kms0
lie past kms1
began=$(now)
stopped() { refuses kms1 chain_lease || refuses kms1 chain_backwards; }
while ! stopped; do
	[ $(($(now) - began)) -lt $((lease * 1000 + $(slow 8) * 1000)) ] ||
	    die "kms1 still gives keys after $(($(now) - began)) ms"
	sleep 0.2
done
held "one alone gives no keys after $(($(now) - began)) ms"
for n in kms0 kms2; do leased $n && within 5 gives_keys $n || die "$n has no lease"; done
# The others have raised the floor above its block by now, or soon.
frozen=$(page kms1 | jq .chain.block_number)
raised() { says kms0 ".cluster.chain_floor > ${frozen:-0}"; }
[ "$frozen" != null ] || frozen=0
within 60 raised
quiet "$kmsctl" sim stop "$c" kms1
"$kmsctl" sim start "$c" kms1 >/dev/null 2>&1 || true &
starters=$!
behind() { says kms1 '.chain.error == "chain_backwards"'; }
within 40 behind
for _ in 1 2 3 4 5; do ! gives_keys kms1 || die "kms1 gives keys"; done
held "restarted, it takes the floor of the others and gives none"
lie none kms1
within 40 leased kms1
within 20 gives_keys kms1
wait $starters || true
held "and is back"

silent() { refuses kms2 chain_lease || refuses kms2 chain_backwards; }

# ---- the leader alone --------------------------------------------------------------
lead_by kms2
sum() { echo $(($(metric_of kms0 kms_checkins_sent_total) + $(metric_of kms1 kms_checkins_sent_total))); }
sent=$(sum)
lie past kms2
began=$(now)
while [ $(($(now) - began)) -lt $((lease * 1500)) ]; do
	for n in kms0 kms1; do
		leased $n && within 5 gives_keys $n || die "$n has no lease"
	done
	sleep 0.5
done
[ "$(sum)" -gt "$sent" ] || die "nobody else has brought a batch"
within 20 silent
! gives_keys kms2 || die "the blinded leader gives keys"
held "a blinded leader: it gives none, the others check in without it"
lie none kms2
within 40 leased kms2
within 20 gives_keys kms2
held "and it is back"
