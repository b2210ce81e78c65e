#!/usr/bin/env python3
"""Open many HTTP connections at once, ask once on each, hold them all, and tell what happened.

    python client.py [URL] [--max-clients N] [--max-conns N] [--timeout S]

    1024 answered, 0 refused, 0 reset, 0 timed out, 0 malformed, 0 cut short, 0 failed in 0.53 s

    parent ---- fork ----> process: one selector, an *exchange* a connection
      |  <---- report ----   a line for each connection; its end: every process is done, or dead
      '----- lifeline ---->  its end: every process may go

An exchange is a generator: connect, ask, read the whole answer. It reads straight down and
never blocks: it yields (socket, events) and is resumed when that is ready. A process starts
all its exchanges before it waits for any, and holds their connections until the lifeline
ends. Meanwhile a server may close them: after its whole answer that is no fault.

Exit status: 0 every request was answered, whatever the status of the answer; 1 some were
not; 2 bad use; 130 Ctrl-C, after the summary so far.

Rooms: limits, transport, answer, exchange, process, parent, command line. Each uses only
those above it.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import resource
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from typing import Any, Callable, Dict, Generator, List, NamedTuple, NoReturn, Tuple, TypeVar

T = TypeVar("T")
Steps = Generator[Tuple[socket.socket, int], None, T]  # a part of an exchange, returning T
Outcome = Tuple[str, str]  # one of KINDS, and the status or the reason: our words, never the server's
KINDS = ("answered", "refused", "reset", "timed out", "malformed", "cut short", "failed")


# ---- limits: every number, its unit in its name, its reason beside it ------------------------


class Limits:
    """The defaults of the command line first."""

    max_clients = 1  # processes
    max_conns = 1024  # connections of each process: the article's figure
    timeout_s = 60.0  # for the whole run: five repeats of a lost SYN take 31 s
    longest_timeout_s = 86400.0  # a day; what the system's clocks take without overflow
    spare_descriptors = 32  # for streams, pipes, the selector, and what the shell left open
    head_bytes = 65536  # of an answer: more than servers and proxies send
    line_bytes = 8192  # of a chunk-size with its extensions, or of a trailer field
    block_bytes = 65536  # of one read


# ---- transport: a socket, and what came on it; knows no HTTP ---------------------------------


class BadAnswer(Exception):
    """An answer that is none; the arguments are its Outcome."""


class Connection:
    """The server's bytes: `ahead` are those that were received and not yet used."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ahead = bytearray()

    def send(self, data: bytes) -> Steps[None]:
        """Send all of `data`."""
        while data:
            yield self.sock, selectors.EVENT_WRITE
            data = data[self.sock.send(data) :]

    def receive(self) -> Steps[bool]:
        """Add what arrives to `ahead`; return False at the end."""
        yield self.sock, selectors.EVENT_READ
        block = self.sock.recv(Limits.block_bytes)
        self.ahead += block
        return bool(block)

    def read_through(self, mark: bytes, limit: int, part: str) -> Steps[bytes]:
        """Take the next bytes through `mark`, `limit` at the most. Raises BadAnswer, naming the `part`."""
        while (end := self.ahead.find(mark, 0, limit)) < 0:
            if len(self.ahead) >= limit:
                raise BadAnswer("malformed", f"no end of the {part} within {limit} bytes")
            if not (yield from self.receive()):
                raise BadAnswer("cut short", ("in the " if self.ahead else "before the ") + part)
        taken = bytes(self.ahead[: end + len(mark)])
        del self.ahead[: len(taken)]
        return taken

    def skip(self, count: int) -> Steps[None]:
        """Drop the next `count` bytes. Raises BadAnswer."""
        while len(self.ahead) < count:
            count -= len(self.ahead)
            self.ahead.clear()
            if not (yield from self.receive()):
                raise BadAnswer("cut short", "in the body")
        del self.ahead[:count]


# ---- answer: read whole, by RFC 9112; knows no sockets ---------------------------------------

TOKEN, VALUE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", rb"[\t\x20-\x7e\x80-\xff]*"
HEAD = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9][0-9]) %b\r\n((?:%b:%b\r\n)*)\r\n" % (VALUE, TOKEN, VALUE))
FIELD = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, VALUE))
LENGTH = re.compile(rb"([0-9]{1,18})(?:[ \t]*,[ \t]*\1)*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % VALUE)


def skip_answer(connection: Connection) -> Steps[int]:
    """Read one whole answer to a GET, drop it, and return its status. Raises BadAnswer."""
    status = 100
    while status < 200:  # interim: the answer is still to come (RFC 9110 15.2)
        status, fields = yield from read_head(connection)
    # Where it ends: the steps of RFC 9112 6.3.
    codings, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if codings is not None and length is not None:
        raise BadAnswer("malformed", "both Transfer-Encoding and Content-Length: two ends to choose from")
    if status in (204, 304):
        pass
    elif length is not None:
        number = LENGTH.fullmatch(length)
        if not number:
            raise BadAnswer("malformed", "Content-Length is not a number")
        yield from connection.skip(int(number[1]))
    elif codings is not None and codings.lower().split(b",")[-1].strip() == b"chunked":
        yield from skip_chunks(connection)
    else:
        while (yield from connection.receive()):
            connection.ahead.clear()
    return status


def read_head(connection: Connection) -> Steps[Tuple[int, Dict[bytes, bytes]]]:
    """Return the status, and the values by lower-case name, repeated ones joined (RFC 9110 5.3)."""
    received = yield from connection.read_through(b"\r\n\r\n", Limits.head_bytes, "head")
    head = HEAD.fullmatch(received)
    if not head:
        raise BadAnswer("malformed", "the head is no status-line and field lines")
    fields: Dict[bytes, bytes] = {}
    for name, value in FIELD.findall(head[2]):
        name, value = name.lower(), value.strip(b" \t")
        fields[name] = fields[name] + b"," + value if name in fields else value
    return int(head[1]), fields


def skip_chunks(connection: Connection) -> Steps[None]:
    """Read chunks through the last one, and the trailer section (RFC 9112 7.1). Raises BadAnswer."""
    size = -1
    while size != 0:
        line = yield from connection.read_through(b"\r\n", Limits.line_bytes, "chunk-size")
        chunk = CHUNK_LINE.fullmatch(line)
        if not chunk:
            raise BadAnswer("malformed", "a chunk-size is not hexadecimal")
        size = int(chunk[1], 16)
        if size:
            yield from connection.skip(size)
            yield from connection.read_through(b"\r\n", 2, "chunk")
    while (yield from connection.read_through(b"\r\n", Limits.line_bytes, "trailer section")) != b"\r\n":
        pass


# ---- exchange: connect, ask, read the answer -------------------------------------------------

SYSTEM = {  # what the system reports, in the words of KINDS
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timed out",
}


class Target(NamedTuple):
    """Whom to ask, at any of these addresses as getaddrinfo gives them, and the bytes to send."""

    addresses: List[Tuple[Any, ...]]
    request: bytes


def connect(target: Target) -> Steps[socket.socket]:
    """Return a socket connected to the first address that accepts. Raises the OSError of the last."""
    for family, kind, protocol, _, address in target.addresses:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        error = sock.connect_ex(address)
        if error == errno.EINPROGRESS:
            yield sock, selectors.EVENT_WRITE
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error:
            return sock
        sock.close()
    raise OSError(error, os.strerror(error))


def exchange(target: Target, held: List[Connection]) -> Steps[Outcome]:
    """Return how one request ended; `held` keeps its connection open."""
    try:
        connection = Connection((yield from connect(target)))
        held.append(connection)
        yield from connection.send(target.request)
        return "answered", str((yield from skip_answer(connection)))
    except BadAnswer as error:
        return error.args[0], error.args[1]
    except OSError as error:
        kind = SYSTEM.get(error.errno or 0)
        return (kind, "") if kind else ("failed", error.strerror or "")


# ---- process: all its exchanges, on one selector ---------------------------------------------


def run_exchanges(target: Target, count: int, deadline: float, report: int, lifeline: int) -> None:
    """Run `count` exchanges at once, report each, and hold their connections until the lifeline ends."""
    held: List[Connection] = []
    selector = selectors.DefaultSelector()
    selector.register(lifeline, selectors.EVENT_READ)

    def tell(outcome: Outcome) -> None:
        os.write(report, "\t".join(outcome).encode() + b"\n")  # below PIPE_BUF, so never torn

    def step(steps: Steps[Outcome]) -> None:
        try:
            selector.register(*next(steps), data=steps)
        except StopIteration as end:
            tell(end.value)

    for _ in range(count):
        step(exchange(target, held))
    while len(selector.get_map()) > 1 and time.monotonic() < deadline:
        for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
            if key.fileobj == lifeline:
                return
            selector.unregister(key.fileobj)
            step(key.data)
    for _ in range(len(selector.get_map()) - 1):
        tell(("timed out", ""))
    os.close(report)
    os.read(lifeline, 1)  # returns at its end


# ---- parent: processes, and what they report -------------------------------------------------


def spawn(work: Callable[[], None]) -> int:
    """Fork a process that does `work` and nothing else; return its pid. Raises OSError."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
        work()
    except BrokenPipeError:
        pass  # the parent is no more
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def run(target: Target, max_clients: int, max_conns: int, timeout_s: float) -> Tuple[Counter[Outcome], bool]:
    """Spawn the processes, count the outcomes, let all go together, wait for each; return the
    counts, and whether Ctrl-C ended the run."""
    deadline = time.monotonic() + timeout_s
    lifeline, anchor_number = os.pipe()
    outcomes_number, report = os.pipe()
    anchor = open(anchor_number, "wb", buffering=0)  # a file, unlike a number, closes twice unharmed
    outcomes = open(outcomes_number, encoding="utf-8")
    signal.signal(signal.SIGINT, lambda *_: anchor.close())  # all go then, and the report ends

    def work() -> None:
        anchor.close()
        outcomes.close()
        run_exchanges(target, max_conns, deadline, report, lifeline)

    pids: List[int] = []
    lost = "the process died"
    try:
        while len(pids) < max_clients and not anchor.closed:
            pids.append(spawn(work))
    except OSError as error:
        lost = f"no process: {error.strerror}"
    os.close(report)
    counts = Counter((kind, detail) for kind, detail in (line[:-1].split("\t") for line in outcomes))
    interrupted = anchor.closed
    untold = max_clients * max_conns - sum(counts.values())
    counts["failed", "interrupted" if interrupted else lost] += untold
    anchor.close()
    for pid in pids:
        os.waitpid(pid, 0)
    return +counts, interrupted


# ---- command line: from arguments to a summary and an exit status ----------------------------

URL = re.compile(
    r"(?i:http)://((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{1,5}))?)"
    r"(/[\x21\x22\x24-\x7e]*)?(?:#.*)?"
)


class UsageError(Exception):
    """The command line asks for what cannot be had: one line, exit status 2."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says. Raises UsageError."""
    parser = Parser(prog="client.py", allow_abbrev=False, description=(__doc__ or "").split("\n")[0])
    url = "http://localhost:8888/"
    parser.add_argument("url", nargs="?", default=url, metavar="URL", help=f"whom to ask ({url})")
    for option, default, metavar, text in (
        ("--max-clients", Limits.max_clients, "N", "processes"),
        ("--max-conns", Limits.max_conns, "N", "connections of each process"),
        ("--timeout", Limits.timeout_s, "S", "seconds for all of it"),
    ):
        text += f" ({default:g})"
        parser.add_argument(option, type=type(default), default=default, metavar=metavar, help=text)
    found = parser.parse_args()
    if min(found.max_clients, found.max_conns) < 1:
        raise UsageError("--max-clients and --max-conns: a number above 0")
    if not 0 < found.timeout <= Limits.longest_timeout_s:
        raise UsageError(f"--timeout: seconds above 0, {Limits.longest_timeout_s:g} at the most")
    return found


def aim(url: str) -> Target:
    """Return whom `url` means, and the request for it. Raises UsageError."""
    match = URL.fullmatch(url)
    if not match or not 0 < int(match[3] or 80) < 65536:
        raise UsageError(f"a URL is http://HOST[:PORT][/PATH] (https is not supported), not {url!a}")
    authority, host, port, path = match.groups()
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host} has no address: {error}") from None
    return Target(addresses, f"GET {path or '/'} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())


def allow_descriptors(count: int) -> None:
    """Raise this process's soft limit where it is below `count`. Raises UsageError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        except (OSError, ValueError, OverflowError):
            raise UsageError(f"--max-conns: the system allows no {count} descriptors (ulimit -Hn)") from None


def print_summary(counts: Counter[Outcome], took_s: float) -> None:
    """Print one line for all, then one for each status and reason, unless every status is 200."""
    kinds = {kind: sum(n for outcome, n in counts.items() if outcome[0] == kind) for kind in KINDS}
    print(", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f" in {took_s:.2f} s")
    if set(counts) != {("answered", "200")}:
        for (kind, detail), n in sorted(counts.items()):
            if detail:
                print(f"{n:6} {kind}: {detail}")


def main() -> int:
    """The program: return its exit status."""
    try:
        found = parse_arguments()
        target = aim(found.url)
        allow_descriptors(found.max_conns + Limits.spare_descriptors)
    except UsageError as error:
        print(f"client.py: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    counts, interrupted = run(target, found.max_clients, found.max_conns, found.timeout)
    print_summary(counts, time.monotonic() - started)
    if interrupted:
        return 130
    return 0 if all(kind == "answered" for kind, _ in counts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there is anything to sum up
        sys.exit(130)
