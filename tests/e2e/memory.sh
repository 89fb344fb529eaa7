#!/usr/bin/env bash
# Goal of this test: after releases, hand-overs, certificates, a rotation of the
# root and a restart the secrets of nodes and agents are in locked pages alone, which no core and no
# swap has: not on a stack, not in the heap, not in arguments or environments.
# The nodes are of a build that says what its secrets are, and that may be
# dumped (tests/disclose); a secret that it keeps in plain memory on purpose
# shows that the search finds one.
. "$(dirname "$0")/lib.sh"
export KMS_DISCLOSE_MEMORY=1
list=$W/secrets
collect() { sort -u "$KMS_DISCLOSE_FILE" >"$list"; }
search() { # PID, or a core, and the report's name
	collect
	"$B/memsearch" "$1" "$list" >"$W/report.$2" 2>&1 || { cat "$W/report.$2"; return 1; }
}
report() { cat "$W/report.$1"; }
clean() { # report: nothing is exposed but what was planted
	local bad
	grep -q '^searched [1-9]' "$W/report.$1" || return 1
	bad=$(grep '^exposed' "$W/report.$1" | grep -v '^exposed planted ')
	[ -z "$bad" ] || { echo "$bad"; return 1; }
}
guarded() { # report name...: they were found, in locked pages
	local r=$W/report.$1 name
	shift
	for name; do grep -q "^guarded $name " "$r" || { cat "$r"; return 1; }; done
}
both() { # report: of two epochs
	local name
	for name in root_k256 root_ca wrap_key; do
		grep -qE "^guarded $name ([2-9]|[1-9][0-9])\b" "$W/report.$1" || { cat "$W/report.$1"; return 1; }
	done
}

# ---- use everything that makes or carries a key -----------------------------
ok 'sim init' ctl sim init "$D" --council 5:3
ok 'three nodes, two of which were handed their keys' ctl sim up "$D"
[ $failures -eq 0 ] || finish
ok 'an app' ctl sim app "$D" one
ok 'another' ctl sim app "$D" two
uses() {
	local i
	for i in $(seq 20); do
		key one "/path/$i" || return 1
		key two "/path/$i" || return 1
	done >>"$W/derived"
	tls >>"$W/derived"
}
tls() { # the scalar of a new key, which the agent has no more use for
	local der
	der=$(curl -sf --unix-socket "$(sock one)" http://x/GetTlsKey \
	    -H 'Content-Type: application/json' \
	    -d '{"subject":"one.example","usage_server_auth":true}' | jq -er .key |
	    sed "/---/d" | base64 -d | od -An -v -tx1 | tr -d ' \n')
	[ ${#der} -eq 276 ] && echo "${der:72:64}"
}
ok 'keys by path, and a certificate' uses
# A second root, made by one of them and handed to the others; one app moves to
# it and asks for both.
told() {
	local page
	page=$(ctl rotate status --sim "$D" --json) && jq -e "$1" <<<"$page"
}
ordered() {
	local id m
	id=$(ctl rotate order --sim "$D" --member 0 --json | jq -er .proposal) || return 1
	for m in 1 2; do ctl council vote "$id" --sim "$D" --member $m || return 1; done
	ctl sim time "$D" 1h && ctl council execute "$id" --sim "$D" --wait-final
}
data() { # app epoch
	local reply
	reply=$(ctl key data --socket "$(sock "$1")" --epoch "$2" --json) &&
	    jq -er .key <<<"$reply" >>"$W/derived"
}
moves() {
	ctl rotate pin "$(jq -er '.apps[] | select(.name == "one") | .app_id' "$D/sim.json")" \
	    1 --sim "$D" --wait-final && ctl sim restart "$D" one && data one 0 && data one 1
}
ok 'a new root is ordered' ordered
ok 'it is made, and published' eventually 90 told '.epochs[1].state == "published"'
ok 'its time to be vetoed ends' ctl sim time "$D" 3h
ok 'it is the active one' eventually 90 told '.active == 1'
ok 'an app moves to it' moves
# Two nodes start again: one that may be dumped, and one as it is shipped, both
# from a shell whose limits would let them; and so does an agent.
mkdir "$W/real"
restart() { # node program folder: cores are as the program wants them
	ctl sim stop "$D" "$1" || return 1
	(ulimit -c "$(ulimit -Hc)" && cd "$3" &&
	    exec "$2" --config "$D/kms/$1/kmsd.yaml" >>"$D/log/$1.log" 2>&1) &
	extra_pids+=" $!"
	keeper[$1]=$!
	eventually 90 status_is "$1" '.phase == "ready"' &&
	    pid[$1]=$(worker_of "${keeper[$1]}")
}
worker_of() { pgrep -P "$1"; } # a keeper
pid_of() { awk '{print $1}' "$D/run/$1.pid"; }
declare -A pid=() keeper=()
extra_pids=
restart_both() { restart kms1 "$W/bin/kmsd" "$W" && restart kms2 "$B/kmsd" "$W/real"; }
ok 'two nodes start again, and are handed their keys' restart_both
keeper[kms0]=$(pid_of kms0)
pid[kms0]=$(worker_of "${keeper[kms0]}")
for app in one two; do pid[$app]=$(pid_of $app); done
ok 'all are ready' eventually 90 all_ready
probe() { ctl sim probe "$D" "$1" keys >/dev/null; }
ok 'one of them releases keys' probe kms1
ok 'the other does' probe kms2
ok 'keys again, whoever answers' uses
# What the apps were given is to be found nowhere in their agents.
sed 's/^/derived /' "$W/derived" | sort -u >>"$KMS_DISCLOSE_FILE"

# ---- what runs ---------------------------------------------------------------
look() { # name: its memory, and what it says of itself
	local p=${pid[$1]}
	ok "$1 can be searched" search "$p" "$1"
	ok "$1 has locked memory" grep -qE '^VmLck:\s+[1-9]' "/proc/$p/status"
	report "$1" | sed "s/^/# $1: /"
}
shipped() { # name
	ok "$1, as it is shipped, has no secret outside locked pages" clean "$1"
	no "$1 has planted nothing" grep -q planted "$W/report.$1"
	ok "$1 cannot dump core" grep -qE '^Max core file size +0 +0 ' "/proc/${pid[$1]}/limits"
}
for node in kms0 kms1 kms2; do
	look $node
	ok "$node: roots, wrapping keys and those of sessions are in locked pages" \
	    guarded $node root_k256 root_ca wrap_key anchor channel_send channel_recv
	ok "$node: so are both epochs'" both $node
done
for node in kms0 kms1; do
	ok "$node: its planted secret is found" grep -q '^exposed planted 1 ' "$W/report.$node"
	ok "$node: no other is outside locked pages" clean $node
done
shipped kms2
for app in one two; do
	look $app
	ok "$app: its keys are in locked pages" \
	    guarded $app app_k256 app_env app_replica channel_send
	shipped $app
done
in_proc() { # any secret in arguments or environments of any program
	collect
	awk '{print $2}' "$list" >"$W/hex"
	! cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' |
	    grep -aiqFf "$W/hex"
}
ok 'none is among arguments, or in an environment' in_proc

# ---- a core, written by the kernel ---------------------------------------------
# A keeper ends as its worker did, and would write a core over that one's.
dies() { # name
	kill -STOP "${keeper[$1]}" && kill -ABRT "${pid[$1]}" &&
	    eventually 20 grep -q '^State:.Z' "/proc/${pid[$1]}/status" &&
	    kill -KILL "${keeper[$1]}"
}
core_of() { find "$1" -maxdepth 1 -name 'core*' -size +0 | grep .; }
ok 'kms2, as it is shipped, is told to dump core' dies kms2
no 'it has not' core_of "$W/real"
case $(ulimit -Hc):$(cat /proc/sys/kernel/core_pattern) in
0:*) echo 'ok - a core # skip: the hard limit of this shell is 0' ;;
*:core*)
	ok 'kms1, which may, is told to' dies kms1
	ok 'there is a core' core_of "$W"
	ok 'it is searched' search "$(core_of "$W" | head -1)" core
	report core | sed 's/^/# core: /'
	ok 'the planted secret is in it' grep -q '^exposed planted 1 ' "$W/report.core"
	ok 'no other is' clean core
	;;
*) echo 'ok - a core # skip: the kernel does not write them into files' ;;
esac
finish
