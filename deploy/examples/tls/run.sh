#!/usr/bin/env bash
# deploy/examples/tls/run.sh: a TLS server in a TEE, whose clients know from its
# certificate who it is; and those who would like to be taken for it.  README.md
# has the story; the options are those of deploy/lib.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
host=vault.example

client() { # port [host]
	node "$here/client.mjs" "${2:-$host}" "$1" "$app_id" "$kms" "$rpc"
}
server() { # name app: the app's code in that app's CVM
	beside "$1" env DSTACK_SOCKET="$(app_of "$2" socket)" node "$here/app.mjs" "$host"
}
# impostor NAME: a server with the certificates and the key of that name.
impostor() { beside "$1" node "$here/plain.mjs" "$work/$1.crt" "$work/$1.key"; }
# shown PORT: the certificates that a server sends, leaf first.
shown() {
	openssl s_client -connect "127.0.0.1:$1" -servername "$host" -showcerts \
	    </dev/null 2>/dev/null |
	    sed -n '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p'
}

title "A cluster, and a TLS server in an app CVM"
cluster
node "$examples/compose.mjs" vault "$here/app.mjs" >"$work/compose.json"
quiet "$kmsctl" sim app "$dir" vault --compose "$work/compose.json"
app_id=$(app_of vault app_id)
server vault vault
at=$(port_of vault)
held "https://$host, on port $at: app $app_id"

title "A client who knows the KMS contract and the app's id"
client "$at" >"$work/out" || die "the client does not believe it"
ca=$("$kmsctl" kms info --sim "$dir" --json | jq -r .ca_spki_sha256)
[ "$(jq -r .root_spki_sha256 "$work/out")" = "${ca#0x}" ] || die "another root CA"
held "believes it: $(jq -c .answer "$work/out")"
shown "$at" >"$work/chain.pem"
[ "$(grep -c BEGIN "$work/chain.pem")" = 3 ] || die "not three certificates"
awk '/BEGIN/ { n++ } n == 3' "$work/chain.pem" >"$work/root.pem"
[ "$(openssl x509 -in "$work/root.pem" -pubkey -noout |
    openssl pkey -pubin -outform DER | sha256sum | cut -d' ' -f1)" = "${ca#0x}" ] ||
    die "the root certificate has another key"
quiet openssl s_client -connect "127.0.0.1:$at" -servername "$host" \
    -verify_hostname "$host" -CAfile "$work/root.pem" -verify_return_error </dev/null
held "and so does openssl, under the root that the contract names"
say "for another name:"
refused "does not match" client "$at" elsewhere.example

title "Somebody else with a certificate of his own"
say "self-signed, for the right name:"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
    -keyout "$work/self.key" -out "$work/self.crt" 2>/dev/null
impostor self
refused "no certificate of the root CA" client "$(port_of self)"
say "by a CA that is called like the KMS's:"
authority alike_ca "/O=Dstack/CN=Dstack KMS CA"
certificate alike alike_ca "$host"
cat "$work/alike_ca.crt" >>"$work/alike.crt"
impostor alike
refused "no certificate of the root CA" client "$(port_of alike)"
say "by one that is called like the app's, with the app's own chain behind it:"
authority mixed_ca "/O=Dstack/CN=Dstack App CA"
certificate mixed mixed_ca "$host"
awk '/BEGIN/ { n++ } n >= 2' "$work/chain.pem" >>"$work/mixed.crt"
impostor mixed
refused "certificate signature failure" client "$(port_of mixed)"

title "Another app of the same KMS, with a certificate for the same name"
quiet "$kmsctl" sim app "$dir" thief --host app1 --compose "$work/compose.json"
server thief thief
say "the same code even, but registered by somebody else:"
refused "another app: $(app_of thief app_id | tr 'A-F' 'a-f' | cut -c 3-)" client "$(port_of thief)"

# What is inside the certificate, where this build can look at it.
if "$kmsctl" help verify tls >/dev/null 2>&1; then
	audited() { # port
		"$kmsctl" verify tls "127.0.0.1:$1" --sim "$dir" --app "$app_id" \
		    --compose "$work/compose.json" --name "$host"
	}
	title "What runs there: kmsctl verify tls"
	quiet audited "$at"
	held "certificate, quote, measurements, compose file, app, KMS, and the contracts' yes"
	say "the others:"
	for name in self alike mixed thief; do
		if audited "$(port_of $name)" >"$work/out" 2>&1; then
			die "$name was believed"
		fi
	done
	held "refused: three certificates of somebody's own, and another app's"
fi

title "A restart: another key, the same identity"
before=$(shown "$at" | openssl x509 -noout -pubkey | sha256sum)
ends vault
server vault vault
at=$(port_of vault)
[ "$(shown "$at" | openssl x509 -noout -pubkey | sha256sum)" != "$before" ] ||
    die "the key is the old one"
quiet client "$at"
held "the client, who pins neither key nor certificate, goes on"

if [ -n "$KEEP" ]; then
	title "The cluster is left running, the server is not"
	say "DSTACK_SOCKET=$(app_of vault socket) node ${here#"$top"/}/app.mjs $host    # says its port"
	say "${kmsctl#"$top"/} verify tls 127.0.0.1:<that> --sim $dir --app $app_id"
	say "$(app_of vault pages)    # the app's dashboard"
	say "${kmsctl#"$top"/} sim down $dir"
fi
