"""Goal of this test: a client of Python's standard library alone, with the
habits of the incumbent's Python SDK: HTTP over the socket with keep-alive, three
seconds of patience, every status but 200 an error, and every field that the
SDK's models demand there and of its type.

    plain.py DSTACK_SOCKET TAPPD_SOCKET CERTIFICATES

Prints TAP.
"""

import http.client
import json
import socket
import sys

dstack, tappd, certificates = sys.argv[1], sys.argv[2], int(sys.argv[3])
TIMEOUT_S = 3
failed = 0


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self.path)


def ask(path, method, members, sock=dstack, connection=None):
    c = connection or Unix(sock)
    c.request(
        "POST",
        path + method,
        json.dumps(members, ensure_ascii=False).encode(),
        {"Content-Type": "application/json"},
    )
    r = c.getresponse()
    body = r.read()
    if r.status != 200:
        raise RuntimeError(f"{r.status}: {body[:200]!r}")
    return json.loads(body)


def check(what, body):
    global failed
    try:
        body()
        print(f"ok - plain python: {what}")
    except Exception as e:
        failed += 1
        print(f"not ok - plain python: {what}\n# {type(e).__name__}: {e}")


def texts(obj, *names):
    for n in names:
        assert isinstance(obj[n], str), n


def keys():
    k = ask("/", "GetKey", {"path": "/cl\u00e9", "purpose": "p"})
    assert len(bytes.fromhex(k["key"])) == 32
    assert [len(s) for s in k["signature_chain"]] == [130, 130]


def info():
    i = ask("/", "Info", {})
    texts(i, "app_id", "instance_id", "app_cert", "tcb_info", "app_name")
    texts(i, "device_id", "key_provider_info", "compose_hash")
    t = json.loads(i["tcb_info"])
    texts(t, "mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "app_compose")
    texts(t, "mr_aggregated", "os_image_hash", "compose_hash", "device_id")
    for e in t["event_log"]:
        assert isinstance(e["imr"], int) and isinstance(e["event_type"], int)
        texts(e, "digest", "event", "event_payload")


def quotes():
    q = ask("/", "GetQuote", {"report_data": "ab"})
    texts(q, "quote", "event_log", "report_data", "vm_config")
    assert q["quote"][1136:1264] == q["report_data"]


def tls():
    t = ask("/", "GetTlsKey", {"usage_server_auth": True})
    texts(t, "key")
    assert len(t["certificate_chain"]) == certificates


def old():
    q = ask("/prpc/Tappd.", "TdxQuote", {"report_data": "ab"}, tappd)
    texts(q, "quote", "event_log", "hash_algorithm", "prefix")
    k = ask("/prpc/Tappd.", "DeriveKey", {"path": "/", "subject": "s"}, tappd)
    texts(k, "key")


def errors():
    for members in ({"algorithm": "rsa"}, {"path": None}, {"path": 7}):
        try:
            ask("/", "GetKey", members)
        except RuntimeError as e:
            assert str(e).startswith("400: "), e
        else:
            raise AssertionError(f"not refused: {members}")


def again():
    # A client may hope for keep-alive; a close after each reply is fine.
    c = Unix(dstack)
    for _ in range(3):
        ask("/", "Version", {}, connection=c)


check("keys, beyond ASCII", keys)
check("info", info)
check("quotes", quotes)
check("TLS keys", tls)
check("tappd", old)
check("errors are status 400", errors)
check("one connection object, three calls", again)
sys.exit(failed > 0)
