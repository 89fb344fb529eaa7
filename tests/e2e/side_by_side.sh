#!/usr/bin/env bash
# Goal of this test: two clusters on one machine do not meet: other roots,
# other keys, and no key of one is believed by the other.
. "$(dirname -- "$0")/scenario.sh"
a=$work/a
b=$work/b

quiet "$kmsctl" sim init "$a" --nodes 1
quiet "$kmsctl" sim init "$b" --nodes 2
"$kmsctl" sim up "$a" >"$work/said-a" 2>&1 &
quiet "$kmsctl" sim up "$b"
wait $! || die "sim up a: $(cat "$work/said-a")"
[ "$(root_of "$a")" != "$(root_of "$b")" ] || die "the same root"
quiet "$kmsctl" sim app "$a" web
quiet "$kmsctl" sim app "$b" web
[ "$(key_of "$a" web p)" != "$(key_of "$b" web p)" ] || die "the same key"
held "two clusters, started at once: other roots, other keys"

app=$("$kmsctl" sim status "$a" --json | jq -r '.apps[0].app_id')
quiet "$kmsctl" verify key --socket "$a/apps/web/dstack.sock" --path p \
    --app "$app" --sim "$a"
rc=0
"$kmsctl" verify key --socket "$a/apps/web/dstack.sock" --path p \
    --app "$app" --sim "$b" >/dev/null 2>&1 || rc=$?
[ $rc = 1 ] || die "exit $rc for a key of another cluster"
held "a key of one is not believed by the other"

# A cluster in the way is not overwritten, and a folder of others never.
rc=0
"$kmsctl" sim init "$a" >/dev/null 2>&1 || rc=$?
[ $rc = 1 ] || die "sim init over a cluster: exit $rc"
mkdir "$work/mine" && echo precious >"$work/mine/file"
rc=0
"$kmsctl" sim init "$work/mine" --force >/dev/null 2>&1 || rc=$?
[ $rc = 1 ] && [ -e "$work/mine/file" ] || die "somebody's folder"
held "sim init overwrites neither a cluster nor anything else"

# One ends; the other does not notice.
quiet "$kmsctl" sim down "$b"
quiet "$kmsctl" status "$a"
held "one ends, the other does not notice"
