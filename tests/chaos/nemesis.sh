# tests/chaos/nemesis.sh: sourced.  What a bad host, or a bad day, does to the
# nodes of a simulated cluster, and whether it has become well again.
#
# A node that is killed or drained has lost its incarnation for good, so a
# majority stays honest only if one at a time is gone: the next one goes when
# all are voters again.  Freezing costs nobody an incarnation: any number may
# freeze at any time.
#
# Needs B, the folder of the programs.

declare -A admin_port
nemesis_nodes() { # dir
	lab=$1
	nodes=()
	while read -r name port; do
		nodes+=("$name")
		admin_port[$name]=$port
	done < <(jq -r '.nodes[] | "\(.name) \(.admin_port)"' "$lab/sim.json")
}

# Pid files hold pid and start time; one is read only for a program that this
# script has just seen running, and that nobody else ends.
pid_of() { cut -d' ' -f1 "$lab/run/$1.pid" 2>/dev/null; }
runs() { # node: does it?
	local pid
	pid=$(pid_of "$1") && [ -n "$pid" ] && [ -d "/proc/$pid" ] &&
	    ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null
}
node_status() { curl -sf -m "${2:-2}" "http://127.0.0.1:${admin_port[$1]}/status"; }
node_signal() { # signal node: it and its keeper are one process group
	local pid
	pid=$(pid_of "$2") && [ -n "$pid" ] && kill "-$1" -- "-$pid" 2>/dev/null
}
thaw_all() {
	local n
	for n in "${nodes[@]:-}"; do
		[ -z "$n" ] || node_signal CONT "$n"
	done
}
states() {
	local n
	for n in "${nodes[@]}"; do
		node_status "$n" | jq -c '{slot, phase, digest_index,
		    cluster: (.cluster | {phase, term, leader, commit, voters,
		    learners, fenced, waiting})}' 2>/dev/null ||
		    echo "$n does not answer"
	done
}

# A voter of the whole cluster, with its keys.
is_ready() { # node
	node_status "$1" 1 | jq -e --argjson n "${#nodes[@]}" '.phase == "ready"
	    and .cluster.voters == $n and .cluster.learners == 0
	    and .cluster.fresh' >/dev/null 2>&1
}

# Starts what has ended by itself, as systemd would, and tells it.
revived=0
revive() {
	local n
	for n in "${nodes[@]}"; do
		runs "$n" && continue
		revived=$((revived + 1))
		said "$n had ended: $(tail -n 1 "$lab/log/$n.log")"
		start "$n"
	done
}
all_ready() { # seconds
	local end=$((SECONDS + $1)) n ok
	while :; do
		ok=1
		for n in "${nodes[@]}"; do
			is_ready "$n" || { ok=0; break; }
		done
		[ "$ok" -eq 0 ] || return 0
		[ "$SECONDS" -lt "$end" ] || return 1
		revive
		sleep 0.1
	done
}

# All nodes must be seen at one index with one digest; at no index with two.
same_state() { # seconds
	local end=$((SECONDS + $1)) n all
	local -A seen=() count=()
	while [ "$SECONDS" -lt "$end" ]; do
		for n in "${nodes[@]}"; do
			read -r index digest < <(node_status "$n" |
			    jq -r '"\(.digest_index) \(.digest)"')
			[ -n "${digest:-}" ] || continue
			if [ "${seen[$index]:-$digest}" != "$digest" ]; then
				echo "two states at index $index"
				return 1
			fi
			seen[$index]=$digest
			count[$index]="${count[$index]:-} $n"
			all=$(tr ' ' '\n' <<<"${count[$index]}" | sort -u | grep -c .)
			[ "$all" -lt "${#nodes[@]}" ] || return 0
		done
		sleep 0.1
	done
	return 1
}

# ---- what it does ----------------------------------------------------------

said() { echo "$(date +%T.%3N) $*" >>"$nemesis_log"; }
# No subshells around these: one would draw from a sequence of its own.
between() { # low high: milliseconds, at most 32768 apart; sets R, in seconds
	R=$(($1 + RANDOM % ($2 - $1)))
	R=$((R / 1000)).$(printf '%03d' $((R % 1000)))
}
nap() { # low high
	between "$1" "$2"
	sleep "$R"
}
left_ms() { echo $((nemesis_end - $(date +%s%3N))); }
pick() { # a node, the leader every other time; sets N
	local n leader
	N=${nodes[RANDOM % ${#nodes[@]}]}
	[ $((RANDOM % 2)) -eq 0 ] || return
	for n in "${nodes[@]}"; do
		leader=$(node_status "$n" 1 | jq -r .cluster.leader)
		[ -z "$leader" ] || { N=$leader; return; }
	done
}
nemesis_spare= # a node that never dies, only freezes
pick_victim() {
	pick
	while [ "$N" = "$nemesis_spare" ]; do pick; done
}
start() { # node; waits until it is ready, with a bound of its own
	"$B/kmsctl" sim start "$lab" "$1" >>"$nemesis_log" 2>&1
}

do_kill() {
	local n
	all_ready 10 || return
	pick_victim
	n=$N
	said "kill $n"
	node_signal KILL "$n"
	nap 0 800
	start "$n"
}
do_term() {
	local n
	all_ready 10 || return
	pick_victim
	n=$N
	said "term $n"
	"$B/kmsctl" sim stop "$lab" "$n" >>"$nemesis_log" 2>&1
	nap 0 300
	start "$n"
}
do_freeze() { # how many
	local n frozen=() most t
	most=$(left_ms)
	most=$((most < 8000 ? most : 8000))
	[ "$most" -gt 400 ] || return
	while [ "${#frozen[@]}" -lt "$1" ]; do
		pick
		[[ " ${frozen[*]} " = *" $N "* ]] || frozen+=("$N")
	done
	# Mostly short, now and then as long as there is time.
	[ $((RANDOM % 3)) -eq 0 ] || most=$((most < 2000 ? most : 2000))
	between 200 "$most"
	t=$R
	said "freeze ${frozen[*]} for $t s"
	for n in "${frozen[@]}"; do node_signal STOP "$n"; done
	sleep "$t"
	for n in "${frozen[@]}"; do node_signal CONT "$n"; done
}
do_blink() { # the same node, several times in a row
	local n i
	pick
	n=$N
	said "blink $n"
	for ((i = 0; i < 4; i++)); do
		node_signal STOP "$n"
		nap 50 600
		node_signal CONT "$n"
		nap 10 200
	done
}
# A node dies while another is frozen: nobody serves until that one thaws.
do_kill_beside_frozen() {
	local n other
	all_ready 10 || return
	pick_victim
	n=$N
	while other=${nodes[RANDOM % ${#nodes[@]}]}; [ "$other" = "$n" ]; do :; done
	said "kill $n while $other is frozen"
	node_signal STOP "$other"
	nap 0 200
	node_signal KILL "$n"
	nap 200 1200
	node_signal CONT "$other"
	start "$n"
}

nemesis() { # seed seconds log
	nemesis_log=$3
	RANDOM=$(($1 % 32749))
	nemesis_end=$(($(date +%s%3N) + $2 * 1000))
	: >"$nemesis_log"
	nap 100 500
	while [ "$(left_ms)" -gt 500 ]; do
		case $((RANDOM % 13)) in
		0 | 1 | 2) do_kill ;;
		3) do_term ;;
		4 | 5 | 6) do_freeze 1 ;;
		7 | 8) do_freeze 2 ;;
		9) do_freeze "${#nodes[@]}" ;;
		10 | 11) do_blink ;;
		12) do_kill_beside_frozen ;;
		esac
		nap 50 500
	done
}
nemesis_sum() { # log: one line
	awk '$2 == "kill" { k++ } $2 == "term" { t++ } $2 == "freeze" { f++ }
	    $2 == "blink" { b++ } / had ended: / { r++ }
	    END { printf "%d killed, %d drained, %d frozen, %d blinks", k, t, f, b
	        if (r) printf ", %d ended by themselves", r }' "$1"
}
