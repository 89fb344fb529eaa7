#!/usr/bin/env bash
# Goal of this test: the notes run as their README says: a host that changes rows,
# restores a backup, wipes the database or forks it is caught at the next start;
# an honest restart, and one after a crash at the worst moment, is not.
cd "$(dirname -- "$0")/../.." && TAP=1 KEEP='' exec deploy/examples/notes/run.sh
