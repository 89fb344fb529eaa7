#!/usr/bin/env bash
# tests/bench/quote.sh QUOTE COLLATERAL ROOT NOW: two verifiers on one quote, ours
# and npm's @phala/dcap-qvl; two JSON lines.  ROOT is a DER file, or "intel" for
# genuine quotes; NOW is in unix seconds.  `make bench` does it with a
# simulated quote; B names the build.
set -euo pipefail
[ $# -eq 4 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
"${B:-$here/build/gcc}/bench" quote "$@"
node "$here/tests/js/qvl_bench.mjs" "$@"
