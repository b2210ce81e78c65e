"""Send the requests of a table to a running server, and hold its answers against the verdicts.

    python verdicts.py PORT GROUP...     groups of tables.py, or `departures`, `flood`

Every request is sent whole, then byte by byte, and those of the group `cuts` also in two parts, cut
at every point: the verdict is the same. A refusal has to be complete: its status, `Connection:
close`, Date, a sentence that names the clause, nothing that tells of the server's inside, nothing
after it, and an end that the client can read. After each group another client is served.
"""

import re
import select
import socket
import struct
import sys
import time
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

PATIENCE_S = 15.0  # longer than the server waits for a head: what it leaves unanswered shows as 408
TOGETHER = 40  # connections
PART_PAUSE_S = 0.05  # between two parts: the server reads the first alone
BYTE_PAUSE_S = 0.001  # between two bytes: it mostly does
LONG = 300  # bytes; what is longer is cut at a few points only

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
HEAD = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([A-Za-z0-9 '-]*)\r\n((?:" + TOKEN + rb": ?[\t -~\x80-\xff]*\r\n)*)\r\n")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
                  r"\d\d:\d\d:\d\d GMT")
CLAUSE = re.compile(r"\(RFC ([0-9]+ [0-9.]*[0-9])\)")
INSIDE = re.compile(r"Traceback|File \"|\.py\b|/usr/|/home/|Python|Error\b(?<!Server Error)|0x[0-9a-f]{6}")


class Row(NamedTuple):
    """A request and its verdict: the statuses that it gets, in order, like "200 400" or "400|501",
    "-" for none, H before the status of an answer to HEAD; and the clause that says so."""

    verdict: str
    clause: str  # like "9112 5.1"; alternatives stand between |
    data: Union[bytes, Tuple[bytes, ...]]  # parts that are sent one after another
    why: str
    shows: bytes = b""  # what the last body contains
    hides: bytes = b""  # what no answer contains


Plan = Tuple[Row, str, Sequence[bytes]]  # the row, the way it is cut, the parts


class Response(NamedTuple):
    status: int
    fields: List[Tuple[str, str]]
    body: bytes

    def values(self, name: str) -> List[str]:
        return [value for found, value in self.fields if found.lower() == name]


class Exchange:
    """One connection: what is to be sent, part by part, and what came back."""

    def __init__(self, port: int, parts: Sequence[bytes], half_close: bool = False, waits: bool = False) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.parts = list(parts)
        self.half_close = half_close
        self.waits = waits  # for 100 Continue after each part that is a head
        self.part = b""  # the last one
        self.pending = b""
        self.received = b""
        self.ended = ""  # how: "closed", "reset", "silent"

    def write(self) -> None:
        try:
            self.pending = self.pending[self.sock.send(self.pending) :]
        except BlockingIOError:
            return
        except OSError:  # reading tells what happened
            self.pending, self.parts = b"", []
        if not self.pending and not self.parts and self.half_close:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def read(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self.end("reset")
            return
        self.received += data
        if not data:
            self.end("closed")

    def must_wait(self) -> bool:
        asks = self.waits and not self.ended and bool(self.parts) and self.part.endswith(b"\r\n\r\n")
        return asks and not self.received.endswith(b" 100 Continue\r\n\r\n")

    def end(self, how: str) -> None:
        self.ended = how
        self.sock.close()


def step(exchanges: Sequence[Exchange], timeout: float) -> None:
    """Read and write what is ready, after waiting for it if nothing is."""
    running = [exchange for exchange in exchanges if not exchange.ended]
    readers = {exchange.sock: exchange for exchange in running}
    writers = {exchange.sock: exchange for exchange in running if exchange.pending}
    readable, writable, _ = select.select(readers, writers, [], timeout)
    for sock in writable:
        writers[sock].write()
    for sock in readable:
        readers[sock].read()


def talk(exchanges: Sequence[Exchange], pause: float = BYTE_PAUSE_S) -> None:
    """Send all parts, in rounds with a pause between them, and read until every connection ends."""
    while any(exchange.parts for exchange in exchanges):
        for exchange in exchanges:
            if exchange.parts and not exchange.ended:
                exchange.part = exchange.parts.pop(0)
                exchange.pending += exchange.part
                if not exchange.pending:
                    exchange.write()  # nothing, but the end
        deadline = time.monotonic() + PATIENCE_S
        while any(one.pending and not one.ended for one in exchanges) and time.monotonic() < deadline:
            step(exchanges, 1.0)
        pausing = time.monotonic() + pause
        while time.monotonic() < pausing:
            step(exchanges, max(0.0, pausing - time.monotonic()))
        while any(exchange.must_wait() for exchange in exchanges) and time.monotonic() < deadline:
            step(exchanges, 1.0)
        for exchange in exchanges:
            if exchange.ended:
                exchange.parts = []
    deadline = time.monotonic() + PATIENCE_S
    while not all(exchange.ended for exchange in exchanges) and time.monotonic() < deadline:
        step(exchanges, 1.0)
    for exchange in exchanges:
        if not exchange.ended:
            exchange.end("silent")


def responses(data: bytes, to_head: Sequence[bool] = ()) -> Iterator[Response]:
    """Read the responses in `data`; the nth final one has no body where `to_head` says so. Raises ValueError."""
    final = 0
    while data:
        match = HEAD.match(data)
        if not match:
            raise ValueError(f"no response: {data[:300]!r}")
        data = data[match.end() :]
        status = int(match[1])
        lines = [line.split(": ", 1) for line in match[3].decode("latin-1").split("\r\n") if line]
        fields = [(line[0], line[1] if len(line) > 1 else "") for line in lines]
        response = Response(status, fields, b"")
        if status >= 200:
            final += 1
        if status >= 200 and status not in (204, 304) and not (final <= len(to_head) and to_head[final - 1]):
            length = response.values("content-length")
            if len(length) != 1 or response.values("transfer-encoding"):
                raise ValueError(f"not framed by one Content-Length: {fields}")
            if len(data) < int(length[0]):
                raise ValueError(f"the body ends after {len(data)} of {length[0]} bytes")
            response = response._replace(body=data[: int(length[0])])
            data = data[int(length[0]) :]
        yield response


def same_clause(one: str, other: str) -> bool:
    """Say whether one clause is the other, or a part of it."""
    return (one + ".").startswith(other + ".") or (other + ".").startswith(one + ".")


def refusal_faults(response: Response, to_head: bool, clauses: str) -> Iterator[str]:
    """Yield what is wrong with a refusal."""
    if response.values("connection") != ["close"]:
        yield f"Connection is {response.values('connection')}"
    if not response.values("content-type")[:1] or not response.values("content-type")[0].startswith("text/plain"):
        yield f"Content-Type is {response.values('content-type')}"
    if response.values("x-content-type-options") != ["nosniff"]:
        yield "there is no nosniff"
    told = "\n".join(": ".join(field) for field in response.fields if field[0].lower() != "server")
    text = response.body.decode("latin-1")
    if INSIDE.search(told + text):
        yield "it tells of the inside"
    if to_head:
        return
    if not re.fullmatch(rf"{response.status} [A-Z][A-Za-z -]+: [\x20-\x7e]{{1,300}}\n", text):
        yield f"the body is not one short sentence: {text!r}"
    named = CLAUSE.findall(text)
    if clauses and not named:
        yield f"no clause is named: {text!r}"
    elif clauses and not any(same_clause(named[0], clause) for clause in clauses.split("|")):
        yield f"the clause is not RFC {clauses}: {text!r}"


def faults(row: Row, exchange: Exchange) -> Iterator[str]:
    """Yield what differs from the verdict."""
    if row.verdict.startswith("-") and not exchange.received:
        if exchange.ended == "silent":
            yield "the connection stays open"
        return
    verdicts = row.verdict.replace("-|", "").split()
    to_head = [verdict.startswith("H") for verdict in verdicts if not verdict.startswith("1")]
    try:
        answers = list(responses(exchange.received, to_head))
    except ValueError as error:
        yield str(error)
        return
    statuses = [str(answer.status) for answer in answers]
    expected = [verdict.lstrip("H").split("|") for verdict in verdicts]
    if len(statuses) != len(expected) or any(one not in any_of for one, any_of in zip(statuses, expected)):
        yield f"the statuses are {statuses or 'none'}"
        return
    refused = bool(answers) and answers[-1].status >= 400
    if exchange.ended == "silent" or (exchange.ended == "reset" and (refused or not answers)):
        yield f"the connection was {exchange.ended} at the end"
    final = [answer for answer in answers if answer.status >= 200]
    for answer in final:
        if len(answer.values("date")) != 1 or not DATE.fullmatch(answer.values("date")[0]):
            yield f"Date is {answer.values('date')}"
        if len(answer.values("server")) > 1:
            yield "Server stands twice"
    for answer in final[:-1]:
        if "close" in answer.values("connection"):
            yield "Connection: close stands before the last answer"
    if final and not exchange.half_close and final[-1].values("connection") != ["close"]:
        yield "Connection: close is not said"
    if refused:
        yield from refusal_faults(answers[-1], to_head[-1], row.clause)
    if row.shows and not (final and row.shows in final[-1].body):
        yield f"{row.shows!r} is not shown in {final[-1].body if final else b''!r}"
    if row.hides and row.hides in exchange.received:
        yield f"{row.hides!r} is shown in {exchange.received!r}"


def ways(data: Union[bytes, Tuple[bytes, ...]], everywhere: bool) -> Iterator[Tuple[str, Sequence[bytes]]]:
    """Yield the ways in which `data` is cut, with a name for each."""
    if isinstance(data, tuple):
        yield "in its parts", data
        return
    yield "whole", [data]
    points: Sequence[int] = ()
    if len(data) > LONG:
        points = (1, len(data) // 2, len(data) * 9 // 10, len(data) - 1)
    elif len(data) > 1:
        yield "byte by byte", [data[index : index + 1] for index in range(len(data))]
        points = range(1, len(data)) if everywhere else ()
    for point in points:
        yield f"cut at {point}", [data[:point], data[point:]]


def batches(plans: List[Plan]) -> Iterator[Tuple[float, List[Plan]]]:
    """Yield the plans that are carried out together, with their pause between two parts."""
    single = [plan for plan in plans if plan[1] == "byte by byte"]
    single.sort(key=lambda plan: len(plan[2]))  # a batch takes as many rounds as its longest
    others = [plan for plan in plans if plan[1] != "byte by byte"]
    for pause, kind in ((PART_PAUSE_S, others), (BYTE_PAUSE_S, single)):
        for start in range(0, len(kind), TOGETHER):
            yield pause, kind[start : start + TOGETHER]


def run_group(port: int, group: str) -> int:
    """Run a table; print and count what differs from the verdicts."""
    from tables import TABLES

    template, half_close, rows = TABLES[group]
    plans: List[Plan] = []
    for row in (Row(*row) for row in rows):
        data = row.data if isinstance(row.data, tuple) else template % row.data
        plans += [(row, way, parts) for way, parts in ways(data, group.startswith("cuts"))]
    found: Dict[Tuple[Row, str], List[Tuple[str, Exchange]]] = {}
    for pause, batch in batches(plans):
        exchanges = [Exchange(port, parts, half_close, "100" in row.verdict) for row, _, parts in batch]
        talk(exchanges, pause)
        for (row, way, _), exchange in zip(batch, exchanges):
            for fault in faults(row, exchange):
                found.setdefault((row, fault), []).append((way, exchange))
    for (row, fault), where in found.items():
        sent = b"".join(row.data) if isinstance(row.data, tuple) else template % row.data
        print(f"{group}: {row.why} (RFC {row.clause}), sent {', '.join(way for way, _ in where[:9])}: {row.verdict}")
        print(f"    but {fault}\n    sent     {shorten(sent)}")
        print(f"    received {shorten(where[0][1].received)}, {where[0][1].ended}")
    print(f"{group}: {len(rows)} requests, {len(plans)} connections, {len(found)} faults")
    return len(found)


def shorten(data: bytes) -> str:
    return repr(data) if len(data) <= 400 else f"{data[:300]!r} ... {data[-60:]!r}"


def departures(port: int) -> int:
    """Leave at every point of a request: by a close, or by a reset."""
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for reset in (False, True):
        for point in range(len(request) + 1):
            sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.send(request[:point])
            sock.close()
    return 0


def flood(port: int) -> int:
    """Have four clients pipeline without end; another is answered before they have all their answers."""
    count, request = 3000, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    floods = [Exchange(port, []) for _ in range(4)]
    for exchange in floods:
        exchange.pending = request * count
    while not all(exchange.received for exchange in floods):
        step(floods, 1.0)
    other = Exchange(port, [])
    other.pending = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answered = [0]
    while not other.ended and min(answered) < count:
        step([*floods, other], 1.0)
        answered = [exchange.received.count(b"HTTP/1.1 200 ") for exchange in floods]
    for exchange in floods:
        exchange.end("closed")
    print(f"flood: another client was {other.ended or 'kept waiting'}, the four had {answered} of {count}")
    return 0 if other.received.startswith(b"HTTP/1.1 200 ") and min(answered) < count else 1


def serves_another(port: int) -> bool:
    """Say whether a plain request is answered."""
    exchange = Exchange(port, [b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
    talk([exchange])
    return exchange.received.startswith(b"HTTP/1.1 200 ")


def main() -> int:
    port, wrong = int(sys.argv[1]), 0
    for group in sys.argv[2:]:
        special = {"departures": departures, "flood": flood}.get(group)
        wrong += special(port) if special else run_group(port, group)
        if not serves_another(port):
            wrong += 1
            print(f"{group}: the next client is not served")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
