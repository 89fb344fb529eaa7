#!/usr/bin/env bash
# Goal of this test: `kmsctl verify quote` says yes to an honest simulated TD
# and to nobody else, with the exit status and the JSON that scripts rely on;
# and gives for genuine quotes what their expectations say, when these are at
# hand.  No chain and no KMS runs.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/gcc}
kmsctl=$B/kmsctl
vectors=${VECTORS:-../shared/vectors}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
lab=$dir/lab out=$dir/out
mkdir "$out"

fail() {
	echo "not ok - $1"
	: >"$dir/failed"
}

# Each of these prints one line of TAP.
# told FILTER WANT NAME: what the last answer says.
told() {
	local got
	got=$(jq -r "$1" "$out/json" 2>&1)
	if [ "$got" = "$2" ]; then
		echo "ok - $3"
	else
		fail "$3"
		printf '# %s is %s, not %s\n' "$1" "$got" "$2"
	fi
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok - $name"
	else
		fail "$name"
	fi
}

refused() { ! "$@"; }

hex() { od -An -v -tx1 "$1" | tr -d ' '; }

# verify NAME STATUS ARGS...: runs it with --json into $out/json.
verify() {
	local name=$1 want=$2 got
	shift 2
	"$kmsctl" verify quote "$@" --json >"$out/json" 2>"$out/err"
	got=$?
	if [ "$got" -eq "$want" ] && jq -e . "$out/json" >/dev/null; then
		echo "ok - $name"
	else
		fail "$name"
		printf '# exit status %s, not %s: %s\n' "$got" "$want" \
		    "$(cat "$out/err")"
	fi
}

# quote NAME ARGS...: evidence of one simulated TD, $out/NAME.*
quote() {
	local name=$1
	shift
	"$kmsctl" sim quote "$lab" "$@" -o "$out/$name.quote" \
	    --event-log "$out/$name.log" --vm-config "$out/$name.vm" \
	    --collateral "$out/$name.col" >/dev/null || {
		echo "not ok - a simulated TD quotes ($name)"
		exit 1
	}
}

"$kmsctl" sim init "$lab" --nodes 1 >/dev/null || {
	echo "not ok - a simulated cluster is made"
	exit 1
}
"$kmsctl" sim init "$dir/lab2" --nodes 1 >/dev/null || exit 1
root=$lab/sim-root.der
other=$dir/lab2/sim-root.der
cat >"$out/compose" <<'JSON'
{
  "manifest_version": 2,
  "name": "audited",
  "runner": "docker-compose",
  "docker_compose_file": "services: {}\n"
}
JSON
quote good --report-data c0ffee --compose "$out/compose"
good=("$out/good.quote" --collateral "$out/good.col")

# ---- an honest TD ----

verify "an honest quote is accepted under its root" 0 "${good[@]}" \
    --root "$root" --event-log "$out/good.log" --vm-config "$out/good.vm" \
    --compose "$out/compose" --report-data c0ffee
cp "$out/json" "$out/good.json"
told '[.tee, .status, .reject, .accepted, .insecure] | map(tostring) |
    join(" ")' "tdx UpToDate null true true" \
    "it is marked as insecure, since the root is no vendor's"
told '[.advisory_ids, .measurements, .steps, .policy, .boot, .tcb] |
    map(type) | join(" ")' "array object array object object object" \
    "the members have their types"
told '[.steps[].result] | unique | join(" ")' "ok" "every step of it is ok"
told '[.steps[] | select(.found != null and .found_in == null)] | length' 0 \
    "every value comes with the document that said so"
told '.measurements.report_data[0:8]' "c0ffee00" "its report data is told"
told '.boot.compose_hash' "$(sha256sum <"$out/compose" | cut -c1-64)" \
    "its compose hash is that of the file"
told '[.boot.os_image_hash, .boot.mr_aggregated, .boot.mr_system,
    .boot.device_id] | map(length) | unique[0]' 64 "its boot info is complete"
"$kmsctl" verify quote "${good[@]}" --root "$root" >"$out/text" 2>&1
check "the text for people says the same" \
    grep -q '^result      ACCEPTED' "$out/text"
check "... and that it is insecure" grep -q '^INSECURE' "$out/text"
verify "it is refused without its root" 1 "${good[@]}"
told '[.status, .accepted, .insecure, (.reject != null)] | map(tostring) |
    join(" ")' "null false false true" "... with a reject code, no status"
told '[.steps[] | select(.result == "refused")] | length' 1 \
    "... at exactly one step"
told '.measurements' null "... and nothing that looks verified"
verify "it is refused under the root of others" 1 "${good[@]}" \
    --root "$other"

# ---- the forms of a file ----

hex "$out/good.quote" >"$out/hex"
verify "hex text is read" 0 "$out/hex" --collateral "$out/good.col" \
    --root "$root"
jq -n --arg q "$(tr -d '\n' <"$out/hex")" --rawfile l "$out/good.log" \
    --rawfile v "$out/good.vm" \
    --arg r "$(jq -r .measurements.report_data "$out/good.json")" \
    '{quote: $q, event_log: $l, vm_config: $v, report_data: $r}' \
    >"$out/reply"
verify "a reply of GetQuote is read" 0 "$out/reply" \
    --collateral "$out/good.col" --root "$root"
told '.boot | tostring' "$(jq -r '.boot | tostring' "$out/good.json")" \
    "... with its log and vm_config, to the same boot info"
jq '.report_data = "00" * 64' "$out/reply" >"$out/liar"
verify "a reply that asked for other report data is refused" 1 \
    "$out/liar" --collateral "$out/good.col" --root "$root"
verify "a file without a quote is a mistake of the caller" 2 "$out/compose" \
    --collateral "$out/good.col"

# ---- reference values ----

for name in mrtd rtmr0 rtmr1 rtmr2 rtmr3; do
	value=$(jq -r ".measurements.$name" "$out/good.json")
	verify "$name as expected is accepted" 0 "${good[@]}" --root "$root" \
	    "--$name" "$value"
	verify "another $name is refused" 1 "${good[@]}" --root "$root" \
	    "--$name" "$(tr 0-9a-f 1-9a-f0 <<<"$value")"
done
told '[.status, .reject, .refusal.code] | map(tostring) | join(" ")' \
    "UpToDate null REFERENCE" "... and not as a flaw of the evidence"
verify "other report data is refused" 1 "${good[@]}" --root "$root" \
    --report-data c0ffef
verify "a value of the wrong size is a mistake of the caller" 2 \
    "${good[@]}" --root "$root" --mrtd c0ffee
echo " " >>"$out/compose"
verify "another compose file is refused" 1 "${good[@]}" --root "$root" \
    --event-log "$out/good.log" --compose "$out/compose"
verify "a compose file needs a log to be found in" 2 "${good[@]}" \
    --root "$root" --compose "$out/compose"
jq '.[:-1]' "$out/good.log" >"$out/short.log"
verify "a log that lacks an event is refused" 1 "${good[@]}" \
    --root "$root" --event-log "$out/short.log"
told '.boot.app_id' null "... and what it says is not shown"
quote image --image other
verify "the vm_config of another image is refused" 1 "${good[@]}" \
    --root "$root" --event-log "$out/good.log" --vm-config "$out/image.vm"

# ---- time, policy, platform ----

verify "collateral is refused when its time is over" 1 "${good[@]}" \
    --root "$root" --now 2040-01-01T00:00:00Z
verify "... and before it has come" 1 "${good[@]}" --root "$root" --now 1
for at in 2 184 568 640 704 780; do
	cp "$out/good.quote" "$out/bad.quote"
	byte=$(od -An -v -tx1 -j $at -N 1 "$out/bad.quote" | tr -d " ")
	printf '%b' "\\x$(printf '%02x' $((0x$byte ^ 1)))" |
	    dd of="$out/bad.quote" bs=1 seek=$at conv=notrunc status=none
	verify "a bit flipped at $at is refused" 1 "$out/bad.quote" \
	    --collateral "$out/good.col" --root "$root" --policy any
done
head -c 1000 "$out/good.quote" >"$out/bad.quote"
verify "half a quote is refused" 1 "$out/bad.quote" \
    --collateral "$out/good.col" --root "$root" --policy any
told .reject QUOTE_TRUNCATED "... as such"

fault() { # STATE: a quote of a host in that state
	"$kmsctl" sim host "$lab" app1 "$1" >/dev/null || exit 1
	quote "$1" --host app1
}
fault debug
verify "a TD under debug is refused, whatever the policy" 1 \
    "$out/debug.quote" --collateral "$out/debug.col" --root "$root" \
    --policy any
told '[.status, .reject, .without_policy.status] | map(tostring) | join(" ")' \
    "null POLICY_DEBUG UpToDate" "... with the code, and no status"
echo 'allow_debug: true' >"$out/debug.yaml"
verify "... unless a file says otherwise" 0 "$out/debug.quote" \
    --collateral "$out/debug.col" --root "$root" --policy "$out/debug.yaml"
fault no-sept-ve
verify "a TD without SEPT_VE_DISABLE is refused" 1 "$out/no-sept-ve.quote" \
    --collateral "$out/no-sept-ve.col" --root "$root" --policy any
told .reject POLICY_SEPT_VE_DISABLE "... as such"
fault out-of-date
late=("$out/out-of-date.quote" --collateral "$out/out-of-date.col" --root
    "$root")
verify "an old platform is refused by default" 1 "${late[@]}"
told '[.status, .reject, .refusal.label] | map(tostring) | join(" ")' \
    "OutOfDate null tcb_status" "... but its status is told"
verify "... and accepted by a policy that takes any status" 0 "${late[@]}" \
    --policy any
printf 'allow_status: [OutOfDate]\n' >"$out/status.yaml"
verify "a policy that takes its status still asks for its advisories" 1 \
    "${late[@]}" --policy "$out/status.yaml"
told .refusal.code POLICY_ADVISORY "... which it names"
jq -r '"allow_advisory: [\(.advisory_ids | join(", "))]"' "$out/json" \
    >>"$out/status.yaml"
verify "... and with these it is accepted" 0 "${late[@]}" --policy \
    "$out/status.yaml"
echo 'allow_status: [Revoked]' >"$out/bad.yaml"
verify "no policy can take a revoked platform" 2 "${late[@]}" --policy \
    "$out/bad.yaml"
fault revoked
verify "a revoked platform is refused" 1 "$out/revoked.quote" \
    --collateral "$out/revoked.col" --root "$root" --policy any
told .reject CERT_REVOKED "... as such"

verify "a nonce is asked of a quote in vain" 1 "${good[@]}" --root "$root" \
    --nonce c0ffee
told .refusal.detail "REFERENCE: this evidence has no nonce" "... for that"

# ---- collateral ----

jq 'del(.pck_crl)' "$out/good.col" >"$out/bad.col"
verify "a bundle without a CRL is refused" 1 "$out/good.quote" \
    --collateral "$out/bad.col" --root "$root"
jq '.tcb_info |= sub("UpToDate"; "UpToDate ")' "$out/good.col" >"$out/bad.col"
verify "a bundle that was edited is refused" 1 "$out/good.quote" \
    --collateral "$out/bad.col" --root "$root"
told .reject COLLATERAL_SIG "... as such"
verify "a missing bundle is a mistake of the caller" 2 "$out/good.quote" \
    --collateral "$out/none.col"
verify "a PCCS that is not there gives exit status 3" 3 "$out/good.quote" \
    --pccs http://127.0.0.1:1

"$kmsctl" sim pccs "$lab" 2>"$out/pccs" &
pccs=$!
trap 'kill $pccs 2>/dev/null; wait $pccs 2>/dev/null; rm -rf "$dir"' EXIT
port=
for _ in $(seq 100); do
	port=$(sed -n 's/.*serving on port //p' "$out/pccs")
	[ -n "$port" ] && break
	sleep 0.1
done
url=http://127.0.0.1:$port
verify "collateral comes from a PCCS as well" 0 "$out/good.quote" \
    --pccs "$url" --root "$root"
check "collateral fetch saves the bundle of a quote's platform" \
    "$kmsctl" collateral fetch --pccs "$url" --quote "$out/good.quote" \
    -o "$out/fetched.col"
verify "... with which it verifies offline" 0 "$out/good.quote" \
    --collateral "$out/fetched.col" --root "$root"
fmspc=$(jq -r .platform.fmspc "$out/json")
check "... or of a platform by name" "$kmsctl" collateral fetch --pccs "$url" \
    --fmspc "$fmspc" --ca platform -o "$out/named.col"
verify "... with which it verifies too" 0 "$out/good.quote" \
    --collateral "$out/named.col" --root "$root"
check "a platform that is unknown there is refused" \
    refused "$kmsctl" collateral fetch --pccs "$url" --fmspc 000000000000 \
    --ca platform -o "$out/none.col"
check "... and nothing is saved" refused test -e "$out/none.col"

# ---- genuine evidence ----

# Each case with --policy any, as of its time: status and reject code.
judge() { # CASE STATUS REJECT ARGS...
	local case=$1 status=$2 reject=$3 want=1
	shift 3
	[ -z "$reject" ] && want=0
	verify "$case" $want "$@" --policy any
	told '[(.status // ""), (.reject // "")] | join("|")' \
	    "$status|$reject" "$case: status and reject code"
}

if [ -d "$vectors/tdx/real" ]; then
	for d in "$vectors"/tdx/real/*/; do
		# The chain inside the quote is preferred: where that makes a
		# difference, the expectations have both.
		IFS='|' read -r now status reject < <(jq -r '[(.now | tostring),
		    ((.intel_when_chain_inside_quote_is_used // .intel) |
		    (.status // ""), (.reject // ""))] | join("|")' \
		    "$d/expected-ref.json")
		judge "real/$(basename "$d")" "$status" "$reject" \
		    "$d/quote.bin" --collateral "$d/collateral.json" \
		    --now "$now"
	done
	for name in quote-report tdx-lite-getquote; do
		case $name in quote-*) d=19 ;; *) d=18 ;; esac
		verify "dstack/$name, with its log" 0 \
		    "$vectors/tdx/dstack/$name.json" --now 1782215795 \
		    --collateral "$vectors"/tdx/real/$d-*/collateral.json
		told '[.steps[] | select(.step == 15) | .result] | unique |
		    join(" ")' ok "dstack/$name: replays"
		check "dstack/$name: its aggregated values are dstack's" \
		    jq -e --slurpfile v "$vectors/dstack/vectors.json" \
		    --arg n "quote verifier/$name" '[$v[0][$n] | .. |
		    strings] as $s | .boot | [.mr_aggregated, .mr_system,
		    .as_kms.mr_aggregated, .as_kms.mr_system] |
		    all(. as $x | $s | index($x))' "$out/json"
	done
else
	echo "ok - genuine Intel quotes # skip no vectors"
fi

if [ -d "$vectors/snp" ]; then
	for d in "$vectors"/snp/[0-9]*/; do
		IFS='|' read -r reject chain from < <(jq -r '[(.reject // ""),
		    .chain, (.vek.not_before // "2025-06-01")] | join("|")' \
		    "$d/expected-snp.json")
		judge "snp/$(basename "$d")" "" "$reject" "$d/report.bin" \
		    --vek "$d/vek.der" --chain "$vectors/snp/$chain" \
		    --now "${from}T23:59:59Z"
	done
else
	echo "ok - genuine SEV-SNP reports # skip no vectors"
fi

if [ -d "$vectors/nitro" ]; then
	# What was asked for and cannot be answered is not passed over.
	nitro=("$vectors/nitro/01-base-nitro-validator-pk65/doc.cose"
	    --now 1732983768)
	verify "a document without log is refused where one is asked for" 1 \
	    "${nitro[@]}" --event-log "$out/good.log"
	told .refusal.detail "REFERENCE: this evidence has no event-log" \
	    "... for that"
	verify "... and where a compose file is" 1 "${nitro[@]}" \
	    --event-log "$out/good.log" --compose "$out/compose"
	verify "... or another nonce" 1 "${nitro[@]}" --nonce 00
	verify "... or a register of a TD" 1 "${nitro[@]}" --rtmr3 \
	    "$(printf '0%.0s' {1..96})"
	for d in "$vectors"/nitro/[0-9]*/; do
		IFS='|' read -r reject now < <(jq -r '[(.reject // ""),
		    (.now | tostring)] | join("|")' "$d/expected-nitro.json")
		judge "nitro/$(basename "$d")" "" "$reject" "$d/doc.cose" \
		    --now "$now"
	done
else
	echo "ok - genuine Nitro documents # skip no vectors"
fi

[ ! -e "$dir/failed" ]
