#!/usr/bin/env bash
# Goal of this test: the price oracle runs as its README says: a contract takes
# the app's answer, and none that was changed, signed by another app or under
# another root, replayed, or kept too long.
cd "$(dirname -- "$0")/../.." && TAP=1 KEEP='' exec deploy/examples/oracle/run.sh
