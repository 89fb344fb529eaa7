# tests/e2e/blind.sh: sourced by scenarios in which nodes are shown an old chain:
# a cluster of three that checks in every $period s, for leases of $lease s; each
# node has one endpoint of its own, which can be told to freeze the past.  In mode
# quorum: in mode proof a false time of a block is found at once.
. "$(dirname -- "$0")/witness.sh"

period=4 lease=20
quiet "$kmsctl" sim init "$c" --chain-mode quorum
rpc=$(jq -r .rpc_port "$c/sim.json")
ports=()
for _ in 0 1 2; do ports+=("$(free_port)"); done
node tests/js/liar.mjs "http://127.0.0.1:$rpc" "${ports[@]}" >"$work/liar" 2>&1 &
extra+=($!)
within 20 grep -q ready "$work/liar"
for i in 0 1 2; do
	sed -i "s|^  period_s: .*|  period_s: $period|; s|^  lease_s: .*|  lease_s: $lease|
	    s|^  rpc: .*|  rpc: ['http://127.0.0.1:${ports[i]}']|" \
	    "$c/kms/kms$i/kmsd.yaml"
done
quiet "$kmsctl" sim up "$c"
probe kms0 read >/dev/null # makes the app

lie() { # LIE NODE...: what their endpoint tells
	local what=$1 n
	shift
	for n; do
		curl -sf -m 10 "http://127.0.0.1:${ports[${n#kms}]}/lie/$what" \
		    >/dev/null || die "the endpoint does not take $what"
	done
}
gives_keys() { [ "$(probe "$1" keys | field ok)" = true ]; }
refuses() { # NODE REASON
	local a
	a=$(probe "$1" keys --timeout 5000)
	[ "$(field ok <<<"$a")" != true ] && [ "$(field reason <<<"$a")" = "$2" ]
}
leased() { says "$1" '.cluster.lease.good'; }
over() { says "$1" '.cluster.lease.good | not'; }
metric_of() { curl -sf -m 3 "$(admin "$1")/metrics" | awk -v m="$2" '$1 == m { print $2 }'; }
find_app() { jq -r '.apps[] | select(.name == "witness") | "\(.app_id) \(.compose_hash)"' "$c/sim.json"; }
read -r app hash < <(find_app)

within 30 all_ready
for n in kms0 kms1 kms2; do within 20 leased $n; done
for n in kms0 kms1 kms2; do within 20 gives_keys $n; done
