#!/usr/bin/env bash
# Goal of this test: random app-compose.json hash as the incumbent's SDK hashes
# them, with and without its normalisation.
. "$(dirname -- "$0")/scenario.sh"

if ! node tests/js/compose.mjs "$kmsctl" "$work" 60 >"$work/said" 2>&1; then
	cat "$work/said" >&2
	die "another hash than the SDK's: node tests/js/compose.mjs $kmsctl FOLDER 60 SEED"
fi
held "60 random compose files: the SDK's hashes ($(head -n 1 "$work/said"))"

# The file itself is what a guest measures; the SDK's text is another.
printf '{ "name": "a" }' >"$work/a.json"
[ "$("$kmsctl" compose-hash "$work/a.json")" = "$(sha256sum "$work/a.json" | cut -d' ' -f1)" ] ||
    die "not the file's hash"
[ "$("$kmsctl" compose-hash "$work/a.json" --canonical)" = "$(printf '{"name":"a"}' | sha256sum | cut -d' ' -f1)" ] ||
    die "not the canonical text's hash"
held "without an option: the file's own hash"
for text in '{"x":NaN}' '{"x":1e999}' '{"x":"\ud800"}' '{"x":1,"x":2}' '[]' '{'; do
	printf '%s' "$text" >"$work/bad.json"
	if "$kmsctl" compose-hash "$work/bad.json" --canonical >"$work/said" 2>&1; then
		die "$text has a hash"
	fi
	grep -q "bad.json" "$work/said" || die "$text: $(cat "$work/said")"
done
held "what no guest would start has no canonical hash"
