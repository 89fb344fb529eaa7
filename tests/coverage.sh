#!/usr/bin/env bash
# What corpora and unit tests together reach of some folders: one table, and
# what is not as tests/uncovered.txt says.  `make coverage` builds first.
#
# usage: tests/coverage.sh --units FOLDER...    the unit tests that use them
#        tests/coverage.sh DIR FOLDER...
#   DIR      built with clang and COVER=1: the objects of the folders, and the
#            programs under fuzz and tests/unit that are to be run
#
#   TARGETS  the fuzz targets, UNITS the unit tests whose programs are run; the
#            names only ("rlp tx")
#   JOBS=2   so many at a time
#
# A program is run again when it, or its corpus, is newer than its profile, or
# when one of its tests failed or was skipped: those were not run, and are told.
# Exit status 1 when a folder is below 90 %, a test fails, or the list is not
# true (tests/coverage.py).
set -eu
cd "$(dirname "$0")/.."

if [ "$1" = --units ]; then # by their headers, or what of tests/lib does
	shift
	folders=$(IFS='|' && echo "$*")
	libs=$(grep -lE "\"($folders)/" tests/lib/*.[ch] |
	    sed -E 's,.*/(.*)\.[ch]$,\1,' | sort -u | paste -sd'|')
	grep -lE "\"(($folders)/|tests/lib/($libs)\.h)" tests/unit/test_*.c |
	    sed -E 's,.*/test_(.*)\.c$,\1,'
	exit 0
fi

out=$1/coverage
if [ "$2" = --one ]; then # one program: NAME COMMAND [CORPUS]
	name=$3 bin=$4 corpus=${5:-}
	keep=$out/$name.profdata
	if [ "$keep" -nt "$bin" ] && { [ -z "$corpus" ] ||
	    [ -z "$(find "$corpus" -newer "$keep" 2>/dev/null)" ]; }; then
		exit 0
	fi
	rm -f "$keep" "$out/$name"-*.profraw
	# Every test is a process: two files take all that they count.
	args=(--tap=- --quiet -j2)
	[ -z "$corpus" ] || args=("$corpus")
	LLVM_PROFILE_FILE=$out/$name-%2m.profraw timeout -k 10 1800 "$bin" \
	    "${args[@]}" >"$out/$name.tap" 2>"$out/$name.err" </dev/null ||
	    echo "not ok - $name: exit status $?" >>"$out/$name.tap"
	llvm-profdata merge -sparse -o "$keep" "$out/$name"-*.profraw ||
	    echo "not ok - $name: no profile" >>"$out/$name.tap"
	rm -f "$out/$name"-*.profraw
	exit 0
fi

dir=$1
shift
mkdir -p "$out"
rm -f "$out/list"
{
	for n in ${TARGETS:-}; do
		echo "fuzz_$n $dir/fuzz/fuzz_$n fuzz/corpora/$n"
	done
	for n in ${UNITS:-}; do
		echo "test_$n $dir/tests/unit/test_$n"
	done
} >"$out/list"
xargs -r -L1 -P"${JOBS:-2}" "$0" "$dir" --one <"$out/list"

profiles=() bad=0
while read -r name _; do
	[ ! -e "$out/$name.profdata" ] || profiles+=("$out/$name.profdata")
	if grep -iE '^not ok|^ok.*# *skip' "$out/$name.tap" | sed "s/^/$name: /"; then
		# Not to be taken for a run the next time.
		touch -d @0 "$out/$name.profdata"
	fi
	! grep -q '^not ok' "$out/$name.tap" || bad=1
done <"$out/list"
llvm-profdata merge -sparse -o "$out/all.profdata" "${profiles[@]}"

# The objects, not the programs: a file that no test links in counts, too.
objects=()
while read -r o; do
	objects+=(${objects:+-object} "$o")
done < <(find "$dir/common" "$dir/node" "$dir/kms" -name '*.o' | sort)
llvm-cov export -format=lcov -instr-profile="$out/all.profdata" \
    "${objects[@]}" "$@" >"$out/lcov"
llvm-cov show -format=html -show-branches=count -output-dir="$out/html" \
    -instr-profile="$out/all.profdata" "${objects[@]}" "$@" >/dev/null
python3 tests/coverage.py "$out/lcov" tests/uncovered.txt "$@" || bad=1
echo "coverage: $out/html/index.html"
exit $bad
