# deploy/examples/lib.sh: sourced by the examples' run.sh; deploy/lib.sh and:
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[1]}")" && pwd)
. "$here/../../lib.sh"
examples=$top/deploy/examples
# Beside the cluster: an example adds what it needs itself.
needs node jq pgrep openssl curl
built kmsd cvm-agent kmsctl
[ -d "$examples/node_modules" ] || die "deploy/examples: run make deps"

# port_of NAME: waits until it listens; the port.
port_of() {
	said 20 "$1" "listening on" >&2
	sed -n 's/^listening on //p' "$work/$1.log" | head -n 1
}
cast() { "$top/contracts/tools/cast" "$@"; }
forge() { "$top/contracts/tools/forge" "$@"; }
# authority NAME SUBJECT: a CA in $work/NAME.crt and .key.
authority() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	    -days 30 -subj "$2" -keyout "$work/$1.key" -out "$work/$1.crt" \
	    2>/dev/null
}
# certificate NAME CA HOST: a server's, in $work/NAME.crt and .key.
certificate() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	    -subj "/CN=$3" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
	printf '%s\n' "subjectAltName=DNS:$3" authorityKeyIdentifier=none >"$work/$1.ext"
	openssl x509 -req -in "$work/$1.csr" -CA "$work/$2.crt" \
	    -CAkey "$work/$2.key" -CAcreateserial -days 30 \
	    -extfile "$work/$1.ext" -out "$work/$1.crt" 2>/dev/null
}
