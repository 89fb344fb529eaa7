#!/usr/bin/env bash
# Goal of this test: the dashboard of a running agent in a real browser.  It
# loads nothing from elsewhere and has no error on its console; what the tutorial
# takes from it is app-compose.json, byte for byte; names that are markup stay
# text; what app-compose hides is not there.
# SHOT=FILE.png keeps a picture of it.
if ! command -v chromium >/dev/null; then
	echo "ok - the dashboard in a browser # SKIP no chromium (deploy/deps.sh --tests)"
	exit 0
fi
. "$(dirname -- "$0")/scenario.sh"
c=$work/c

# compose FILE PUBLIC_TCBINFO: an app whose name and files try to be markup.
compose() {
	jq -n --argjson tcb "$2" '{manifest_version: 2,
	    name: "notes <img src=x onerror=alert(1)> & \"co\"",
	    runner: "docker-compose", key_provider: "kms",
	    docker_compose_file: "services:\n  app:\n    image: \"a\u00e9\" # </textarea><script>alert(2)</script> \\ &amp; \u0027\n",
	    public_logs: true, public_sysinfo: true, public_tcbinfo: $tcb}' >"$1"
}

# listen APP: gives its agent containers, restarts it, and sets `url`.
listen() {
	sed -i "s|^app:|app:\n  logs_dir: '$work/containers'|" "$c/apps/$1/agent.yaml"
	quiet "$kmsctl" sim restart "$c" "$1"
	url=$("$kmsctl" sim apps "$c" --json | jq -r --arg n "$1" '.apps[] | select(.name == $n) | .pages')
}

# A container as Docker's folder has it.
id=$(printf 'c%.0s' $(seq 64))
mkdir -p "$work/containers/$id"
jq -n '{Name: "/web", Config: {Image: "nginx:<1>", Labels: {"com.docker.compose.project": "p"}},
    State: {Running: true, Health: {Status: "healthy"}}}' >"$work/containers/$id/config.v2.json"
printf '{"log":"it <b>starts</b>\\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}\n' \
    >"$work/containers/$id/$id-json.log"

# browser ARG... : a browser of its own; stdout is its output, $work/console
# what it has to say.
browser() {
	timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
	    --disable-background-networking --disable-component-update --no-first-run \
	    --user-data-dir="$work/profile" --enable-logging=stderr --v=0 \
	    --virtual-time-budget=4000 "$@" 2>"$work/console"
}
# dom URL FILE: the document as the browser understood it; nothing of ours on
# the console.
dom() {
	browser --dump-dom "$1" >"$2" || die "the browser failed: $(tail -3 "$work/console")"
	! grep -E 'CONSOLE|Refused|Uncaught' "$work/console" >"$work/complaints" ||
	    die "console: $(head -3 "$work/complaints")"
}
# shows FILE TEXT: is it visible text, as opposed to markup?
shows() { grep -qF -- "$2" "$1" || die "the page does not show: $2"; }
hides() { ! grep -qF -- "$2" "$1" || die "the page shows: $2"; }

quiet "$kmsctl" sim init "$c" --nodes 1
quiet "$kmsctl" sim up "$c"
compose "$work/open.json" true
quiet "$kmsctl" sim app "$c" open --compose "$work/open.json"
listen open
info=$(curl -fsS "$url/prpc/Info")

# ---- in the browser ------------------------------------------------------------------
dom "$url/" "$work/open.html"
held "the browser shows it, and its console is empty"
shows "$work/open.html" '<h1>notes &lt;img src=x onerror=alert(1)&gt; &amp; "co"</h1>'
hides "$work/open.html" '<img'
hides "$work/open.html" '<script'
held "a name that is markup stays text"
for member in app_id instance_id compose_hash os_image_hash device_id mr_aggregated kms_contract; do
	shows "$work/open.html" "$(jq -r .$member <<<"$info")"
done
for text in 'Measurements' 'RTMR3' 'Measured events' 'system-ready' 'Key epoch' \
    'GiB used' 'simulated: protects nothing' 'nginx:&lt;1&gt;' 'running, healthy'; do
	shows "$work/open.html" "$text"
done
held "it shows who the app is, what was measured, the system, and its containers"

# ---- what tools take from it ---------------------------------------------------------
curl -fsS -D "$work/head" "$url/" >"$work/raw.html"
grep -qi "^content-security-policy: default-src 'none'; style-src 'sha256-" "$work/head" ||
    die "no policy: $(cat "$work/head")"
! grep -oE '(src|href)="(https?:)?//[^"]*' "$work/raw.html" || die "something is loaded from elsewhere"
node -e '
    const fs = require("fs")
    const [page, want] = process.argv.slice(1).map(f => fs.readFileSync(f, "utf8"))
    const plain = page.replace(/&quot;/g, "\"").replace(/&#39;/g, "\u0027")
        .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&")
    const m = plain.match(/"app_compose": ("(?:[^"\\]|\\.)*")/)
    if (JSON.parse(m[1]) !== want) { console.error("differs:", m[1]); process.exit(1) }
' "$work/raw.html" "$c/apps/open/app-compose.json" || die "app_compose is not the file"
held "app_compose, as the tutorial reads it, is app-compose.json exactly"
# Byte 232 of a quote: mr_config_id, where verifiers look for the file's hash.
quoted=$(curl -fsS --unix-socket "$c/apps/open/dstack.sock" 'http://x/GetQuote?report_data=00' |
    jq -r '.quote[464:560]')
[ "$quoted" = "01$(sha256sum <"$c/apps/open/app-compose.json" | cut -c1-64)$(printf '0%.0s' $(seq 30))" ] ||
    die "mr_config_id: $quoted"
held "and the quote's mr_config_id names its hash"
[ "$(sha256sum <"$c/apps/open/app-compose.json" | cut -c1-64)" = "$(jq -r .compose_hash <<<"$info")" ] ||
    die "the compose hash is not the file's"
curl -fsS "$url/metrics" | grep -q '^system_memory_total [1-9]' || die "no metrics"
[ "$(curl -fsS "$url/logs/web?text=true&bare=true")" = 'it <b>starts</b>' ] || die "no log"
dom "$url/logs/web?text=true&bare=true" "$work/log.html"
hides "$work/log.html" '<b>starts'
held "metrics and logs; a log with markup stays text in a browser"

# ---- a picture ------------------------------------------------------------------------
browser --hide-scrollbars --window-size=1100,1900 --screenshot="$work/shot.png" "$url/" >/dev/null ||
    die "no screenshot"
[ "$(head -c 8 "$work/shot.png" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || die "no picture"
[ "$(stat -c %s "$work/shot.png")" -gt 20000 ] || die "the picture is empty"
[ -z "${SHOT:-}" ] || cp "$work/shot.png" "$SHOT"
held "it can be drawn"

# ---- what app-compose hides -------------------------------------------------------------
compose "$work/shut.json" false
quiet "$kmsctl" sim app "$c" shut --compose "$work/shut.json"
listen shut
dom "$url/" "$work/shut.html"
shows "$work/shut.html" '></textarea>'
hides "$work/shut.html" 'RTMR'
hides "$work/shut.html" 'app_compose'
[ "$(curl -fsS "$url/prpc/Info" | jq -r '.tcb_info + .vm_config')" = "" ] || die "Info shows it"
[ "$(curl -fsS "$url/prpc/v1/Info" | jq -r '.app_compose + .vm_config + .key_provider_info')" = "" ] ||
    die "v1's Info shows it"
held "public_tcbinfo false: a blank textarea, and nothing that was measured"
