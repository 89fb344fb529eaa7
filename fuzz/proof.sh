#!/usr/bin/env bash
# Do the fuzzers find bugs?  Each bug of the list below is in the product's
# code, where common/base/planted.h switches it off; one at a time is switched
# on, and the target that should notice has two minutes, with the committed
# corpus and nothing else.  What it found must not disturb the same target
# without the bug.
#
# usage: fuzz/proof.sh list|targets|run [NUMBER]
#
# Exit status 1 if one was not found.  Findings stay in build/plant/NUMBER.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=120

# number | kind | file | target | what is missing
bugs='
1|missing bound|common/wire/pbjson.c|pbjson|a field may be longer than its message
2|missing replay check|node/channel/session_msg.c|channel_server|any counter is the next one
3|use after drop|node/channel/session.c|channel_server|a frame is freed while its event is used
4|skipped gate|node/channel/session_msg.c|channel_server|requests come before evidence
5|wrong epoch|kms/state/ledger_epoch.c|ledger|another epoch than the named one moves on
6|integer wrap|common/eth/rlprd.c|rlp|a number above 2^64 loses its upper bytes
7|lost wipe|node/channel/noise.c|channel_server|the handshake keys stay after the split
8|endless loop|common/net/http1.c|guest|an empty parameter is read for ever
9|missing bound|common/attest/eventlog.c|eventlog|the name of an event may be of any length
10|missing replay check|kms/cluster/links_part.c|linkpart|messages of a link may come again
11|skipped gate|kms/service/service.c|service|any role may ask for anything
12|skipped gate|kms/service/decision.c|service|an app that the contract refuses is served
13|wrong epoch|kms/service/decision.c|service|keys of the pinned epoch, whichever was asked for
'

# What a run said, in few words.
said() { # log
	grep -ohE '(ERROR: AddressSanitizer: [a-z-]+|ERROR: libFuzzer: [a-z -]*[a-z]|runtime error: .{1,60}|Assertion .{1,60})' \
	    "$1" | head -1 | sed 's/^ERROR: //'
}

run() { # number kind file target
	local n=$1 kind=$2 file=$3 target=$4
	local dir=build/plant/$n log=build/plant/$n/log began ended status input
	rm -rf "$dir"
	mkdir -p "$dir/corpus"
	make --no-print-directory -s CC=clang B=build/fuzz SAN=1 FUZZING=1 \
	    N="$n" T="$target" PLANT_IN="$file" "$dir/fuzzer" || return 1
	printf 'fuzz-proof: %s: %s in %s, by %s\n' "$n" "$kind" "$file" "$target" >&2
	began=$(date +%s)
	"$dir/fuzzer" -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 \
	    -artifact_prefix="$dir/" "$dir/corpus" "fuzz/corpora/$target" \
	    >"$log" 2>&1
	status=$?
	ended=$(date +%s)
	input=$(find "$dir" -maxdepth 1 -name '*-[0-9a-f]*' | head -1)
	word="not found"
	if [ $status -ne 0 ] && [ -n "$input" ]; then
		word=$(said "$log")
		timeout 60 "build/fuzz/fuzzer_$target" -timeout=10 "$input" \
		    >"$dir/without" 2>&1 || word="also without it"
	fi
	printf '%s|%s|%s|%s|%s|%s\n' "$n" "$kind" "$file" "$target" \
	    $((ended - began)) "$word" >>"$table"
	case $word in "not found" | "also without it") return 1 ;; esac
}

chosen() { # one line a bug
	printf '%s' "$bugs" | grep . | grep "^${1:-[0-9]*}|"
}

if [ -n "${2:-}" ] && [ -z "$(chosen "$2")" ]; then
	echo "fuzz-proof: there is no bug $2; $0 list has them" >&2
	exit 2
fi
case ${1:-} in
list) chosen "${2:-}" ;;
targets) chosen "${2:-}" | cut -d'|' -f4 | sort -u ;;
run)
	export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
	table=$(mktemp) || exit 1
	trap 'rm -f "$table"' EXIT
	rc=0
	while IFS='|' read -r n kind file target _; do
		run "$n" "$kind" "$file" "$target" </dev/null || rc=1
	done < <(chosen "${2:-}")
	{
		echo 'bug|kind|where|target|seconds|what it said'
		cat "$table"
	} | column -t -s'|'
	exit $rc
	;;
*)
	echo "usage: fuzz/proof.sh list|targets|run [NUMBER]" >&2
	exit 2
	;;
esac
