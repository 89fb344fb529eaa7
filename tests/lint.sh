#!/usr/bin/env bash
# House rules that a tool can check; compiles nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
say() { echo "lint: $1"; bad=1; }

files=$(git ls-files --cached --others --exclude-standard '*.c' '*.h')

# Format: tables of bytes are marked with clang-format off.
for f in $files; do
	clang-format "$f" | cmp -s - "$f" || say "$f is not formatted (clang-format -i $f)"
done

# Three floors, nothing includes upward.
grep -nE '#include "(node|kms|tests)/' $(echo "$files" | grep '^common/') && say "common includes upward"
grep -nE '#include "(kms|tests)/' $(echo "$files" | grep '^node/') && say "node includes upward"
grep -nE '#include "tests/' $(echo "$files" | grep '^kms/') && say "kms includes tests"

# Calls that have a bounded or safer form.
grep -nwE '(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca|system|popen|rand|srand|memcmp_s)\(' \
    $(echo "$files" | grep -E '^(common|node|kms)/') && say "discouraged call"

# A file past 600 lines holds two modules.
for f in $(echo "$files" | grep -E '^(common|node|kms)/'); do
	n=$(wc -l <"$f")
	[ "$n" -le 600 ] || say "$f has $n lines"
done

# Each pitfall of attestation has the tests that its table names, and a comment
# or a name there that says its number.
doc=common/attest/README.md
for n in $(seq 31); do
	row=$(grep -E "^\| P$n \|" $doc) || say "$doc does not list P$n"
	grep -qE "\\bP$n\\b|\\bp${n}_" tests/unit/*.c || say "no test says P$n"
	suite=
	while read -r first second; do
		case $first in test_*.c) [ -f "tests/unit/$first" ] || say "P$n: no $first"; continue ;; esac
		[ -z "$second" ] || { suite=$first; first=$second; }
		grep -qE "^Test\($suite, $first[,)]" tests/unit/*.c ||
		    say "P$n: no test $suite, $first"
	done < <(grep -oE '`[^`]+`' <<<"${row##*| P$n |}" | tr -d '`')
done

# Bugs are planted once each, as fuzz/proof.sh says, and by it alone.
diff <(grep -noE 'PLANTED\([0-9]+\)' $(echo "$files" | grep -E '^(common|node|kms)/') |
    sed -E 's/([^:]*):.*\(([0-9]+)\)/\2|\1/' | sort) \
    <(fuzz/proof.sh list | awk -F'|' '{ print $1 "|" $3 }' | sort) ||
    say "planted bugs are not those of fuzz/proof.sh"
git grep -nE 'PLANT\b' -- ':!common/base/planted.h' ':!fuzz/proof.sh' \
    ':!fuzz/README.md' ':!tests/lint.sh' |
    grep -vxE 'Makefile:[0-9]+:.\$\(CC\) \$\(CPPFLAGS\) -DPLANT=\$\(N\) .*' |
    grep . && say "PLANT outside of the proof"
# Each function that is given a secret is checked, or has a reason.
tests/ctime/list.sh || bad=1

# Who reads what from outside: the list is of the targets that there are.
listed=$(sed -n '/^| bytes/,/^$/p' fuzz/TARGETS.md | sed 's/.*|\(.*\)|$/\1/' | grep -oE '`[a-z0-9_]+`' | tr -d '`' | sort -u)
for t in $listed; do
	[ -f "fuzz/fuzz_$t.c" ] || say "fuzz/TARGETS.md: no target $t"
done
for f in fuzz/fuzz_*.c; do
	t=${f#fuzz/fuzz_}
	grep -qx "${t%.c}" <<<"$listed" || say "fuzz/TARGETS.md does not list ${t%.c}"
done

# No work left lying about, no machine paths.
grep -nE 'TODO|FIXME|XXX:' $files && say "unfinished work"
git grep -nE '/(root|home|work)/' -- '*.c' '*.h' '*.sh' '*.md' '*.sol' '*.mjs' Makefile \
    ':!tests/lint.sh' && say "machine path"

make -s check-cppcheck || say "cppcheck"

[ $bad -eq 0 ] && echo "lint: clean"
exit $bad
