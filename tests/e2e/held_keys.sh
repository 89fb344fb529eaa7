#!/usr/bin/env bash
# Goal of this test: an app that runs does not die with its KMS, and has no keys
# any more once the KMS has said that it is not allowed; both without a restart.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c
refresh=10 # kms.refresh_s, its default

quiet "$kmsctl" sim init "$c" --nodes 1
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" sim app "$c" web
key=$(key_of "$c" web some/path)
app=$("$kmsctl" sim status "$c" --json | jq -r '.apps[0].app_id')
compose=$("$kmsctl" compose-hash "$c/apps/web/app-compose.json" --json |
    jq -r .compose_hash)
socket=$c/apps/web/dstack.sock

# refused WORDS: waits until the agent refuses a key with them.
refused() {
	for _ in $(seq 60); do
		if ! "$kmsctl" key some/path --socket "$socket" >/dev/null \
		    2>"$work/said" && grep -q "$1" "$work/said"; then
			return 0
		fi
		sleep 1
	done
	return 1
}

# Older than what is renewed at a call, and nobody to renew it.
quiet "$kmsctl" sim stop "$c" kms0
sleep $((refresh + 1))
for _ in 1 2 3; do
	[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key"
done
[ "$(curl -fsS --unix-socket "$socket" http://x/Info | jq .epoch)" = 0 ] ||
    die "Info says nothing"
held "the KMS is away: the same key, for as long as it takes"

quiet "$kmsctl" sim start "$c" kms0
quiet "$kmsctl" sim up "$c"
sleep $((refresh + 1))
[ "$(key_of "$c" web some/path)" = "$key" ] || die "another key"
held "the KMS is back: the same key"

# The owner withdraws the version that runs.
quiet "$kmsctl" app disallow "$app" compose "$compose" --sim "$c"
refused "Compose hash not allowed" || die "it still has its keys"
held "no keys for an app that is no longer allowed"

# Nor when the KMS is away after that.
quiet "$kmsctl" sim stop "$c" kms0
if timeout 8 "$kmsctl" key some/path --socket "$socket" >/dev/null 2>&1; then
	die "keys, since nobody is there to refuse them"
fi
[ "$(curl -fsS --unix-socket "$socket" http://x/Info | jq .epoch)" = 0 ] ||
    die "Info says nothing"
held "none either when the KMS is away then"

quiet "$kmsctl" sim start "$c" kms0
quiet "$kmsctl" sim up "$c"
quiet "$kmsctl" app allow "$app" compose "$compose" --sim "$c"
for _ in $(seq 60); do
	now=$(key_of "$c" web some/path 2>/dev/null) || now=
	[ "$now" != "$key" ] || break
	sleep 1
done
[ "$now" = "$key" ] || die "it was allowed again, and has no keys"
held "allowed again: the same key"
