#!/usr/bin/env bash
# Goal of this test: what a host can do with the disks of a cluster is refused,
# each attack for its own reason (raft-nng-rollback.md, T6 to T14 and T18), on
# real processes with real LMDB folders that are copied and restored.  Two
# clusters are attacked at once: most of the time is waiting for the chain.
. "$(dirname -- "$0")/scenario.sh"

disks='one-disk-back all-disks-back newest-off not-the-best-disk too-few-disks'
others='second-genesis wrong-slot fork-running cold-start-while-alive
    stale-snapshot replayed-messages forgotten-vote two-cold-starts
    cold-start-while-cut-off'

# attack DIR NAME...: one after the other; each leaves NAME.json behind.
attack() {
	local dir=$1 name rc=0
	shift
	"$kmsctl" sim init "$dir" && "$kmsctl" sim up "$dir" || return
	for name; do
		"$kmsctl" sim attack "$dir" "$name" --json >"$work/$name.json" ||
		    rc=1
	done
	return $rc
}

for name in $disks $others; do echo "$name"; done | sort >"$work/here"
mkdir "$work/nowhere"
"$kmsctl" sim attack "$work/nowhere" list --json | jq -r '.attacks[].attack' |
    sort >"$work/there"
rmdir "$work/nowhere"
diff "$work/here" "$work/there" >&2 || die "not all attacks are run here"

# shellcheck disable=SC2086 # lists of words
{
	attack "$work/a" $disks >"$work/a.log" 2>&1 &
	first=$!
	attack "$work/b" $others >"$work/b.log" 2>&1 && second=0 || second=$?
	wait $first && first=0 || first=$?
}
cat "$work/a.log" "$work/b.log" >&2

rc=0
check() { # description command...
	local what=$1
	shift
	if "$@"; then
		echo "ok - $what"
	else
		echo "not ok - $what"
		rc=1
	fi
}
# refused ATTACK REASON [BY [DETAIL]]: somebody gave that reason.
refused() {
	jq -e --arg r "$2" --arg by "${3:-}" --arg d "${4:-}" '.attacks[0] |
	    .result == "refused" and any(.refusals[]; .reason == $r and
	    (.by | test($by)) and (.detail | test($d)))' \
	    "$work/$1.json" >/dev/null
}
noted() { # ATTACK PATTERN
	jq -e --arg p "$2" 'any(.attacks[0].notes[]; test($p))' \
	    "$work/$1.json" >/dev/null
}

check 'T6 one disk back, one node off: nobody serves' \
    refused one-disk-back not_ready
check 'T6 two of three disks are too few to recover from' \
    refused one-disk-back disks '' '2 disks are here, 3 are needed'
check 'T6 with the newest one there, the old one is not it' \
    refused one-disk-back not_best
check 'T7 all disks back: below the anchor' \
    refused all-disks-back rollback '' 'anchor is at [0-9]+, this disk ends'
check 'T7 nobody serves meanwhile' refused all-disks-back not_ready
check 'T7 back to the anchor: the generation tells' \
    noted all-disks-back 'generation [0-9]+'
check 'T8 two back: too few without the newest' refused newest-off disks
check 'T8 the newest returns: its own history is cut' \
    refused newest-off disk_cut
check 'T9 fork of a live slot stays outside' \
    refused fork-running slot_alive kms
check 'T9 and gives nothing' refused fork-running not_ready -copy
check 'T10 a second network with a copy of every disk: vetoed' \
    refused cold-start-while-alive vetoed
check 'T10 and it gives nothing' \
    refused cold-start-while-alive not_ready -copy
check 'T11 a store of two ages is none' refused stale-snapshot corrupt
check 'T11 an older store is a prefix' noted stale-snapshot beginning
check 'T11 T2 a forgotten vote: another life, without one' \
    refused forgotten-vote not_member
check 'T11 T2 the other node cannot be elected by it' \
    refused forgotten-vote no_leader
check 'T12 second genesis: by the node' refused second-genesis genesis_done
check 'T12 second genesis: by the anchor' refused second-genesis \
    contract_other anchor 'Cluster exists already'
check 'T13 not the best head' refused not-the-best-disk not_best
check 'T13 fewer than P heads' refused too-few-disks disks
check 'T13 two racing: the anchor refuses the first' refused two-cold-starts \
    contract_other anchor 'No order names it'
check 'T13 T18 cut off from the chain: silent before the next opens' \
    refused cold-start-while-cut-off fenced
check 'T13 and it ends once it sees the next' \
    refused cold-start-while-cut-off generation
check 'T14 an evicted life returns: it ends' refused replayed-messages evicted
check 'T14 and its next one stays outside' \
    refused replayed-messages slot_alive
check 'T26 right measurement, wrong slot' refused wrong-slot seat
check 'every attack was refused' test "$first$second" = 00
[ $rc -eq 0 ] || echo "# narratives: $work/a.log $work/b.log" >&2
exit $rc
