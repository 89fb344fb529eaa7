#!/usr/bin/env bash
# Goal of this test: other people's clients are content with our sockets: those
# of a simulator's folder (the published ones, where they are at hand, and one
# of our own), and those of an agent in a simulated cluster.  Derivations and
# signatures agree with other implementations over random inputs.
. "$(dirname "$0")/lib.sh"
VECTORS=../shared/vectors/dstack
MOCK=../shared/spike/agent-mock.mjs
RANDOM_CALLS=${RANDOM_CALLS:-200}

stop_agents() {
	local d
	for d in own published newer; do
		[ ! -f "$W/$d/agent.pid" ] || ctl sim agent "$W/$d" --stop >/dev/null 2>&1
	done
}
trap 'stop_agents; cleanup' EXIT
skip() { echo "ok - $1 # skip $2"; }

# tap NAME command...: a program that prints TAP itself.
tap() {
	local name=$1 start=$SECONDS
	shift
	"$@" >"$W/tap" 2>"$W/tap.err" </dev/null
	local rc=$?
	sed "s/^\(ok\|not ok\) - /&$name: /" "$W/tap"
	echo "# $name: $(basename "$2"), $((SECONDS - start)) s"
	[ $rc -eq 0 ] && return
	failures=$((failures + 1))
	grep -q '^not ok' "$W/tap" || echo "not ok - $name: exit status $rc"
	tail -15 "$W/tap.err" | sed 's/^/# /'
}

# ---- Python's SDK, once for all checkouts of this machine -------------------
venv=$TOP/build/py-sdk
python_sdk() {
	exec 8>"$TOP/build/py-sdk.lock" && flock 8 || return 1
	"$venv/bin/python" -c 'import dstack_sdk' 2>/dev/null && return
	rm -rf "$venv"
	timeout 60 python3 -m venv "$venv" &&
	    timeout 120 "$venv/bin/pip" install -q --disable-pip-version-check \
	    dstack-sdk==0.5.4 &&
	    "$venv/bin/python" -c 'import dstack_sdk'
}
mkdir -p "$TOP/build"
has_python=true
python_sdk >"$W/out" 2>&1 8>&- || has_python=false
pythons() { # name dstack tappd certificates
	if $has_python; then
		tap "$1" "$venv/bin/python" tests/py/sdk.py "$2" "$3" "$4"
	else
		skip "$1: the Python SDK" 'PyPI is not to be had from here'
	fi
	tap "$1" python3 tests/py/plain.py "$2" "$3" "$4"
}

# ---- a folder in one command ------------------------------------------------
first() { ctl sim agent "$W/own" >"$W/export" 2>"$W/note"; }
ok 'sim agent makes a folder and starts' first
exported() {
	(unset DSTACK_SIMULATOR_ENDPOINT; eval "$(cat "$W/export")"
	echo "$DSTACK_SIMULATOR_ENDPOINT")
}
ok 'a shell can take what it prints' same "$(exported)" "$W/own/dstack.sock"
ok 'whose root it is' grep -q 'of this folder alone' "$W/note"
ok 'the log says simulated' grep -q 'event=simulated' "$W/own/agent.log"
ok 'again is the same agent' same "$(ctl sim agent "$W/own" --json 2>/dev/null | jq .pid)" \
    "$(ctl sim agent "$W/own" --status --json 2>/dev/null | jq .pid)"
ask() { # socket path [curl-option...]
	local s=$1 p=$2
	shift 2
	curl -sS -m 5 --unix-socket "$s" "http://x$p" "$@"
}
is() { # jq-expression command...: what the command prints is so
	local e=$1 printed
	shift
	printed=$("$@")
	[ -n "$printed" ] && jq -e "$e" <<<"$printed" >/dev/null
}
json='content-type: application/json'
ok 'curl: a key' is '(.key | length) == 64 and (.signature_chain | length) == 2' \
    ask "$W/own/dstack.sock" /GetKey -H "$json" -d '{"path": "/a"}'
ok 'curl: GET' is '.report_data[:4] == "1234"' \
    ask "$W/own/dstack.sock" '/GetQuote?report_data=0x1234'
ok 'curl: it says that it is simulated' is '.rev | contains("simulated")' \
    ask "$W/own/dstack.sock" /Version
ok 'curl: tappd' is '.app_id | length == 40' \
    ask "$W/own/tappd.sock" /prpc/Tappd.Info
ok 'curl: the public listener' is '.version | length > 0' \
    ask "$W/own/external.sock" /prpc/Worker.Version
page_of() { ask "$1" / | grep -qi "$2"; }
ok 'curl: the dashboard says simulated' page_of "$W/own/external.sock" simulated
ok 'curl: and no keys there' is '.error | length > 0' \
    ask "$W/own/external.sock" /prpc/GetKey -H "$json" -d '{}'
no 'no fixture beside a real configuration' "$W/bin/cvm-agent" --fixture "$W/own" \
    --config deploy/cvm-agent.yaml
no 'nor to be checked' "$W/bin/cvm-agent" --fixture "$W/own" --check
no 'nor from nowhere' "$W/bin/cvm-agent" --fixture "$W/nowhere" --socket-dir "$W"
long=$W/$(printf 'l%.0s' $(seq 100))
too_long() {
	mkdir -p "$long"
	! "$W/bin/cvm-agent" --fixture "$W/own" --socket-dir "$long" 2>"$W/err" &&
	    grep -q 'too long for a socket' "$W/err" &&
	    ! ctl sim agent "$long" 2>"$W/err" && grep -q 'too long a path' "$W/err"
}
ok 'a path that is too long is told' too_long
no 'two agents on one socket' "$W/bin/cvm-agent" --fixture "$W/own"
ok 'stop' ctl sim agent "$W/own" --stop
no 'the socket is gone' test -e "$W/own/dstack.sock"
no 'and it is not there' ctl sim agent "$W/own" --status

# ---- our own folder, with a root that others can know ------------------------
root=$(printf '77%.0s' $(seq 32))
read -r appid address <<<"$(node tests/js/reroot.mjs "$W/own" "$root")"
start() { ctl sim agent "$@" --json >"$W/started"; }
ok 'the folder with another root' start "$W/own"
ok 'C finds the same root' same "$(jq -r .root "$W/started" | tr A-F a-f)" "$address"
fixture() { # name folder root events
	tap "$1" node tests/js/clients.mjs --dstack "$W/$1/dstack.sock" \
	    --tappd "$W/$1/tappd.sock" --root "$3" --appkeys "$2/appkeys.json" \
	    --certs 2 --events "$4" --simulated
}
differ() { # name folder [option...]
	local name=$1 folder=$2
	shift 2
	tap "$name" node tests/js/differ.mjs --dstack "$W/$name/dstack.sock" \
	    --appkeys "$folder/appkeys.json" --n "$RANDOM_CALLS" "$@"
}
fixture own "$W/own" "$address" ignored
differ own "$W/own"
pythons own "$W/own/dstack.sock" "$W/own/tappd.sock" 2
if [ -f "$MOCK" ]; then
	# It takes its libraries from where it stands.
	mkdir "$W/mock" && cp "$MOCK" "$W/mock/mock.mjs" &&
	    ln -s "$TOP/tests/js/node_modules" "$W/mock/node_modules"
	differ own "$W/own" --mock "$W/mock/mock.mjs" --root "$root" \
	    --appid "$appid"
else
	skip 'own: random calls agree with the mock' "$MOCK is not here"
fi

# ---- the published folders ---------------------------------------------------
published() { # name folder root events
	if [ ! -f "$VECTORS/$2/appkeys.json" ]; then
		skip "$1: the published folder" "$VECTORS/$2 is not here"
		return
	fi
	ok "$1: the published folder" start "$W/$1" --fixture "$VECTORS/$2"
	ok "$1: its published root" same "$(jq -r .root "$W/started")" "$3"
	ok "$1: is known as that" is '.root_of | contains("published")' cat "$W/started"
	fixture "$1" "$VECTORS/$2" "$3" "$4"
	[ "$1" != published ] || differ "$1" "$VECTORS/$2"
}
published published sim-v0.5.3 0x8f2cF602C9695b23130367ed78d8F557554de7C5 ignored
published newer sim-head 0xA7F6043C29f9cc1d9D6aCF554c53E0c6792AaEAf refused

# ---- an agent of a cluster ---------------------------------------------------
ok 'a cluster of one' ctl sim init "$D" --nodes 1
ok 'is up' ctl sim up "$D"
ok 'an app' ctl sim app "$D" app
tappd=$D/apps/app/tappd.sock
tap cluster node tests/js/clients.mjs --dstack "$(sock app)" --tappd "$tappd" \
    --events measured --simulated
pythons cluster "$(sock app)" "$tappd" 3
finish
