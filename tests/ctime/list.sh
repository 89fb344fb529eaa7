#!/usr/bin/env bash
# Compares what the headers have with what is checked: each function that is
# given a secret, or gives one, is in the name of a case or in not-checked, with
# a reason.  Reads text, compiles nothing; `make lint` runs it.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
say() { echo "lint: ctime: $1"; bad=1; }

# Types that hold secrets, and arguments that are ones.
types='(k256_secret|p256_secret|app_keys|epoch_roots|wrap_key|keyring|appkey|app_release|heldkeys|noise|noise_cipher|session|seal|incarnation|account|fixture_keys)'
args="struct $types \\*|[^a-z_](secret|s|k|key|ikm|seed|plain|seal_key|root_k256|root_ca)(\\[|,|\\))|void \\*p, size_t len\\)|struct bytes (ikm|plain)"

listed=$(cat tests/ctime/cases_*.c | tr '\n\t' '  ' | sed -E 's/" +"//g' |
    grep -oE '\{ *"[a-z0-9_: ,'"'"']+", *[a-z0-9_]+, *[A-Z0-9_]+ *\}' |
    sed -E 's/^[^"]*"([^":]*).*/\1/' | tr ' ' '\n' | sort -u)
excused=$(sed -nE 's/^([a-z0-9_]+)  *[^ ].*/\1/p' tests/ctime/not-checked | sort -u)

n=0
all=
for h in kms/keys/*.h common/crypto/*.h common/base/secret.h common/base/hex.h \
    common/eth/account.h kms/cluster/incarnation.h node/channel/noise.h \
    node/channel/session.h node/store/seal.h node/store/store.h node/agent/appkeys.h \
    node/agent/heldkeys.h node/agent/release.h node/agent/cacert.h \
    node/agent/fixture.h; do
	while read -r f; do
		name=${f%%(*}
		all+=" $name"
		grep -qE "$args" <<<"$f" || continue
		n=$((n + 1))
		grep -qxF "$name" <<<"$listed" && continue
		grep -qxF "$name" <<<"$excused" ||
		    say "$h: $name is in no case of tests/ctime, nor in not-checked"
	done < <(tr '\n\t' '  ' <"$h" |
	    sed -E 's:/\*[^*]*\*+([^/*][^*]*\*+)*/::g; s/ +/ /g' |
	    grep -oE '[a-z0-9_]+\(([^;{}()]|\([^()]*\))*\);')
done
for name in $excused; do
	[[ " $all " == *" $name "* ]] || say "not-checked: there is no $name"
	! grep -qxF "$name" <<<"$listed" || say "not-checked: $name is checked"
done
[ "$n" -gt 60 ] || say "only $n functions were found in the headers"
exit $bad
