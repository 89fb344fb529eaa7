# tests/e2e/witness.sh: sourced by scenarios of a cluster of three in $work/c.
# Asks its nodes what they say, waits, and keeps a counter that is the witness:
# each increment names the value before it, so one that was lost or done twice
# shows.
. "$(dirname -- "${BASH_SOURCE[0]}")/scenario.sh"
c=$work/c
# Polling hides what is said; what ends the test is said all the same.
exec 3>&1
die() {
	echo "not ok - $*" >&3
	exit 1
}
extra=() # processes beside the cluster
undo() { :; } # what else a scenario must take back
cleanup() {
	local rc=$? p
	exec >&3
	for p in "${extra[@]}"; do kill -KILL "$p" 2>/dev/null || true; done
	for p in kms0 kms1 kms2; do signal CONT $p 2>/dev/null || true; done
	undo || true
	return "$rc"
}
# shellcheck disable=SC2015 # finish looks at what cleanup returns, and exits
trap 'cleanup && finish || finish' EXIT

now() { date +%s%3N; }
pid_of() { awk '{ print $1 }' "$c/run/$1.pid"; }
# SIGNAL NODE: a node and its keeper are one process group; who is asked to end
# is the keeper.
signal() {
	case $1 in
	TERM) kill -TERM "$(pid_of "$2")" ;;
	*) kill -"$1" -- "-$(pid_of "$2")" ;;
	esac
}
admin() {
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) |
	    "http://127.0.0.1:\(.admin_port)"' "$c/sim.json"
}
port_of() {
	jq -r --arg n "$1" '.nodes[] | select(.name == $n) | .listen_port' \
	    "$c/sim.json"
}
free_port() {
	node -e 'const s = require("net").createServer().listen(0,
	    "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}
page() { curl -sf -m 3 "$(admin "$1")/status"; }
says() { page "$1" | jq -e "$2" >/dev/null; } # NODE jq-expression
# Time limits are those of a machine with nothing else to do.
slow() { # N: as much more as there is to do for each processor
	echo $(($1 * $(awk -v n="$(nproc)" '{ printf "%d", 1 + $1 / n }' \
	    /proc/loadavg)))
}
# within SECONDS command...: polls; the words only if it fails.
within() {
	local end=$(($(now) + $(slow "$1") * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now)" -lt $end ] || { "$@" || die "never: $*"; return 0; }
		sleep 0.1
	done
}
probe() { "$kmsctl" sim probe "$c" "$@" --json 2>/dev/null || true; }
field() { jq -r ".$1 // empty"; }
leader() { # of those that a quorum confirms
	local n
	for n in kms0 kms1 kms2; do
		! says $n '.cluster.fresh and .cluster.leader == .slot' \
		    2>/dev/null || { echo $n; return 0; }
	done
	return 1
}
find_leader() { within 30 leader; leader; }
others() { for n in kms0 kms1 kms2; do [ $n = "$1" ] || echo $n; done; }
other() { others "$1" | sed -n 1p; }
all_ready() {
	local n
	for n in kms0 kms1 kms2; do
		says $n '.phase == "ready" and .cluster.fresh and
		    .cluster.voters == 3' || return 1
	done
}
lead_by() { # NODE: until it leads
	local l
	for _ in $(seq 12); do
		l=$(find_leader)
		[ "$l" != "$1" ] || return 0
		signal STOP "$l"
		within 30 leader
		signal CONT "$l"
		within 30 all_ready
	done
	die "$1 does not become the leader"
}
agree() { # one state on all three
	all_ready && [ "$(for n in kms0 kms1 kms2; do
		page $n | jq -c '[.digest, .digest_index]'
	done | sort -u | wc -l)" = 1 ]
}

# The counter.  `acked` is what a client was told last; `unknown` is 1 if an
# increment since then may be in.  Each names `acked`, so one is the most.
acked=0 unknown=0
count_at() { # NODE [TIMEOUT_MS]: one increment; fails if it was refused
	local a v
	a=$(probe "$1" increment --expected "$acked" --timeout "${2:-8000}")
	case $(field ok <<<"$a"):$(field reason <<<"$a") in
	true:*)
		v=$(field value <<<"$a")
		if [ "$(jq .matched <<<"$a")" = true ]; then
			[ "$v" -eq $((acked + 1)) ] || die "$acked, then $v"
		else
			# An unknown one is in, perhaps; nothing else may be.
			[ "$v" -ge "$acked" ] &&
			    [ "$v" -le $((acked + unknown)) ] ||
			    die "the counter is $v, a client was told $acked"
		fi
		acked=$v unknown=0
		;;
	*:not_ready | *:no_leader | *:not_member | *:fenced | *:busy) return 1 ;;
	*:contract_* | *:chain_* | *:self_denied | *:evicted) return 1 ;;
	*) # not known, or nobody answered
		unknown=1
		return 1
		;;
	esac
}
count_any() { # NODE...
	local n
	for n; do ! count_at "$n" || return 0; done
	return 1
}
count() { # N NODE...
	local i n=$1
	shift
	for i in $(seq "$n"); do within 30 count_any "$@"; done
}
reads_at() { # NODE: has all that was acknowledged
	local v
	v=$(probe "$1" read | field value)
	[ -n "$v" ] && [ "$v" -ge "$acked" ] &&
	    [ "$v" -le $((acked + unknown)) ]
}
whole() { # what...: all are back, agree, and nothing is lost
	local n
	within 60 all_ready
	within 30 count_any kms0 kms1 kms2
	within 30 agree
	for n in kms0 kms1 kms2; do
		within 20 reads_at $n
	done
	held "$* (counter $acked)"
}
