#!/usr/bin/env bash
# deploy/examples/notes/run.sh: encrypted notes on PostgreSQL, and what their host
# tries: to read them, to change them, to bring back an old backup.  README.md
# has the story; the options are those of deploy/lib.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"
python=/usr/bin/python3 # Debian's, which has the modules
app=$here/notes.py
pgbin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[ -x "$pgbin/postgres" ] || die "postgresql is missing; make deps-examples"
"$python" -c 'import cryptography, psycopg2' 2>/dev/null ||
    die "python3-psycopg2 or python3-cryptography is missing; make deps-examples"

# ---- PostgreSQL, by a user who is not root, in a folder of its own ----------------
pg=$(mktemp -d "${TMPDIR:-/tmp}/kms-pg.XXXXXX")
as_pg=()
if [ "$(id -u)" -eq 0 ]; then
	as_pg=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
	chown postgres:postgres "$pg"
fi
tidy() { rm -rf "$pg"; }
as_pg() { (cd / && "${as_pg[@]}" env LC_ALL=C.UTF-8 "$@"); }
export PGHOST=$pg PGUSER=notes PGDATABASE=notes PGCONNECT_TIMEOUT=10
sql() { "$pgbin/psql" -XAtq -v ON_ERROR_STOP=1 "$@"; }
pg_answers() { sql -d postgres -c 'SELECT 1'; }
# Its only way in is a socket in that folder; data checksums are nobody's proof.
pg_up() {
	(cd / && exec "${as_pg[@]}" "$pgbin/postgres" -D "$pg/data" -k "$pg" \
	    -c listen_addresses= -c min_wal_size=2MB) >"$work/pg.log" 2>&1 </dev/null &
	pids[pg]=$!
	until_true 60 pg_answers || die "PostgreSQL does not start: $(tail -n 3 "$work/pg.log")"
}
pg_down() {
	# Fast: whoever is still connected is cut off.
	kill -INT "${pids[pg]}"
	wait "${pids[pg]}" || true
	unset "pids[pg]"
}
# saved NAME: a copy of the files while nothing runs.
saved() {
	pg_down
	as_pg cp -a "$pg/data" "$pg/$1"
	pg_up
}
# restored NAME: what a host does with a backup, which is used up.
restored() {
	pg_down
	rm -rf "$pg/data"
	mv "$pg/$1" "$pg/data"
	pg_up
}

notes() { DSTACK_SOCKET=$socket "$python" "$app" "$@"; }
crashes() { # where text
	local rc=0
	NOTES_CRASH=$1 notes add "$2" >"$work/out" 2>&1 || rc=$?
	[ $rc = 137 ] || die "it did not die where it was told to: $rc"
}
is() { # version: an honest start
	[ "$(notes check)" = "version $1" ] || die "not version $1"
}

title "PostgreSQL, and an app CVM beside it"
quiet as_pg "$pgbin/initdb" -D "$pg/data" -U notes -A trust \
    --wal-segsize=1 --no-instructions
pg_up
quiet sql -d postgres -c 'CREATE DATABASE notes'
held "$("$pgbin/postgres" --version), as $(id -un "$(stat -c %u "$pg/data")")"
cluster
node "$examples/compose.mjs" notes "$app" >"$work/compose.json"
quiet "$kmsctl" sim app "$dir" notes --compose "$work/compose.json"
socket=$(app_of notes socket)
held "app $(app_of notes app_id)"

title "Notes are written; the host reads the disk"
is 0
quiet notes add "the safe is behind the picture"
quiet notes add "its number is 4711"
is 2
[ "$(notes list | sed -n 2p)" = "its number is 4711" ] || die "a note is lost"
held "two notes, two versions; the app reads them after a restart"
quiet sql -c "CREATE TABLE plain AS SELECT 'a word that is not encrypted'::text AS t; CHECKPOINT"
grep -raq "not encrypted" "$pg/data" || die "the search finds nothing at all"
quiet sql -c "DROP TABLE plain"
if grep -raqE "behind the picture|4711" "$pg/data" || sql -c 'SELECT * FROM note' | grep -q 4711; then
	die "a note is on the disk"
fi
held "in files, write-ahead log and tables: $(sql -c "SELECT left(encode(sealed, 'hex'), 32) FROM note WHERE id = 2")..., no word of them"

title "The host changes rows"
changes() { # what, statement: in a copy of the database
	say "$1:"
	quiet sql -d postgres -c 'DROP DATABASE IF EXISTS copy' \
	    -c 'CREATE DATABASE copy TEMPLATE notes'
	quiet sql -d copy -c "$2"
	PGDATABASE=copy refused "changed: this is not what the app has stored" notes check
}
changes "one byte of a note" "UPDATE note SET sealed = set_byte(sealed, 3, get_byte(sealed, 3) # 1) WHERE id = 1"
changes "a note is dropped" "DELETE FROM note WHERE id = 1"
changes "two notes change places" "UPDATE note SET id = 3 - id WHERE id = 3; UPDATE note a SET sealed = b.sealed, nonce = b.nonce FROM note b WHERE a.id <> b.id"
changes "the version is counted up" "UPDATE state SET version = version + 1"
changes "the newest note and its version are taken back" "DELETE FROM note WHERE id = 2; UPDATE state SET version = 1"
is 2
held "what the app has stored is good"

title "The host brings back a backup"
saved good
as_pg "$pgbin/pg_basebackup" -h "$pg" -U notes -D "$pg/backup" -X stream -c fast >"$work/out" 2>&1 ||
    die "pg_basebackup: $(cat "$work/out")"
quiet notes add "no longer: it is 0815"
is 3
saved newest
say "by pg_basebackup, taken while it ran:"
restored backup
refused "an old copy: this is version 2, and 3 was the newest" notes check
say "the files, copied while it did not run:"
restored good
refused "an old copy: this is version 2, and 3 was the newest" notes list
say "nothing at all:"
quiet sql -c "DROP TABLE note, state"
refused "an old copy: the database is empty, and version 3 was the newest" notes check
restored newest
is 3
held "the newest one is accepted, as often as it is started"

title "The app dies at the worst moment"
crashes stored "stored, and not claimed"
is 4
held "between the database's commit and the counter: accepted, and finished"
crashes claimed "claimed, and not told"
is 5
held "after the counter: accepted"
saved before
crashes stored "stored in a copy"
saved fork
restored before
quiet notes add "and in the other"
is 6
say "two versions 6 were made from one copy; the other one:"
restored fork
refused "a fork: another version 6 was made from a copy" notes check

title "A KMS node is killed"
quiet "$kmsctl" sim kill "$dir" kms0
refused "a fork: another version 6 was made from a copy" notes check
held "the two others remember"

if [ -n "$KEEP" ]; then
	title "The cluster is left running, PostgreSQL is not"
	say "${kmsctl#"$top"/} counter get notes --socket $socket"
	say "${kmsctl#"$top"/} sim down $dir"
fi
