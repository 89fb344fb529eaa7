#!/usr/bin/env bash
# What tests of one kind reach: an HTML report of lines and branches.
#
# usage: fuzz/cover.sh DIR OUT SOURCE...     (`make fuzz-cover` builds first)
#
# Runs every replay binary of DIR (built with COVER=1) over the committed
# corpus and what was found since (build/fuzz/new), and the unit tests if
# UNIT=1.  OUT/index.html is the report, OUT/summary.txt its table.
set -eu
cd "$(dirname "$0")/.."
dir=$1 out=$2
shift 2
mkdir -p "$out"
rm -f "$out"/*.profraw
objects=()

object() { # binary: the first is named plainly, the others by an option
	if [ ${#objects[@]} -eq 0 ]; then objects=("$1"); else objects+=(-object "$1"); fi
}

run() { # name command...
	local name=$1
	shift
	LLVM_PROFILE_FILE=$out/$name-%p.profraw "$@" >/dev/null 2>&1 ||
	    echo "cover: $name ended with status $?" >&2
}

for bin in "$dir"/fuzz/fuzz_*; do
	case $bin in *.o | *.d) continue ;; esac
	t=$(basename "$bin")
	object "$bin"
	for corpus in "fuzz/corpora/${t#fuzz_}" "build/fuzz/new/${t#fuzz_}"; do
		[ ! -d "$corpus" ] || run "$t" "$bin" "$corpus"
	done
done
if [ "${UNIT:-0}" = 1 ]; then
	for bin in "$dir"/tests/unit/test_*; do
		case $bin in *.o | *.d) continue ;; esac
		object "$bin"
		run "$(basename "$bin")" timeout 900 "$bin" --quiet -j2
	done
fi
llvm-profdata merge -sparse -o "$out/all.profdata" "$out"/*.profraw
rm -f "$out"/*.profraw
llvm-cov show "${objects[@]}" -instr-profile="$out/all.profdata" \
    -format=html -show-branches=count -output-dir="$out" \
    "$@" >/dev/null
llvm-cov report "${objects[@]}" -instr-profile="$out/all.profdata" \
    -show-functions=false "$@" >"$out/summary.txt"
cat "$out/summary.txt"
echo "cover: $out/index.html"
