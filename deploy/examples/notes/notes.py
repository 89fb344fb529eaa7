#!/usr/bin/python3
"""Encrypted notes on PostgreSQL, in a TEE, whose host cannot set them back.

    notes.py check            start: is what the disk has the newest version?
    notes.py add TEXT         a new version with one more note
    notes.py list

Each command is a start of the app, with all that it checks.

DSTACK_SOCKET: the agent (default: /var/run/dstack.sock).  PGHOST and so on:
the database, as libpq has it.  NOTES_CRASH=stored|claimed: `add` dies there.

The host owns the disk.  It may read, change, copy, restore.  What it cannot do:
read a note (AES-256-GCM), change, drop, add or mix rows (one MAC over all of
them), or bring back a version of before (the KMS's counter; see claim).
"""

import hashlib
import hmac
import http.client
import json
import os
import secrets
import signal
import socket
import struct
import sys

import psycopg2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COUNTER = "notes"
TEXT_MAX = 10000
SCHEMA = """
    CREATE TABLE IF NOT EXISTS note (
        id bigint PRIMARY KEY, nonce bytea NOT NULL, sealed bytea NOT NULL);
    CREATE TABLE IF NOT EXISTS state (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        version bigint NOT NULL, operation bytea NOT NULL, mac bytea NOT NULL);
"""


class Refused(Exception):
    """What is on the disk is not what the app has left there."""


# ---- the agent ----

class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(90)
        self.sock.connect(os.environ.get("DSTACK_SOCKET", "/var/run/dstack.sock"))


def ask(method, **fields):
    """The agent's answer, and whether it is an error."""
    agent = Unix("agent")
    try:
        agent.request("POST", "/" + method, json.dumps(fields),
                      {"Content-Type": "application/json"})
        reply = agent.getresponse()
        return json.loads(reply.read()), reply.status != 200
    finally:
        agent.close()


def derive(purpose):
    answer, bad = ask("GetKey", path="notes/" + purpose, purpose="storage")
    if bad:
        raise Refused("no key: " + answer["error"])
    return HKDF(hashes.SHA256(), 32, None, b"notes/v1/" + purpose.encode()).derive(
        bytes.fromhex(answer["key"]))


def claim(version, operation):
    """Makes this version the newest one, if it may be.

    The disk has a version n with 16 random bytes of its own.  The counter moves
    from n - 1 to n by that very operation once; the same again changes nothing
    and is fine.  So this holds for the version that moved the counter last, and
    for one that was stored just before the app died, and for no other.
    """
    answer, bad = ask("CounterIncrement", name=COUNTER, expected=version - 1,
                      operation=operation.hex())
    if not bad:
        return
    if "value" not in answer:
        raise Refused("the KMS does not answer: " + answer["error"])
    at = answer["value"]
    if at > version:
        raise Refused(f"an old copy: this is version {version}, and {at} was the newest")
    if at == version:
        raise Refused(f"a fork: another version {version} was made from a copy")
    raise Refused(f"the KMS has lost versions: it says {at}, and this is {version}")


# ---- the database ----

class Notes:
    def __init__(self):
        self.cipher = AESGCM(derive("seal"))
        self.key = derive("mac")
        self.db = psycopg2.connect("")
        with self.db, self.db.cursor() as sql:
            sql.execute("SET synchronous_commit = on")
            sql.execute(SCHEMA)
        with self.db, self.db.cursor() as sql:
            self.version, operation = self.read(sql)
        if self.version > 0:
            claim(self.version, operation)
            return
        # Nothing there: the first start, or somebody has wiped it.
        answer, bad = ask("CounterGet", name=COUNTER)
        if bad:
            raise Refused("the KMS does not answer: " + answer["error"])
        if answer["value"] != 0:
            raise Refused("an old copy: the database is empty, and version "
                          f"{answer['value']} was the newest")

    def mac(self, sql, version, operation):
        """Over every note and what version they are, all together."""
        mac = hmac.new(self.key, digestmod=hashlib.sha256)
        mac.update(struct.pack(">Q", version) + operation)
        sql.execute("SELECT id, nonce, sealed FROM note ORDER BY id")
        for number, nonce, sealed in sql:
            mac.update(struct.pack(">QII", number, len(nonce), len(sealed)))
            mac.update(bytes(nonce) + bytes(sealed))
        return mac.digest()

    def read(self, sql):
        """The state, if it is one that the app has left; locks it."""
        sql.execute("SELECT version, operation, mac FROM state FOR UPDATE")
        row = sql.fetchone()
        if row is None:
            sql.execute("SELECT count(*) FROM note")
            if sql.fetchone()[0] != 0:
                raise Refused("changed: notes without a state")
            return 0, b""
        version, operation, mac = row[0], bytes(row[1]), bytes(row[2])
        if version < 1 or len(operation) != 16 or not hmac.compare_digest(
                mac, self.mac(sql, version, operation)):
            raise Refused("changed: this is not what the app has stored")
        return version, operation

    def add(self, text):
        if not 0 < len(text) <= TEXT_MAX:
            raise Refused(f"a note has 1 to {TEXT_MAX} characters")
        operation, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        with self.db, self.db.cursor() as sql:
            if self.read(sql)[0] != self.version:
                raise Refused("another instance is at work here")
            number = self.version + 1
            sealed = self.cipher.encrypt(nonce, text.encode(), struct.pack(">Q", number))
            sql.execute("INSERT INTO note VALUES (%s, %s, %s)", (number, nonce, sealed))
            mac = self.mac(sql, number, operation)
            sql.execute("""INSERT INTO state (version, operation, mac) VALUES (%s, %s, %s)
                ON CONFLICT (one) DO UPDATE SET version = EXCLUDED.version,
                operation = EXCLUDED.operation, mac = EXCLUDED.mac""",
                        (number, operation, mac))
        # It is on the disk; whether it counts is decided now.
        crash("stored")
        claim(number, operation)
        crash("claimed")
        self.version = number

    def texts(self):
        with self.db, self.db.cursor() as sql:
            sql.execute("SELECT id, nonce, sealed FROM note ORDER BY id")
            for number, nonce, sealed in sql:
                try:
                    yield self.cipher.decrypt(bytes(nonce), bytes(sealed),
                                              struct.pack(">Q", number)).decode()
                except InvalidTag:
                    raise Refused(f"changed: note {number}") from None


def crash(where):
    if os.environ.get("NOTES_CRASH") == where:
        os.kill(os.getpid(), signal.SIGKILL)


def main(argv):
    if argv[1:] not in (["check"], ["list"]) and (len(argv) != 3 or argv[1] != "add"):
        print("usage: notes.py check | list | add TEXT", file=sys.stderr)
        return 2
    try:
        notes = Notes()
        if argv[1] == "add":
            notes.add(argv[2])
        if argv[1] == "list":
            for text in notes.texts():
                print(text)
        else:
            print(f"version {notes.version}")
    except Refused as why:
        print(f"notes.py: {why}", file=sys.stderr)
        return 1
    except (OSError, psycopg2.Error) as why:
        print(f"notes.py: {why}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
