#!/usr/bin/env bash
# Goal of this test: memory and descriptors do not grow, and everything that
# tests/chaos/run.sh wants holds, for as long as one likes.
#
# usage: tests/chaos/soak.sh [B] HOURS [SEED]; `make soak HOURS=n`, 0.17 is ten
# minutes.
#
# Rounds of a minute (less if the whole is short): load, nemesis, judgement as in
# run.sh; an agent answers keys and counters meanwhile.  kms0 is frozen but never
# dies, so one node sees all of it in one life.  After each round, while all is
# quiet, resident memory, descriptors, threads and disk of each node and agent are
# noted.  Flat: over the rounds after warming up (a fifth, at least two), the line
# of least squares through a life's samples rises by no more than 4 MiB and 1 MiB
# an hour of memory, and 4 descriptors.  Prints the table, and TAP.
set -uo pipefail
umask 077
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.." || exit 1
B=$(cd -- "${1:-build/gcc}" && pwd) || exit 1
hours=${2:?HOURS}
seed=${3:-${CHAOS_SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}}
clients=${CHAOS_CLIENTS:-8}
runs_an_app=80 # an app may have 256 counters, a cluster 32 apps: 42 hours
. tests/chaos/lib.sh
nemesis_spare=kms0

total_s=$(awk -v h="$hours" 'BEGIN { printf "%d", h * 3600 }')
[ "$total_s" -ge 60 ] || { echo "usage: soak.sh [B] HOURS, at least 0.02"; exit 2; }
round_s=$((total_s / 20 < 60 ? total_s / 20 : 60))
[ "$round_s" -ge 6 ] || round_s=6
agent=soak

# What apps ask of an agent, until it is told to stop.
use_agent() {
	local s=$dir/apps/$agent/dstack.sock n=0
	while [ ! -e "$work/stop" ]; do
		n=$((n + 1))
		"$B/kmsctl" key /soak --socket "$s" --json >/dev/null 2>&1
		"$B/kmsctl" counter get soak --socket "$s" --json >/dev/null 2>&1
		sleep 0.2
	done
}

# name pid minutes rss-KiB descriptors threads disk-KiB
sample() {
	local n pid disk
	for n in "${nodes[@]}" "$agent"; do
		pid=$(pid_of "$n")
		# A keeper's worker is what grows, if anything does.
		read -r pid _ <<<"$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) $pid"
		[ -d "/proc/$pid/fd" ] || continue
		disk=$(du -sk "$lab/kms/$n/data" 2>/dev/null | cut -f1)
		printf '%s %s %.1f %s %s %s %s\n' "$n" "$pid" \
		    "$(awk -v s="$((SECONDS - began))" 'BEGIN { print s / 60 }')" \
		    "$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status")" \
		    "$(find "/proc/$pid/fd" -mindepth 1 | wc -l)" \
		    "$(awk '/^Threads:/ { print $2 }' "/proc/$pid/status")" \
		    "${disk:--}"
	done | tee -a "$work/samples" | sed 's/^/#   /'
}

# One line a life that was long enough; 1 if one of them grows.
verdict() {
	awk -v hours="$hours" '
	{ k = $1 " " $2; if (!(k in n)) order[++lives] = k
	  i = ++n[k]; t[k, i] = $3; rss[k, i] = $4; fd[k, i] = $5 }
	END {
		bound = 4096 + 1024 * hours
		for (l = 1; l <= lives; l++) {
			k = order[l]; w = int(n[k] / 5); if (w < 2) w = 2
			if (n[k] - w < 4) continue
			r = rise(rss, k, w); f = rise(fd, k, w)
			bad = r > bound || f > 4; any += bad
			split(k, name, " ")
			printf "%s - %s, pid %s, %d samples in %.0f min: memory %d to %d KiB, trend %+d KiB (bound %d); descriptors %d to %d, trend %+.1f (bound 4)\n",
			    bad ? "not ok" : "ok", name[1], name[2], n[k] - w,
			    t[k, n[k]] - t[k, w + 1], low(rss, k, w), high(rss, k, w),
			    r, bound, low(fd, k, w), high(fd, k, w), f
			judged++
		}
		exit any || !judged
	}
	function rise(v, k, w,   i, m, sx, sy, sxx, sxy) {
		for (i = w + 1; i <= n[k]; i++) {
			m++; sx += t[k, i]; sy += v[k, i]
			sxx += t[k, i] ^ 2; sxy += t[k, i] * v[k, i]
		}
		if (m * sxx == sx ^ 2) return 0
		return (m * sxy - sx * sy) / (m * sxx - sx ^ 2) * (t[k, n[k]] - t[k, w + 1])
	}
	function low(v, k, w,   i, x) {
		for (i = w + 1; i <= n[k]; i++) if (x == "" || v[k, i] < x) x = v[k, i]
		return x
	}
	function high(v, k, w,   i, x) {
		for (i = w + 1; i <= n[k]; i++) if (v[k, i] > x) x = v[k, i]
		return x
	}' "$work/samples"
}

echo "# soak: seed $seed, $hours h in rounds of $round_s s, $clients clients"
lab_up && lab_app "$agent" || { echo "not ok - soak: no cluster"; exit 1; }
use_agent &
user=$!
began=$SECONDS failed=0 i=0
echo "#   name pid minutes rss-KiB descriptors threads disk-KiB"
while [ $((SECONDS - began)) -lt "$total_s" ]; do
	i=$((i + 1))
	app=app$(((i - 1) / runs_an_app))
	[ -d "$dir/apps/$app" ] || lab_app "$app" ||
	    { echo "not ok - soak: no app"; failed=1; break; }
	if ! one_run "$i" $((seed + i - 1)) "$app" "$round_s" >"$work/why" 2>&1; then
		echo "not ok - soak, round $i"
		sed 's/^/# /' "$work/why" "$work/run$i.nemesis"
		states | sed 's/^/# /'
		failed=1 keep=1
		break
	fi
	echo "# round $i: $(tail -n 1 "$work/run$i.load");" \
	    "$(nemesis_sum "$work/run$i.nemesis")"
	one_run_forget "$i"
	sample
	# A day of logs would fill the disk; they are opened to append.
	for log in "$dir"/log/*.log; do : >"$log"; done
done
: >"$work/stop"
wait "$user"
[ "$failed" -eq 0 ] && echo "ok - soak: $i rounds held, load average $(cut -d' ' -f1-3 /proc/loadavg)"
verdict || failed=1
[ "$failed" -eq 0 ]
