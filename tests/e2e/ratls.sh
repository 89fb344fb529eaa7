#!/usr/bin/env bash
# Goal of this test: a stranger can tell an app's live TLS server from one that
# is not; and a developer can hand the app an environment that only it reads.
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

quiet "$kmsctl" sim init "$c" --nodes 1
quiet "$kmsctl" sim up "$c"
cat >"$work/compose.json" <<'END'
{"manifest_version":2,"name":"web","runner":"docker-compose","docker_compose_file":"services: {}",
"kms_enabled":true,"key_provider":"kms","allowed_envs":["DB_PASSWORD","MOTTO"]}
END
quiet "$kmsctl" sim app "$c" web --compose "$work/compose.json"
quiet "$kmsctl" sim app "$c" other
public=$(jq -r '"http://127.0.0.1:\(.nodes[0].public_port)"' "$c/sim.json")
pccs=$(jq -r '"http://127.0.0.1:\(.pccs_port)"' "$c/sim.json")

# ---- what anyone may ask ----

[ "$(curl -fsS "$public/health")" = OK ] || die "/health"
meta=$(curl -fsS "$public/prpc/KMS.GetMeta?json" -d '{}')
root=$("$kmsctl" kms info --sim "$c" --json | jq -r .address)
[ "$(jq -r '.is_dev, .chain_id' <<<"$meta" | xargs)" = "true 31337" ] ||
    die "GetMeta: $meta"
if curl -fsS "$public/prpc/KMS.GetAppKey?json" -d '{}' 2>"$work/said"; then
	die "keys for anyone"
fi
held "GetMeta, and no more, for anyone"

# In protobuf the root is field 3, 33 bytes; here the CA's text goes before it.
curl -fsS -X POST "$public/prpc/KMS.GetMeta" --data-binary '' |
    od -An -v -tx1 | tr -d ' \n' >"$work/said"
key=$(jq -r .k256_pubkey <<<"$meta")
grep -q "^0a.*1a21${key#0x}" "$work/said" || die "$(cat "$work/said")"
held "the same in protobuf"

# ---- the evidence of the 0.6 API ----

curl -fsS --unix-socket "$c/apps/web/dstack.sock" http://x/v1/Attest \
    -H 'content-type: application/json' -d '{"report_data":"aabb"}' >"$work/attest"
if "$kmsctl" verify quote "$work/attest" --pccs "$pccs" \
    --root "$c/sim-root.der" --report-data 0xaabc >"$work/said" 2>&1; then
	die "other report data"
fi
if "$kmsctl" verify quote "$work/attest" --pccs "$pccs" \
    --report-data 0xaabb >"$work/said" 2>&1; then
	die "a root that nobody trusts"
fi
"$kmsctl" verify quote "$work/attest" --pccs "$pccs" --root "$c/sim-root.der" \
    --report-data 0xaabb >"$work/said" 2>&1 || die "$(cat "$work/said")"
held "an attestation in MessagePack is verified, and what it does not say refused"

# ---- the environment ----

printf 'DB_PASSWORD=correct horse & staple\nMOTTO="it'"'"'s"\nPATH=/evil\n' \
    >"$work/env"
if "$kmsctl" env encrypt --kms-url "$public" --app web --sim "$c" \
    --root 0x0000000000000000000000000000000000000001 -f "$work/env" \
    >"$work/said" 2>&1; then
	die "a root that nobody has"
fi
grep -q "no root" "$work/said" || die "$(cat "$work/said")"
held "an env key of another root is refused"

# start_again NAME: its agent, from the beginning.
start_again() {
	quiet "$kmsctl" sim kill "$c" "$1"
	"$kmsctl" sim start "$c" "$1" >"$work/said" 2>&1
}
run=$c/apps/web/run
"$kmsctl" env encrypt --sim "$c" --app other -f "$work/env" \
    -o "$c/apps/web/.encrypted-env" >"$work/said" || die "env encrypt"
if start_again web; then die "it read another app's environment"; fi
[ ! -e "$run/.decrypted-env" ] || die "something was written"
held "another app's environment is not read, and the agent does not start"
"$kmsctl" env encrypt --sim "$c" --app web -f "$work/env" \
    -o "$c/apps/web/.encrypted-env" --json >"$work/said" || die "env encrypt"
[ "$(jq -r '.signed_by_root | ascii_downcase' "$work/said")" = \
    "$(tr A-F a-f <<<"$root")" ] || die "signed by another root"
start_again web || die "$(cat "$work/said")"
[ "$(jq -c . "$run/.decrypted-env.json")" = \
    '{"DB_PASSWORD":"correct horse & staple","MOTTO":"it'"'"'s"}' ] ||
    die "$(cat "$run/.decrypted-env.json")"
[ "$(. "$run/.decrypted-env" && echo "$DB_PASSWORD/$MOTTO/$PATH")" = \
    "correct horse & staple/it's/$PATH" ] || die "$(cat "$run/.decrypted-env")"
[ "$(stat -c %a "$run/.decrypted-env")" = 600 ] || die "who may read it?"
if grep -rq "correct horse" "$c/log"; then die "it is in a log"; fi
held "its own is, what app-compose allows of it, and no log has it"

# ---- the TLS server ----

servers=()
stop_servers() {
	local rc=$?
	set +e
	[ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null
	(exit "$rc")
	finish
}
trap stop_servers EXIT

# server NAME APP RA: openssl with a certificate of that app, at $work/NAME.
server() {
	curl -fsS --unix-socket "$c/apps/$2/dstack.sock" http://x/GetTlsKey \
	    -H 'content-type: application/json' -d '{"subject":"web.example",
	    "alt_names":["web.example"], "usage_server_auth":true,
	    "usage_ra_tls":'"$3"', "with_app_info":true}' >"$work/tls.json"
	jq -r .key "$work/tls.json" >"$work/$1.key"
	jq -r '.certificate_chain[0]' "$work/tls.json" >"$work/$1.pem"
	jq -r '.certificate_chain[1:][]' "$work/tls.json" >"$work/$1.cas"
	# By a short name: OpenSSL 3.0 ends where a path has over 31 bytes.
	(cd "$work" && exec openssl s_server -unix "$1" -key "$1.key" -quiet \
	    -cert "$1.pem" -cert_chain "$1.cas" >"$1.log" 2>&1 </dev/null) &
	servers+=($!)
	for _ in $(seq 600); do
		[ ! -S "$work/$1" ] || return 0
		sleep 0.1
	done
	die "openssl does not listen: $(tail -3 "$work/$1.log")"
}
# verify NAME args...: the exit status, and the answer in $work/said.
verify() {
	local at=$work/$1
	shift
	"$kmsctl" verify tls --unix "$at" --json "$@" \
	    >"$work/said" 2>"$work/err"
}
# refused CODE NAME args...
refused() {
	local code=$1
	shift
	if verify "$@"; then die "accepted, and not $code"; fi
	[ "$(jq -r .refusal.code "$work/said")" = "$code" ] ||
	    die "$code: $(jq -c .refusal "$work/said")"
}

server web web true
server bare web false
server other other true
verify web --sim "$c" --app web --name web.example \
    --compose "$work/compose.json" || die "$(jq -c .refusal "$work/said")"
[ "$(jq -r '.accepted, .insecure' "$work/said" | xargs)" = "true true" ] ||
    die "accepted: $(cat "$work/said")"
held "a live server: certificate, quote, app, image, KMS, contracts"
refused TLS_APP other --sim "$c" --app web
refused TLS_ATTESTATION bare --sim "$c"
refused TLS_NAME web --sim "$c" --name other.example
refused TLS_ROOT web --root "$(printf '00%.0s' {1..32})" --pccs "$pccs"
held "refused: another app, no attestation, another name, another KMS"
spki=$(openssl x509 -in <(tail -n +1 "$work/web.cas" |
    awk '/BEGIN/ { n++ } n == 2') -noout -pubkey |
    openssl pkey -pubin -outform DER | od -An -v -tx1 | tr -d ' \n')
if verify web --root "$spki" --pccs "$pccs"; then
	die "a simulator passed for the vendor"
fi
verify web --root "$spki" --pccs "$pccs" --quote-root "$c/sim-root.der" ||
    die "$(jq -c .refusal "$work/said")"
held "a simulated platform only by name, and the root pinned by hand"

quiet "$kmsctl" app disallow web compose \
    "$("$kmsctl" compose-hash "$work/compose.json" --json | jq -r .compose_hash)" \
    --sim "$c"
refused TLS_CONTRACT web --sim "$c" --app web
held "what the owner has withdrawn is refused, though its quote is as before"
