"""Send what smuggles requests through a proxy, and hold what the application saw against what the proxy passed on.

    python smuggle.py SOCKET LOG      the proxy's socket, and the log of sees:app behind it

The proxy stamps each request that it passes on, in X-Front: a number, the method and the target. It keeps one connection
to the server. A request comes with a marker after it on the same connection, and then another on a new one. To be seen:

    every request that the application saw was stamped, once, as the method and the target that it saw
    an answer that came is that to a request of its connection, in order: no other client's, none twice
    the marker, where it is answered, is answered as itself; the one on a new connection always is
    no target /smuggled of the classics was seen: there it stands in what is a body, a chunk or a field
    no field was seen that only a proxy may set
    what is right by every reading was passed on whole, and the marker behind it was answered

The last line counts the requests, those passed on, and the markers answered behind them.
"""

import json
import os
import re
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import tables  # noqa: E402

PATIENCE_S = 15
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX: "
GROUPS = "fields first-fields repeated names lengths codings versions chunk-lines chunks trailers gunicorn waitress puma"

CL_TE = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(HIDDEN)) + HIDDEN
CHUNKED = b"POST /n HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
IN_CHUNK = b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)


def get(target):
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def post(fields, body=b""):
    return b"POST /n HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


# Each holds, in what is a body by one reading or by both, a request that nobody sent. X: takes in what follows.
CLASSICS = {
    "both agree on a length": post(LENGTH, HIDDEN),
    "both agree on chunks": CHUNKED + IN_CHUNK,
    "CL.TE": b"POST /n HTTP/1.1\r\nHost: a\r\n" + CL_TE,
    "TE.CL": post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", IN_CHUNK),
    "TE.TE, another coding after": post(LENGTH + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", HIDDEN),
    "TE.TE, another coding before": post(LENGTH + b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", HIDDEN),
    **{
        f"TE.TE, {coding!r}": post(b"Content-Length: 4\r\n" + coding + b"\r\n", IN_CHUNK)
        for coding in (
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b" Transfer-Encoding: chunked",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding:\xa0chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: identity, chunked",
            b"Transfer-Encoding: 'chunked'",
            b"Transfer-Encoding:\r\n chunked",
            b"X: y\r\n Transfer-Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"Transfer-Encoding\x00: chunked",
            b"\x00Transfer-Encoding: chunked",
        )
    },
    "a length among bare LFs": post(b"X: y\nContent-Length: 0\n" + LENGTH, HIDDEN),
    "a head that ends in bare LFs": b"POST /n HTTP/1.1\nHost: a\n" + LENGTH.replace(b"\r", b"") + b"\n" + HIDDEN,
    "a space before the colon of a length": post(b"Content-Length : 0\r\n" + LENGTH, HIDDEN),
    "a coding with an underscore": post(LENGTH + b"Transfer_Encoding: chunked\r\n", HIDDEN),
    "a length with an underscore": post(b"Content_Length: 0\r\n" + LENGTH, HIDDEN),
    "a folded length": post(b"Content-Length:\r\n %d\r\n" % len(HIDDEN), HIDDEN),
    "a length in a folded line": post(b"X: y\r\n Content-Length: 0\r\n" + LENGTH, HIDDEN),
    "two lengths, zero first": post(b"Content-Length: 0\r\n" + LENGTH, HIDDEN),
    "two lengths, zero last": post(LENGTH + b"Content-Length: 0\r\n", HIDDEN),
    "two lengths, the same": post(LENGTH * 2, HIDDEN),
    "two lengths in one field": post(b"Content-Length: %d, %d\r\n" % (len(HIDDEN), len(HIDDEN)), HIDDEN),
    "two lengths in one field, differing": post(b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    **{
        f"a length of {prefix!r} and digits": post(b"Content-Length: %b%d\r\n" % (prefix, len(HIDDEN)), HIDDEN)
        for prefix in (b"+", b"-", b"0x", b"00", b"0o", b"0_", b"\x0b", b"\x0c", b"\xa0")
    },
    "a length of 2 ** 64 more": post(b"Content-Length: %d\r\n" % (2**64 + len(HIDDEN)), HIDDEN),
    "a GET with a body": b"GET /n HTTP/1.1\r\nHost: a\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "a HEAD with a body": b"HEAD /n HTTP/1.1\r\nHost: a\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "chunks in HTTP/1.0": CHUNKED.replace(b"/1.1", b"/1.0") + IN_CHUNK,
    "chunks and a length in HTTP/1.0": CHUNKED.replace(b"/1.1\r\n", b"/1.0\r\n" + LENGTH) + HIDDEN,
    **{
        f"a chunk-size of {size!r}": CHUNKED + size % len(HIDDEN) + b"\r\n" + HIDDEN + b"\r\n0\r\n\r\n"
        for size in (
            b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"0%x", b"%x;", b"%x;a=b", b'%x;a="b"', b"%x\t", b"%x\x00", b"%x\n", b"%x\r",
            b"0000000000000000%x", b"10000000000000%03x", b"1000000000000%04x0", b"%x;\n", b"%x;a\nb", b"%x,", b"%x_", b"0_%x"
        )
    },
    "chunk data that ends in LF": CHUNKED + IN_CHUNK.replace(b"\r\n0\r\n", b"\n0\r\n"),
    "chunk data that ends in nothing": CHUNKED + IN_CHUNK.replace(b"\r\n0\r\n", b"0\r\n"),
    "chunk data that ends in two other bytes": CHUNKED + IN_CHUNK.replace(b"\r\n0\r\n", b"xx0\r\n"),
    "chunk data longer than said": CHUNKED + b"1\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
    "a last chunk that ends in LF": CHUNKED + b"0\n\r\n",
    "a last chunk of many zeros": CHUNKED + b"0" * 40 + b"\r\n\r\n",
    "a last chunk with a request in its extension": CHUNKED + b'0;a="' + HIDDEN.replace(b"\r\n", b" ") + b'"\r\n\r\n',
    "a request in an extension after LF": CHUNKED + b"5;\n" + HIDDEN[:3] + b"\r\nhello\r\n0\r\n\r\n",
    "trailers that set fields": CHUNKED + b"0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Front: 1 GET /smuggled\r\n\r\n",
    "trailers that frame": CHUNKED + b"0\r\n" + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n",
    "a trailer with LF": CHUNKED + b"0\r\nX: y\n\r\n",
    "fields of a proxy, with underscores": post(b"X_Forwarded_For: 6.6.6.6\r\nX_Forwarded-For: 6.6.6.6\r\nX_Front: 6.6.6.6\r\n"),
    "fields of a proxy that Connection names": post(b"Connection: X-Forwarded-For, X-Front, close\r\n"),
    "a field of the environ": post(b"HTTP_X_FORWARDED_FOR: 6.6.6.6\r\nProxy: 6.6.6.6\r\n"),
    "a request-line in a target": b"GET /n%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0aGET%20/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /n /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a fragment": b"GET /n#/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute-form of another host": b"GET http://smuggled/n HTTP/1.1\r\nHost: a\r\n\r\n",
    "an upgrade": b"GET /n HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an upgrade to h2c": b"GET /n HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an expectation, and the body at once": post(b"Expect: 100-continue\r\n" + LENGTH, HIDDEN),
    "an expectation and a GET": b"GET /n HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + LENGTH + b"\r\n" + HIDDEN,
    "an unknown expectation": post(b"Expect: 100-continue, x\r\n" + LENGTH, HIDDEN),
    "a refusal of the server, and the body": post(b"X: \x01\r\n" + LENGTH, HIDDEN),
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
}


def corpus():
    """Yield (what it is, bytes) for each request, its target made its own."""
    yield from CLASSICS.items()
    for group in GROUPS.split():
        template, _, rows = tables.TABLES[group]
        template = template.replace(b"Connection: close\r\n", b"").replace(b" / ", b" /n ")
        for row in rows:
            if len(row[2]) < 8000:
                yield f"{group}, {row[3]}", template % row[2]


def answers(path, data, last):
    """Send the bytes on a new connection and return the bodies that come, until that of target `last` or the end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(path)
        try:
            sock.sendall(data)
        except OSError:
            pass  # refused already: reading tells
        received = b""
        while True:
            found = [json.loads(line) for line in re.findall(rb'(?m)^\{"method": .*\}$', received)]
            if found and found[-1]["target"] == last:
                return found
            try:
                block = sock.recv(1 << 16)
            except ConnectionError:
                block = b""
            if not block:
                return found
            received += block


def main():
    path, log = sys.argv[1:]
    faults, sent, passed, marked, stamps = [], 0, 0, 0, set()
    with open(log, "a+") as seen:
        for number, (why, data) in enumerate(corpus()):
            sent += 1
            data = data.replace(b" /n", b" /n%d" % number, 1)
            marker, other = f"/marker{number}", f"/other{number}"
            mine = answers(path, data + get(marker), marker)
            others = answers(path, get(other), other)
            if [answer["target"] for answer in others] != [other]:
                faults.append(f"{why}: another client was answered {others}")
            lines = [json.loads(line) for line in seen.read().splitlines()]
            for line in lines:
                stamp = line["front"]
                if stamp is None or stamp in stamps or stamp.split(" ", 1)[-1] != f"{line['method']} {line['target']}":
                    faults.append(f"{why}: was not passed on so, or not once: {line}")
                stamps.add(stamp)
                if why in CLASSICS and line["target"].startswith("/smuggled"):
                    faults.append(f"{why}: smuggled: {line}")
                if "6.6.6.6" in str(line["fields"]) or line["client"] != "9.9.9.9":
                    faults.append(f"{why}: believes what the client says: {line}")
            own = [line for line in lines if line["target"] != other]
            if any(answer not in own for answer in mine):
                faults.append(f"{why}: was answered {mine}, and the application saw {own}")
            if why.startswith("both agree") and [answer["body"] for answer in mine] != [HIDDEN.decode(), ""]:
                faults.append(f"{why}: did not arrive whole: {mine}")
            passed += any(line["target"] != marker for line in own)
            marked += any(answer["target"] == marker for answer in mine)
    print("\n".join(faults), f"{sent} sent, {passed} passed on, {marked} markers answered", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
