#!/usr/bin/env bash
# Goal of this test: what endpoints of the chain say that is not so changes
# nothing (raft-nng-rollback.md T13).  In mode quorum each node asks three, two
# must agree; liars_proof.sh is about mode proof.
# One that lies is named in the log, and that is all; two that do not agree, or
# that agree on what is old, are silence in time, and the cluster goes on when
# they are honest again.  Two that tell the same lie are the quorum that nodes
# trust in that mode: whatever they say, nobody is told a false count or given a key that the
# contract took back.
. "$(dirname -- "$0")/witness.sh"

quiet "$kmsctl" sim init "$c" --chain-mode quorum
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
count 3 kms0 kms1 kms2

lie() { # ENDPOINT LIE
	curl -sf -m 10 "http://127.0.0.1:${ports[$1]}/lie/$2" >/dev/null ||
	    die "the endpoint does not take $2"
}
lives() { # who is who, and which state all of them have anchored
	for n in kms0 kms1 kms2; do
		page $n | jq -c '[.cluster.generation, .cluster.anchor.index,
		    (.cluster.nodes[] | [.slot, .incarnation])]'
	done
}
same_lives() { [ "$(lives)" = "$before" ]; }
named() { # ENDPOINT: each node's log
	for n in kms0 kms1 kms2; do
		grep -q "event=endpoint_outvoted.*127.0.0.1:${ports[$1]}" \
		    "$c/log/$n.log" || return 1
	done
}
nobody_else_named() { # ENDPOINT
	local i
	for i in 0 1 2; do
		[ "$i" = "$1" ] || ! grep -h 'event=endpoint_outvoted' \
		    "$c"/log/kms*.log | grep -q ":${ports[$i]}" || return 1
	done
}
gives_keys() { [ "$(probe "$1" keys | field ok)" = true ]; }
well() { # NODE
	says "$1" '.phase == "ready" and (.cluster.fenced | not) and
	    .cluster.fresh and .cluster.voters == 3'
}
# A lie that matters is told until the end, and so does the silence last.
serves_for() { # SECONDS: all that time; more than fence_s, 9
	local end=$(($(now) + $1 * 1000)) n
	while [ "$(now)" -lt $end ]; do
		for n in kms0 kms1 kms2; do within 5 well $n; done
		sleep 0.3
	done
}
silent() { # all of them, for keys and counters
	local n
	for n in kms0 kms1 kms2; do
		says $n '.cluster.fresh | not' || return 1
	done
}
nothing_is_given() { # sets `why`; not in a subshell, as it may count
	local n a
	for n in kms0 kms1 kms2; do
		a=$(probe $n keys --timeout 3000)
		[ "$(field ok <<<"$a")" != true ] || die "$n gave keys"
		a=$(probe $n read --timeout 3000)
		[ "$(field ok <<<"$a")" != true ] || die "$n read a counter"
		count_at $n 3000 && die "$n counted" || true
	done
	why=$(field reason <<<"$a")
}

# ---- all are honest --------------------------------------------------------------
within 30 all_ready
before=$(lives)
! grep -q 'event=endpoint_outvoted' "$c"/log/kms*.log ||
    die "an honest endpoint is named"
held "three honest endpoints: nobody is named"

# ---- one lies --------------------------------------------------------------------
for lie in index/5 generation/1; do
	lie 1 $lie
	within 20 named 1
	serves_for 12
	for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
	count 2 kms0 kms1 kms2
	within 10 same_lives
	nobody_else_named 1 || die "an honest endpoint is named"
	held "T13 one of three says $lie of the anchor: it is named, nothing else"
	lie 1 none
	agreed() {
		for n in kms0 kms1 kms2; do
			grep -q 'event=endpoints_agree' "$c/log/$n.log" || return 1
		done
	}
	within 20 agreed
	for n in kms0 kms1 kms2; do : >"$c/log/$n.log"; done
done
lie 2 old
serves_for 12
count 2 kms0 kms1 kms2
within 10 same_lives
held "T13 one of three does not see new blocks: nothing changes"
lie 2 none

# ---- two lie, each in its own way --------------------------------------------------
lie 0 index/5
lie 1 index/7
within 30 silent
nothing_is_given
held "T13 two of three lie, differently: silence ($why)"
lie 0 none
lie 1 none
whole "they are honest again: all serve, with what was under way"
within 10 same_lives
held "and it is the same lives, at the same anchor"

# ---- two do not see new blocks -----------------------------------------------------
app=$(jq -r '.apps[] | select(.name == "witness") | .app_id' "$c/sim.json")
hash=$(jq -r '.apps[] | select(.name == "witness") | .compose_hash' \
    "$c/sim.json")
lie 0 old
lie 2 old
t=$(now) # the nodes cannot see it: nothing to wait for
quiet "$kmsctl" app disallow "$app" compose "$hash" --sim "$c"
within 30 silent
t=$(($(now) - t))
nothing_is_given
held "T13 two of three show an old chain: silence after $t ms ($why)"
lie 0 none
lie 2 none
refused() { [ "$(probe "$1" keys | field reason)" = contract_compose ]; }
for n in kms0 kms1 kms2; do within 60 refused $n; done
held "what was taken back meanwhile is refused once they are honest again"
quiet "$kmsctl" app allow "$app" compose "$hash" --sim "$c" --wait-final
whole "and what is allowed again is served"
within 10 same_lives

# ---- two tell the same lie ---------------------------------------------------------
# m of n are believed as a group (kms/gate/README.md).  An anchor whose
# generation is ahead ends every life: silence until operators act, never a
# wrong answer.
lie 0 generation/1
lie 1 generation/1
ended() {
	for n in kms0 kms1 kms2; do
		grep -q 'generation_passed' "$c/log/$n.log" || return 1
	done
}
within 30 ended
nothing_is_given
held "T13 two of three say the same of a later generation: silence ($why)"
lie 0 none
lie 1 none
sleep 3
nothing_is_given
held "and nothing is given by those who have no past: the operators decide ($why)"
