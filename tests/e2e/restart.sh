#!/usr/bin/env bash
# Goal of this test: what the cluster has promised survives the end of each
# of its processes, and of all at once; `sim up` may be run at any time.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

quiet "$kmsctl" sim init "$c"
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
root=$(root_of "$c")
key=$(key_of "$c" web some/path)

# Every process of ours is confined (node/harden): the keeper of a node, its
# worker, and the agent, whoever started them.
confined() { # NAME PID
	local want
	for want in 'Seccomp: 2' 'NoNewPrivs: 1' 'Umask: 0077' \
	    'CapInh: 0000000000000000' 'CapPrm: 0000000000000000' \
	    'CapEff: 0000000000000000' 'CapBnd: 0000000000000000' \
	    'CapAmb: 0000000000000000'; do
		[ "$(id -u)" = 0 ] || [ "${want%%:*}" != CapBnd ] || continue
		tr '\t' ' ' <"/proc/$2/status" | grep -qx "$want" ||
		    die "$1 ($2) lacks $want"
	done
	ignored=$(sed -n 's/^SigIgn:[[:space:]]*/0x/p' "/proc/$2/status")
	[ $((ignored & 0x1000)) -ne 0 ] || die "$1 dies of SIGPIPE"
	grep -qE '^Max core file size +0 +0' "/proc/$2/limits" ||
	    die "$1 can dump core"
}
for n in kms0 kms1 kms2 web; do
	read -r pid _ <"$c/run/$n.pid"
	confined $n "$pid"
	[ $n != web ] || continue
	read -r worker _ <<<"$(cat "/proc/$pid/task/$pid/children")"
	confined "$n's worker" "$worker"
	admin=$(jq -r --arg n $n '.nodes[] | select(.name == $n).admin_port' "$c/sim.json")
	curl -sf "http://127.0.0.1:$admin/status" | jq -e '.hardening |
	    .seccomp == "enforce" and .no_new_privs and
	    (.capabilities or .dumpable | not)' >/dev/null ||
	    die "$n does not say that it is confined"
done
"$kmsctl" doctor "$c" --json | jq -e '.findings | map(select(.code == "seccomp" or
    .code == "privileges")) == []' >/dev/null || die "the doctor finds rights"
held "every process is confined, and says so"

# On a running cluster `sim up` changes nothing.
before=$("$kmsctl" sim status "$c" --json | jq -c .processes)
quiet "$kmsctl" sim up "$c"
[ "$("$kmsctl" sim status "$c" --json | jq -c .processes)" = "$before" ] ||
    die "sim up restarted something"
held "sim up on a running cluster changes nothing"

# Each node in turn, killed and back.
for n in kms0 kms1 kms2; do
	quiet "$kmsctl" sim kill "$c" $n
	[ "$(state_of "$c" $n)" = stopped ] || die "$n still runs"
	quiet "$kmsctl" sim start "$c" $n
done
[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key"
held "each node was killed and came back; the same key"

# All at once, orderly.
quiet "$kmsctl" sim down "$c"
for n in chain pccs kms0 kms1 kms2 web; do
	[ "$(state_of "$c" $n)" = stopped ] || die "$n still runs"
done
quiet "$kmsctl" sim up "$c"
[ "$(root_of "$c")" = "$root" ] || die "another root"
quiet "$kmsctl" sim start "$c" web
[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key after down"
held "all were stopped and started; the same root and key"

# All nodes at once, by SIGKILL.
for n in kms0 kms1 kms2 web; do
	quiet "$kmsctl" sim kill "$c" $n
done
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim start "$c" web
[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key after kill"
held "all nodes were killed at once; the same key"

# Two of three by SIGKILL: the third lives on as a member of a cluster that is
# no more, and gives way to the order that names who recovers.
end=$("$kmsctl" sim status "$c" --json |
    jq -c '.processes[] | select(.name == "kms2")')
for n in kms0 kms1; do quiet "$kmsctl" sim kill "$c" $n; done
quiet "$kmsctl" sim up "$c"
[ "$("$kmsctl" sim status "$c" --json |
    jq -c '.processes[] | select(.name == "kms2")')" = "$end" ] ||
    die "kms2 was started again by somebody else"
[ "$(root_of "$c")" = "$root" ] || die "another root after two were killed"
[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key after two were killed"
held "two of three were killed; the third gave way; the same key"
