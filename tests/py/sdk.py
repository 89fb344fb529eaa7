"""Goal of this test: the incumbent's Python SDK works on an agent's sockets.

    sdk.py DSTACK_SOCKET TAPPD_SOCKET CERTIFICATES

Needs dstack-sdk (PyPI).  Prints TAP.
"""

import asyncio
import hashlib
import json
import sys
import warnings

from dstack_sdk import AsyncDstackClient, DstackClient, TappdClient

warnings.simplefilter("ignore")
dstack, tappd, certificates = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = DstackClient(dstack)
old = TappdClient(tappd)
failed = 0


def check(what, body):
    global failed
    try:
        body()
        print(f"ok - python: {what}")
    except Exception as e:  # any failure is one of the test
        failed += 1
        print(f"not ok - python: {what}\n# {type(e).__name__}: {e}")


def refused(body):
    try:
        said = body()
    except Exception:
        return
    raise AssertionError(f"not refused: {said}")


def keys():
    a, b = client.get_key("/a", "p"), client.get_key("/a", "q")
    assert len(a.decode_key()) == 32 and a.key == b.key
    assert len(a.decode_signature_chain()) == 2
    assert client.get_key("/b").key != a.key
    e = client.get_key("/a", "p", "ed25519")
    assert e.key == a.key and e.signature_chain[0] != a.signature_chain[0]
    assert client.get_key("/cl\u00e9/\U0001f511").key != a.key
    refused(lambda: client.get_key("/", "", "rsa"))
    refused(lambda: client.get_key("p" * 4097))


def quotes():
    for data in (b"\0", b"hello", bytes(64), "text"):
        q = client.get_quote(data)
        raw = data.encode() if isinstance(data, str) else data
        assert q.decode_quote()[568:632] == raw.ljust(64, b"\0")
        rtmrs = q.replay_rtmrs()
        for i in range(4):
            at = 376 + 48 * i
            assert rtmrs[i] == q.decode_quote()[at : at + 48].hex(), i
    refused(lambda: client.get_quote(bytes(65)))
    assert client.attest(b"x").decode_attestation()[0] == 0


def info():
    i = client.info()
    assert len(i.app_id) == 40 and i.tcb_info.compose_hash == i.compose_hash
    assert json.loads(i.tcb_info.app_compose)
    assert all(e.digest is not None for e in i.tcb_info.event_log)
    assert client.version().version.startswith("0.5.")
    assert client.is_reachable() and old.is_reachable()
    dead = DstackClient(dstack)
    assert dead.info().app_id == i.app_id


def tls():
    t = client.get_tls_key(
        subject="app.example",
        alt_names=["localhost"],
        usage_ra_tls=True,
        usage_server_auth=True,
        usage_client_auth=True,
    )
    assert t.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert len(t.certificate_chain) == certificates
    assert len(t.as_uint8array(32)) == 32


def signatures():
    digest = hashlib.sha256(b"data").digest()
    for alg, data in (
        ("secp256k1", b"data"),
        ("ed25519", b"data"),
        ("secp256k1_prehashed", digest),
    ):
        s = client.sign(alg, data)
        sig, pub = s.decode_signature(), s.decode_public_key()
        assert len(s.decode_signature_chain()) == 3
        assert client.verify(alg, data, sig, pub).valid
        other = bytes(reversed(data))
        assert not client.verify(alg, other, sig, pub).valid
    refused(lambda: client.sign("rsa", b""))
    refused(lambda: client.sign("secp256k1_prehashed", bytes(31)))


def tappd_methods():
    a, b = old.derive_key("/tappd"), old.derive_key("/tappd", "s")
    assert a.key == b.key and len(a.certificate_chain) == certificates
    q = old.tdx_quote("hello", "sha512")
    want = hashlib.sha512(b"app-data:hello").digest()
    assert q.decode_quote()[568:632] == want
    q = old.tdx_quote("hello", "sha256")
    want = hashlib.sha256(b"app-data:hello").digest()
    assert q.decode_quote()[568:632] == want.ljust(64, b"\0")
    q = old.tdx_quote(b"\1", "raw")
    assert q.decode_quote()[568:632] == b"\1".rjust(64, b"\0")


def many():
    async def run():
        c = AsyncDstackClient(dstack)
        got = await asyncio.gather(*(c.get_key(f"/{i}") for i in range(50)))
        assert len({k.key for k in got}) == 50

    asyncio.run(run())


check("keys", keys)
check("quotes and attestations", quotes)
check("info, version, reachable", info)
check("TLS keys", tls)
check("signatures", signatures)
check("tappd", tappd_methods)
check("50 calls at once", many)
sys.exit(failed > 0)
