#!/usr/bin/env bash
# Makes each target's corpus small: of the committed files and of what was
# found since (build/fuzz/new) those stay that are needed to cover what all
# cover, small ones first.  Files with a name of their own (findings, cases
# that somebody thought of) always stay.
#
# usage: fuzz/min.sh TARGET...              (`make fuzz-min` builds them first)
#
# An input is at most FILE_MAX bytes (64 KiB), a target adds at most NEW_MAX
# (40) files in a run.  What was put in or taken away is in git's status.
set -u
cd "$(dirname "$0")/.." || exit 1
FILE_MAX=${FILE_MAX:-65536} NEW_MAX=${NEW_MAX:-40}
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
table=$(mktemp) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$table" "$work"' EXIT
rc=0

count() { find "$1" -type f 2>/dev/null | wc -l; }
size() { du -sb "$1" 2>/dev/null | cut -f1; }
hashed() { [[ $1 =~ ^[0-9a-f]{40}$ ]]; }

for t; do
	corpus=fuzz/corpora/$t new=build/fuzz/new/$t log=build/fuzz/$t.min.log
	merged=$work/merged all=$work/all
	rm -rf "$merged" "$all"
	mkdir -p "$corpus" "$merged" "$all"
	before=$(count "$corpus") bytes=$(size "$corpus") word=done
	# Those with names come first and are not for sale.
	for f in "$corpus"/*; do
		[ -f "$f" ] || continue
		if hashed "$(basename "$f")"; then cp "$f" "$all"; else cp "$f" "$merged"; fi
	done
	[ ! -d "$new" ] ||
	    find "$new" -type f -size -"$((FILE_MAX + 1))"c -exec cp -n -t "$all" {} +
	if ! "build/fuzz/fuzzer_$t" -merge=1 -timeout=10 -rss_limit_mb=2048 \
	    "$merged" "$all" >"$log" 2>&1; then
		tail -5 "$log" >&2
		word=FAILED rc=1
	else
		# The smallest of those that bring something.
		n=0
		find "$corpus" -type f -regextype posix-extended \
		    -regex '.*/[0-9a-f]{40}' -printf '%f\n' >"$work/had"
		while read -r f; do
			if grep -qx "$f" "$work/had"; then continue; fi
			hashed "$f" || continue
			n=$((n + 1))
			[ $n -le "$NEW_MAX" ] || rm "$merged/$f"
		done < <(find "$merged" -type f -printf '%s %f\n' | sort -n | cut -d' ' -f2)
		while read -r f; do
			[ -e "$merged/$f" ] || rm "$corpus/$f"
		done <"$work/had"
		cp -n "$merged"/* "$corpus/" 2>/dev/null
	fi
	printf '%s %s %s %s %s %s\n' "$t" "$before" "$bytes" \
	    "$(count "$corpus")" "$(size "$corpus")" $word >>"$table"
done

{
	echo 'target files bytes files_now bytes_now result'
	cat "$table"
} | column -t
exit $rc
