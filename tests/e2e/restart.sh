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
