#!/usr/bin/env bash
# Goal of this test: the TLS server runs as its README says: its client refuses a
# certificate that somebody made himself, whatever he puts around it, and another
# app's, and believes the app's own.
cd "$(dirname -- "$0")/../.." && TAP=1 KEEP='' exec deploy/examples/tls/run.sh
