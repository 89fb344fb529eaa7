#!/usr/bin/env bash
# Goal of this test: the systemd units say what they should, and no edit makes
# one of them more exposed than it is.  Starts nothing: no service manager is
# needed, and none is touched.
set -euo pipefail
cd "$(dirname -- "$0")/../.."

command -v systemd-analyze >/dev/null 2>&1 || {
	echo "ok - # SKIP systemd-analyze is not here"
	exit 0
}
systemd-analyze security --help 2>&1 | grep -q -- --offline || {
	echo "ok - # SKIP this systemd-analyze has no --offline"
	exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
ok() { echo "ok - $1"; }
not_ok() {
	echo "not ok - $1"
	bad=1
}

# unit FILE AT_MOST: exposure in tenths, as deploy/README.md has it.
unit() {
	local name=${1##*/} got
	got=$(systemd-analyze security --offline=true --no-pager "$1" 2>&1 |
	    sed -n 's/.*Overall exposure level.*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p')
	if [ -n "$got" ] && [ "$((10#$got))" -le "$2" ]; then
		ok "$name: exposure $((10#$got)) tenths, at most $2"
	else
		not_ok "$name: exposure ${got:-unknown} tenths, must be at most $2"
	fi
}
unit deploy/systemd/kmsd.service 15
unit deploy/systemd/cvm-agent.service 15
unit deploy/helios/devproof-kms-helios.service 11

# The test can fail: a unit without its sandbox is over the threshold.
grep -vE '^(NoNewPrivileges|SystemCallFilter|PrivateUsers)' \
    deploy/systemd/kmsd.service >"$work/kmsd.service"
if unit "$work/kmsd.service" 15 >/dev/null; [ $bad = 1 ]; then
	bad=0
	ok "a unit without its filter is found"
else
	not_ok "a unit without its filter passes"
fi

# Words that systemd does not know, it ignores.  What the units run is not
# installed here; that alone is no fault.
for f in deploy/systemd/*.service deploy/systemd/*.socket deploy/helios/*.service; do
	said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$f" 2>&1 |
	    grep -F "${f##*/}" | grep -v 'is not executable' || true)
	if [ -z "$said" ]; then
		ok "${f##*/}: every word is known"
	else
		not_ok "${f##*/}: $said"
	fi
done

# What must hold of each process that has keys, whatever the score says.
for f in deploy/systemd/*.service; do
	for want in NoNewPrivileges=yes CapabilityBoundingSet= LimitCORE=0 \
	    MemorySwapMax=0 UMask=0077 MemoryDenyWriteExecute=yes \
	    NoExecPaths=/ LimitMEMLOCK=infinity; do
		grep -qx "$want" "$f" || not_ok "${f##*/} lacks $want"
	done
done
[ $bad = 0 ] && ok "what must hold does"
exit $bad
