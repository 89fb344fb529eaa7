#!/usr/bin/env bash
# Goal of this test: the protocols of rotation and of joining keep what
# README.md promises, in every order of events that the models know; and each
# guard is needed: without it the property that it is there for breaks.
#
# usage: tests/model/run.sh [small | all | NAME...]     small: without the
#     largest searches; a name: that case alone
#
# Prints TAP.  A search that does not end, that runs out of depth or memory, or
# a transition that no search reaches, is a failure.  MODEL_KEEP=1 leaves the
# directory with the sources, the programs and the trails behind.
set -uo pipefail
cd "$(dirname -- "${BASH_SOURCE[0]}")" || exit 1
here=$PWD
work=$(mktemp -d) || exit 1
[ "${MODEL_KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
memory_mb=1900
optimize=-O1 # compiling takes longer than most searches
depth=20000
failed=0
size=${1:-all}
only=" $* "
case $size in small | all) only="  " ;; esac
large=" rotation_live2 retry restart2 fork2 "
declare -A reached

labels() { # model: the transitions, each with its file and line
	grep -nHoE '^[A-Za-z_]+:' "$1"*.pml |
	    sed -E 's/^([^:]+:[0-9]+):([A-Za-z_]+):/\2 \1/' | grep -v '^end '
}

# search name model mode defines...: 0 if the program ran; its words are in out
search() {
	local dir=$work/$1 model=$2 mode=$3 gcc run
	shift 3
	mkdir -p "$dir" && cp "$model"*.pml "$dir" && cd "$dir" || return 1
	case $mode in
	safety) gcc="-DSAFETY -DNOCLAIM" run= ;;
	liveness) gcc="-DNFAIR=4" run="-a -f" ;;
	esac
	# shellcheck disable=SC2086
	spin -a "$@" "$model.pml" >spin.out 2>&1 &&
	    ! grep -qi 'error' spin.out &&
	    gcc $optimize -w -DMEMLIM=$memory_mb $gcc -o pan pan.c \
	    >gcc.out 2>&1 || { cat spin.out gcc.out 2>/dev/null; cd "$here"; return 1; }
	# shellcheck disable=SC2086
	nice timeout 600 ./pan -m$depth $run >out 2>&1
	cd "$here" || return 1
}

complete() { # file: is this the whole state space?
	grep -q 'errors: ' "$1" && ! grep -qE \
	    'max search depth|out of memory|resource limit|not completed|aborting' "$1"
}

numbers() { # file
	sed -nE 's/^ *([0-9]+) states, stored.*/\1 states/p;
	    s/.*elapsed time ([0-9.]+) seconds.*/\1 s/p;
	    s/^ *([0-9]+)[0-9.]*.total actual memory.*/\1 MB/p' "$1" |
	    paste -sd, | sed 's/,/, /g'
}

chosen() { # name
	case $only in
	"  ") [ "$size" != small ] || case $large in *" $1 "*) return 1 ;; esac ;;
	*" $1 "*) ;;
	*) return 1 ;;
	esac
}

bad() { # name why
	echo "not ok - model $1: $2"
	grep -E 'pan:|errors:|Warning' "$work/$1/out" 2>/dev/null | head -8 | sed 's/^/#   /'
	echo "#   again: MODEL_KEEP=1 tests/model/run.sh $1"
	failed=1
}

# holds name model mode defines...: nothing breaks, and all was searched
holds() {
	local out=$work/$1/out label line model=$2 # line: file:line
	chosen "$1" || return
	search "$@" || { bad "$1" "did not build"; return; }
	if ! grep -q 'errors: 0' "$out"; then
		bad "$1" "$(grep -m1 'pan:1:' "$out" || echo 'an error')"
		return
	elif ! complete "$out"; then
		bad "$1" "the search is not complete"
		return
	fi
	cpp -P "${@:4}" "$model.pml" >"$work/text" 2>/dev/null
	while read -r label line; do
		grep -qw "$label:" "$work/text" &&
		    ! grep -qE "^.$line, state" "$out" &&
		    reached[$model.$label]=1
	done < <(labels "$model")
	echo "ok - model $1 holds: $(numbers "$out")"
}

# breaks name property model mode defines...: as it must, without a guard
breaks() {
	local name=$1 property=$2 out=$work/$1/out want
	shift 2
	chosen "$name" || return
	optimize=-O0 search "$name" "$@" ||
	    { bad "$name" "did not build"; return; }
	case $2 in
	safety) want="assertion violated  *!\(\(?$property\)?\)" ;;
	liveness) want='acceptance cycle' ;;
	esac
	if grep -qE "$want" "$out"; then
		echo "ok - model $name breaks $property: $(numbers "$out")"
	else
		bad "$name" "does not break $property"
	fi
}

# README.md, "Cases": the defines are budgets, or take a guard away.
holds  crash       rotation safety -DCRASHES=1 -DEXPIRIES=1 -DROOTS=2
holds  holders     rotation safety -DCRASHES=2 -DEXPIRIES=1 -DROOTS=1 -DATTEMPTS=1
holds  retry       rotation safety -DCRASHES=1 -DROOTS=2 -DLEADERS=1 -DRETRY_AT_WILL
holds  veto        rotation safety -DVETOES=1 -DROOTS=2 -DRETRY_AT_WILL
holds  withdraw    rotation safety -DWITHDRAWALS=1 -DROOTS=2 -DLEADERS=1
holds  cold_start  rotation safety -DCOLD_STARTS=1 -DREORGS=1 -DROOTS=2
holds  old_epoch   rotation safety -DOLD_EPOCH_ENDS -DCRASHES=2 -DROOTS=1 -DATTEMPTS=1
holds  thief       rotation safety -DTHIEF -DROOTS=2
holds  emergency   rotation safety -DTHIEF -DTHIEF_HAS_SIGNER -DEMERGENCY -DROOTS=2
holds  rotation_live  rotation liveness -DCRASHES=1 -DROOTS=2 -DLEADERS=1
holds  rotation_live2 rotation liveness -DCRASHES=1 -DROOTS=3
holds  emergency_live rotation liveness -DTHIEF -DTHIEF_HAS_SIGNER -DEMERGENCY -DROOTS=2 -DLEADERS=1

breaks no_quorum        quorum_of_holders  rotation safety -DNO_QUORUM_CHECK -DROOTS=2
breaks no_first_wins    published_is_known rotation safety -DNO_FIRST_EPOCH_WINS -DROOTS=2
breaks no_anchor_wait   published_is_known rotation safety -DNO_ANCHOR_WAIT -DCOLD_STARTS=1 -DROOTS=2
breaks no_order_signed  published_is_known rotation safety -DNO_ORDER_IN_DIGEST -DWITHDRAWALS=1 -DROOTS=2 -DLEADERS=1
breaks no_holders_age   holder_alive       rotation safety -DNO_HOLDERS_AGE -DCRASHES=2 -DEXPIRIES=1 -DROOTS=1 -DATTEMPTS=1
breaks no_handover_log  handover_unlogged  rotation safety -DNO_HANDOVER_LOG -DROOTS=2
breaks no_state_check   one_root           rotation safety -DNO_ORDERED_CHECK -DVETOES=1 -DROOTS=2 -DRETRY_AT_WILL
breaks ledger_alone     release_other_root rotation safety -DNODE_TRUSTS_LEDGER -DCRASHES=1 -DROOTS=2 -DRETRY_AT_WILL
breaks release_any      release_destroyed  rotation safety -DRELEASE_IGNORES_STATE -DOLD_EPOCH_ENDS -DROOTS=1 -DATTEMPTS=1
breaks disk_has_keys    stays_destroyed    rotation safety -DJOIN_BELIEVES_DISK -DOLD_EPOCH_ENDS -DCRASHES=1 -DROOTS=1 -DATTEMPTS=1
breaks no_cluster_key   stolen_root        rotation safety -DTHIEF -DNO_CLUSTER_SIGNATURE -DROOTS=1 -DATTEMPTS=1
breaks no_second_vote   stolen_root        rotation safety -DTHIEF -DTHIEF_HAS_SIGNER -DEMERGENCY -DNO_SECOND_VOTE -DROOTS=1 -DATTEMPTS=1
breaks drops_attempts   published_is_known rotation safety -DDROPS_ATTEMPTS -DROOTS=2 -DRETRY_AT_WILL -DLEADERS=1
breaks ordered_alone    eventually_active  rotation liveness -DTHIEF -DTHIEF_HAS_SIGNER -DEMERGENCY -DROOTS=2 -DLEADERS=1 -DORDERED_ALONE
breaks no_retry         eventually_active  rotation liveness -DCRASHES=1 -DROOTS=2 -DLEADERS=1 -DNO_RETRY

holds  raft        join safety -DBOOTS=0 -DTERMS=4 -DENTRIES=3 -DCRASHES=0 -DINCREMENTS=0
holds  restart     join safety -DTERMS=2 -DENTRIES=6 -DINCREMENTS=0
holds  restart2    join safety -DTERMS=2 -DENTRIES=6
holds  restart_1   join safety -DTERMS=1 -DENTRIES=7
holds  fork        join safety -DTERMS=2 -DENTRIES=6 -DCUTS=1 -DCRASHES=0 -DINCREMENTS=0
holds  fork2       join safety -DTERMS=2 -DENTRIES=6 -DCUTS=1 -DINCREMENTS=0
holds  evicted     join safety -DTERMS=1 -DENTRIES=6 -DCUTS=2 -DCRASHES=0 -DINCREMENTS=0
holds  two_joiners join safety -DTERMS=1 -DENTRIES=8 -DBOOTS=2 -DCRASHES=2 -DINCREMENTS=0
holds  join_live   join liveness -DLIVENESS -DTERMS=2 -DENTRIES=7

breaks disk_votes      one_vote          join safety -DJOIN_BELIEVES_DISK -DRESTORES=1 -DBOOTS=0 -DENTRIES=3 -DCRASHES=0
breaks disk_forgets    committed_lost    join safety -DJOIN_BELIEVES_DISK -DRESTORES=1 -DBOOTS=0 -DENTRIES=3 -DCRASHES=0 -DIGNORE_VOTES
breaks no_evict_wait   live_evicted      join safety -DNO_EVICT_WAIT -DTERMS=1 -DENTRIES=6
breaks promote_first   one_voter_of_slot join safety -DPROMOTE_FIRST -DTERMS=1 -DENTRIES=6
breaks promote_blind   blind_voter       join safety -DPROMOTE_BLIND -DTERMS=1 -DENTRIES=6
breaks no_gate         one_leader        join safety -DNO_GATE -DTERMS=2 -DENTRIES=6 -DCUTS=1 -DCRASHES=0 -DINCREMENTS=0
breaks old_terms       committed_lost    join safety -DCOMMITS_OLD_TERMS -DBOOTS=0 -DTERMS=4 -DENTRIES=3 -DCRASHES=0 -DINCREMENTS=0
breaks knock_once      eventually_voter  join liveness -DLIVENESS -DKNOCK_ONCE -DTERMS=2 -DENTRIES=7

# A transition that never happens proves nothing.
if [ "$only" = "  " ]; then
	never=
	for m in rotation join; do
		for label in $(labels $m | cut -d' ' -f1 | sort -u); do
			[ "${reached[$m.$label]:-}" ] || never="$never $m.$label"
		done
	done
	if [ -z "$never" ]; then
		echo "ok - model: ${#reached[@]} transitions, each is reached"
	else
		echo "not ok - model: never reached:$never"
		failed=1
	fi
fi
[ "${MODEL_KEEP:-}" ] && echo "# $work"
exit $failed
