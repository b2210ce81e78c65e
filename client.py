#!/usr/bin/env python3
"""Ask an HTTP server many times, or wrongly on purpose, and tell what happened.

    python client.py [URL]                                  200 requests, on 50 connections
    python client.py [URL] --max-clients N --max-conns N    one on each connection, held open

    parent ---- fork ----> process: one selector, a *conversation* a connection
      |  <--- telling ----   a line a tick, where somebody looks; its end: all are done, or dead
      |  <--- reports ----   a file, to which each process adds what came of its requests
      '----- lifeline ---->  its end: every process may go

A conversation is a generator: connect, ask, read the whole response, again. It reads straight down
and never blocks: it yields the events that it waits for, and is sent True if its time came first.

A response is read as strictly as webserver.py reads a request. One that equals the last, which was
read so, byte for byte, is not parsed again: the same bytes end at the same place. Another Date alone
has it parsed. More bytes than the response, or a response that nobody asked for, is an error.

Exit status: 0 every request was answered as expected; 1 some were not, or the command of --during
failed; 2 bad use; 130 Ctrl-C, after the summary so far.

Rooms: limits, transport, response, load, parent, summary, command line. Each uses only those above.
"""

from __future__ import annotations

import argparse
import array
import collections
import errno
import json
import math
import os
import pickle
import re
import resource
import select
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from argparse import Namespace  # here: what the command line asks for, and what follows from that
from bisect import bisect_left
from typing import Any, BinaryIO, Callable, Counter, Deque, Dict, Generator, List
from typing import NoReturn, Optional, TextIO, Tuple, TypeVar, Union

T = TypeVar("T")
Steps = Generator[int, Optional[bool], T]  # a part of a conversation, returning T
Outcome = Tuple[str, str]  # of KINDS or "aborted", and the status or the reason, in our words
KINDS = ("answered", "refused", "reset", "timed out", "malformed", "cut short", "failed")
READ, WRITE, NEVER = selectors.EVENT_READ, selectors.EVENT_WRITE, float("inf")


# ---- limits: every number, its unit in its name, its reason beside it ------------------------


class Limits:
    """The defaults of the command line first."""

    requests, connections = 200, 50  # a first look, as by ten browsers
    max_clients, max_conns = 1, 1024  # processes, and connections of each: the article's figure
    timeout_s = 60.0  # five repeats of a lost SYN take 31 s
    endless = 10**12  # requests, with --duration
    spare_descriptors = 32  # for streams, pipes, the selector, and what the shell left open
    head_bytes = 65536  # of a response: more than servers and proxies send
    line_bytes = 8192  # of a chunk-size with its extensions, or of a trailer field
    block_bytes = 65536  # of one read, and of a chunk
    slow_buffer_bytes = 4096  # what the system may read ahead of a slow reader
    tick_s = 0.05  # how late a timeout may be, and how often a process tells how far it is
    moment_s = 0.05  # after an error; at the end, for a response that nobody asked for
    late_s = 0.01  # a request that is sent so long after it was due is late
    shown_bytes = 60  # of what was malformed


# ---- transport: a socket, and what came on it; knows no HTTP ---------------------------------


class BadResponse(Exception):
    """A response that is none; the arguments are its kind, the reason, and the bytes that show it."""


def show(mark: str, data: bytes) -> None:
    """Print every byte, by lines."""
    print("".join(f"{mark} {ascii(line)[2:-1]}\n" for line in data.splitlines(True)), end="", flush=True)


class Connection:
    """One socket after another; `ahead` are the bytes that came and were not yet used."""

    def __init__(self, asked: Namespace, selector: selectors.BaseSelector) -> None:
        self.asked, self.selector = asked, selector
        self.slow_send, self.slow_read = asked.slow
        self.sock: Any = None
        self.ahead = bytearray()
        self.events, self.wake, self.deadline = 0, NEVER, NEVER  # what it waits for; until when
        self.sent = self.received = self.room = 0  # bytes; room: until --abort-after
        self.awaited = ""
        self.dues: List[float] = []  # of the requests in hand
        self.spent = False  # its one request of --hold was sent
        self.conversation: Steps[None]

    def resume(self, woken: Optional[bool] = None) -> None:
        """Have its conversation go on until it waits again."""
        self.watch(self.conversation.send(woken))

    def watch(self, events: int) -> None:
        """Have the selector wait for these events alone."""
        if events != self.events:
            if self.events:
                self.selector.unregister(self.sock)
            if events:
                self.selector.register(self.sock, events, self)
            self.events = events

    def wait(self, events: int, seconds: float = NEVER) -> Steps[None]:
        """Wait for `events`, or `seconds`. Raises BadResponse when the time of the request is up."""
        self.wake = self.deadline if seconds == NEVER else min(self.deadline, time.monotonic() + seconds)
        if (yield events) and time.monotonic() >= self.deadline:
            raise BadResponse("timed out", f"no {self.awaited} in time", b"")

    def attempt(self, act: Callable[[], T]) -> Steps[T]:
        """Return act() as soon as the socket lets it. Raises what it raises, and BadResponse."""
        while True:
            try:
                return act()
            except (BlockingIOError, ssl.SSLWantReadError):
                yield from self.wait(READ)
            except ssl.SSLWantWriteError:
                yield from self.wait(WRITE)

    def open(self) -> Steps[None]:
        """Connect to the first address that accepts. Raises the OSError of the last, or BadResponse."""
        self.awaited, self.deadline = "connection", time.monotonic() + self.asked.connect_timeout
        for family, kind, protocol, _, address in self.asked.addresses:
            self.sock = socket.socket(family, kind, protocol)
            self.sock.setblocking(False)
            if self.slow_read:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, Limits.slow_buffer_bytes)
            while (error := self.sock.connect_ex(address)) == errno.EAGAIN:  # a UNIX socket's backlog is full
                yield from self.wait(0, Limits.tick_s)
            if error == errno.EINPROGRESS:
                yield from self.wait(WRITE)
                error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                if self.asked.tls:
                    self.watch(0)
                    self.sock = self.asked.tls.wrap_socket(
                        self.sock, server_hostname=self.asked.host, do_handshake_on_connect=False
                    )
                    yield from self.attempt(self.sock.do_handshake)
                return
            self.close()
        raise OSError(error, os.strerror(error))

    def close(self, reset: bool = False) -> None:
        """Close it where it is open, and forget what came."""
        if self.sock:
            self.watch(0)
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
        self.sock = None
        self.ahead.clear()

    def pace(self, rate: int, most: int) -> Steps[int]:
        """Return how many of `most` bytes may pass now."""
        if not rate:
            return most
        seconds = max(Limits.tick_s, 1 / rate)
        yield from self.wait(0, seconds)
        return min(most, int(rate * seconds))

    def send(self, data: bytes) -> Steps[bool]:
        """Send `data`; return False if something came before all was sent. Raises OSError, BadResponse."""
        rest = memoryview(data)
        while True:
            most = yield from self.pace(self.slow_send, len(rest))
            try:
                count = self.sock.send(rest[:most])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                count = 0
            self.sent += count
            if self.asked.debug:
                show(">", bytes(rest[:count]))
            rest = rest[count:]
            if not rest:
                return True
            if not self.slow_send:
                yield from self.wait(READ | WRITE)
            if self.stirs():
                return False

    def stirs(self) -> bool:
        """Return whether a byte, which is then in `ahead`, or the end has come, without waiting."""
        try:
            byte = self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        self.received += len(byte)
        self.ahead += byte
        return True

    def receive(self) -> Steps[bytes]:
        """Return what arrives, nothing at the end, and add it to `ahead`. Raises OSError, BadResponse."""
        if self.room <= 0:
            raise BadResponse("aborted", "as asked", b"")
        most = yield from self.pace(self.slow_read, min(self.room, Limits.block_bytes))
        if not self.asked.tls:  # there bytes may be decrypted already
            yield from self.wait(READ)
        block = yield from self.attempt(lambda: self.sock.recv(most))
        self.room -= len(block)
        self.received += len(block)
        self.ahead += block
        if self.asked.debug:
            show("<", block)
        return block  # type: ignore[no-any-return]

    def read_through(self, mark: bytes, limit: int, part: str) -> Steps[bytes]:
        """Take the next bytes through `mark`, `limit` at the most. Raises BadResponse, naming the `part`."""
        while (end := self.ahead.find(mark, 0, limit)) < 0:
            if len(self.ahead) >= limit:
                raise BadResponse("malformed", f"no end of the {part} within {limit} bytes", self.ahead)
            if not (yield from self.receive()):
                where = "in" if self.ahead else "before"
                raise BadResponse("cut short", f"{where} the {part}", self.ahead)
        taken = bytes(self.ahead[: end + len(mark)])
        del self.ahead[: len(taken)]
        return taken

    def skip(self, count: float) -> Steps[None]:
        """Drop the next `count` bytes, or all until the end. Raises BadResponse."""
        while len(self.ahead) < count:
            count -= len(self.ahead)
            self.ahead.clear()
            if not (yield from self.receive()):
                if count == NEVER:
                    return
                raise BadResponse("cut short", "in the body", b"")
        del self.ahead[: int(count)]


# ---- response: read whole, by RFC 9112; knows no sockets -------------------------------------

TOKEN, VALUE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", rb"[\t\x20-\x7e\x80-\xff]*"
HEAD = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9]) %b\r\n((?:%b:%b\r\n)*)\r\n" % (VALUE, TOKEN, VALUE))
FIELD = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, VALUE))
LISTS = (b"connection", b"transfer-encoding")
LENGTH = re.compile(rb"([0-9]{1,18})(?:[ \t]*,[ \t]*\1)*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % VALUE)


def skip_response(connection: Connection, bodiless: bool) -> Steps[Tuple[str, bool]]:
    """Read a response, drop it; return its status, and whether another may follow. Raises BadResponse."""
    status = "100"
    while status[0] == "1":  # interim: the response is still to come (RFC 9110 15.2)
        minor, status, fields = yield from read_head(connection)
        if status == "101":
            raise BadResponse("malformed", "another protocol, for which nobody asked (RFC 9110 15.2.2)", b"")
    # Where it ends: the steps of RFC 9112 6.3.
    codings, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    options, names = (re.split(rb"[ \t]*,[ \t]*", (fields.get(name) or b"").lower()) for name in LISTS)
    persistent = b"close" not in options and (minor != b"0" or b"keep-alive" in options)  # RFC 9112 9.3
    if codings is not None and length is not None:
        raise BadResponse("malformed", "both Transfer-Encoding and Content-Length: two ends", b"")
    if bodiless or status in ("204", "304"):
        return status, persistent
    if length is not None:
        number = LENGTH.fullmatch(length)
        if not number:
            raise BadResponse("malformed", "Content-Length is not a number", length)
        yield from connection.skip(int(number[1]))
        return status, persistent
    if codings is not None and (minor == b"0" or b"chunked" in names[:-1]):  # RFC 9112 6.1, 7.1
        raise BadResponse("malformed", "Transfer-Encoding in HTTP/1.0, or chunked before the last", codings)
    if names[-1] == b"chunked":
        yield from skip_chunks(connection)
        return status, persistent
    yield from connection.skip(NEVER)
    return status, False


def read_head(connection: Connection) -> Steps[Tuple[bytes, str, Dict[bytes, bytes]]]:
    """Return minor version, status, and values by lower-case name, repeated ones joined (RFC 9110 5.3)."""
    received = yield from connection.read_through(b"\r\n\r\n", Limits.head_bytes, "head")
    head = HEAD.fullmatch(received)
    if not head:
        raise BadResponse("malformed", "the head is no status-line and field lines", received)
    fields: Dict[bytes, bytes] = {}
    for name, value in FIELD.findall(head[3]):
        name, value = name.lower(), value.strip(b" \t")
        fields[name] = fields[name] + b"," + value if name in fields else value
    return head[1], head[2].decode(), fields


def skip_chunks(connection: Connection) -> Steps[None]:
    """Read chunks through the last one, and the trailer section (RFC 9112 7.1). Raises BadResponse."""
    size = -1
    while size != 0:
        line = yield from connection.read_through(b"\r\n", Limits.line_bytes, "chunk-size")
        chunk = CHUNK_LINE.fullmatch(line)
        if not chunk:
            raise BadResponse("malformed", "a chunk-size is not hexadecimal", line)
        size = int(chunk[1], 16)
        if size:
            yield from connection.skip(size)
            yield from connection.read_through(b"\r\n", 2, "chunk")
    while line != b"\r\n":
        line = yield from connection.read_through(b"\r\n", Limits.line_bytes, "trailer section")
        if line != b"\r\n" and not FIELD.fullmatch(line):
            raise BadResponse("malformed", "a trailer is no field line", line)


# ---- load: what one process asks, all its conversations on one selector ----------------------

SYSTEM = {  # what the system reports, in the words of KINDS
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "refused",  # there is no such UNIX socket
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timed out",
}


class Tally:
    """What came of the requests: of one process, and then of all."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = collections.Counter()
        self.examples: Dict[str, str] = {}  # the first error of each kind
        self.latencies = array.array("f")  # seconds, in 4 bytes a request
        self.failed = self.late = self.cut = self.sent = self.received = 0
        self.cpu_s = self.took_s = 0.0

    def add(self, other: Tally) -> None:
        """Add what came of the requests of another process."""
        self.counts.update(other.counts)
        self.examples = {**other.examples, **self.examples}
        self.latencies.extend(other.latencies)
        self.took_s = max(self.took_s, other.took_s)
        for name in ("failed", "late", "cut", "sent", "received", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Load:
    """One process: its connections, and its share of the requests."""

    def __init__(self, asked: Namespace, part: int, started: float) -> None:
        self.asked, self.started, self.deadline = asked, started, started + (asked.duration or NEVER)
        self.left, connections = ((n + part) // asked.processes for n in (asked.requests, asked.connections))
        self.interval = asked.processes / asked.rate if asked.rate else 0.0
        self.due = started + (part / asked.rate if asked.rate else 0.0)  # the next request
        self.selector = selectors.DefaultSelector()
        self.connections = [Connection(asked, self.selector) for _ in range(connections)]
        self.idle: Deque[Connection] = collections.deque()  # that may take a request
        self.resting, self.released, self.told = 0, False, (0, 0)  # resting: with nothing in hand
        self.same, self.same_outcome = b"", ("", "")  # the last whole response
        self.tally = Tally()

    def take(self, most: int) -> List[float]:
        """Return when the next requests were due, `most` of them; none when there is nothing to do now."""
        now = time.monotonic()
        if not self.interval:
            count = min(most, self.left)
            self.left -= count
            return [now] * count
        dues: List[float] = []
        while len(dues) < most and self.left and self.due <= now:
            dues.append(self.due)
            self.tally.late += now - self.due > Limits.late_s
            self.due += self.interval
            self.left -= 1
        return dues

    def converse(self, connection: Connection) -> Steps[None]:
        """Ask and read for ever, on a new connection where the last has ended."""
        while True:
            if not connection.spent:  # what a server that closed left unanswered comes first (RFC 9112 9.6)
                connection.dues += self.take(self.asked.pipeline - len(connection.dues))
            if not connection.dues:
                yield from self.rest(connection)
                continue
            connection.spent = self.asked.hold
            try:
                if not connection.sock:
                    yield from connection.open()
                yield from self.exchange(connection)
                continue
            except BadResponse as error:
                self.fail(connection, *error.args)
            except ssl.SSLError as error:
                self.fail(connection, "failed", str(error), b"")
            except OSError as error:
                kind = SYSTEM.get(error.errno or 0, "failed")
                self.fail(connection, kind, (error.strerror or "") if kind == "failed" else "", b"")
            connection.deadline = NEVER
            yield from connection.wait(0, Limits.moment_s if self.left else 0)

    def exchange(self, connection: Connection) -> Steps[None]:
        """Send the requests in hand, and read a response to each. Raises OSError, BadResponse."""
        asked, dues = self.asked, connection.dues
        connection.awaited, connection.deadline = "whole response", time.monotonic() + asked.timeout
        connection.room = asked.abort_after or sys.maxsize
        whole = yield from connection.send(asked.request * len(dues))
        last = not whole or asked.half_close or asked.no_keepalive
        if asked.half_close:
            connection.sock.shutdown(socket.SHUT_WR)
        while dues:
            outcome, persistent = yield from self.read(connection)
            took = time.monotonic() - dues[0]
            ends = not persistent or (last and len(dues) == 1)
            if ends and whole and not asked.hold and not connection.ahead:
                try:
                    yield from connection.receive()
                except ConnectionResetError:
                    pass  # an end as well, after a whole response
            if connection.ahead and (ends or len(dues) == 1):
                raise BadResponse("malformed", "more than the response", connection.ahead)
            del dues[0]
            self.tally.latencies.append(took)
            self.tally.counts[outcome] += 1
            if ends and not asked.hold:
                return connection.close()
        return None

    def read(self, connection: Connection) -> Steps[Tuple[Outcome, bool]]:
        """Return what came of a response, and whether another may follow. Raises OSError, BadResponse."""
        if not connection.ahead:
            yield from connection.receive()
        block, received = bytes(connection.ahead), connection.received
        if self.same and block.startswith(self.same):
            del connection.ahead[: len(self.same)]
            return self.same_outcome, True
        status, persistent = yield from skip_response(connection, self.asked.method == "HEAD")
        outcome = ("answered", status)
        if persistent and connection.received == received:  # all of it was in `block`
            self.same, self.same_outcome = block[: len(block) - len(connection.ahead)], outcome
        return outcome, persistent

    def rest(self, connection: Connection) -> Steps[None]:
        """Wait until a request is due, or the server does what nobody asked for."""
        self.resting += 1
        connection.wake = NEVER
        if not connection.spent:
            self.idle.append(connection)
        due = yield READ if connection.sock else 0
        self.resting -= 1
        if due:
            return
        if not connection.spent:
            self.idle.remove(connection)
        try:
            stirs = connection.stirs()
        except OSError:  # the server may end it, somehow
            stirs = True
        if connection.ahead and not connection.spent:
            self.fail(connection, "malformed", "a response that nobody asked for", connection.ahead)
        elif stirs:
            connection.close()

    def fail(self, connection: Connection, kind: str, reason: str, part: Union[bytes, bytearray]) -> None:
        """Count what went wrong with the requests in hand, and close."""
        count = max(1, len(connection.dues))
        self.tally.counts[kind, reason] += count
        self.tally.failed += 0 if kind == "aborted" else count
        shown = ascii(bytes(part[: Limits.shown_bytes]))[1:] if part else ""
        example = f"{reason or kind} {shown}".rstrip() + f", after {time.monotonic() - self.started:.3f} s"
        if kind != "aborted":
            self.tally.examples.setdefault(kind, example)
        connection.dues = []
        connection.close(reset=kind == "aborted")

    def run(self, lifeline: int, tell: Callable[[bytes], object]) -> Tally:
        """Converse until every request has its outcome, the deadline, or the lifeline's end."""
        self.selector.register(lifeline, READ)
        for connection in self.connections:
            connection.conversation = self.converse(connection)
            connection.resume()
        now, tick, end = self.started, 0.0, self.deadline
        while now < end and not self.released:
            self.listen()
            now = time.monotonic()
            if now >= tick:
                tick = now + Limits.tick_s
                for connection in self.connections:
                    if connection.wake <= now:
                        connection.resume(True)
                tell(self.progress())
            if not self.left and self.resting == len(self.connections) and not self.tally.took_s:
                self.tally.took_s = now - self.started
                end = end if self.asked.lasts else min(end, now + Limits.moment_s)
        tell(self.progress())
        return self.close(min(now, self.deadline))

    def listen(self) -> None:
        """Wait a tick at the most, and have the conversations go on for which something happens."""
        wait = Limits.tick_s
        if self.interval:  # a selector counts milliseconds: too coarse for a rate
            wait = min(wait, self.due - time.monotonic()) if self.idle and self.left else wait
            select.select([self.selector], [], [], max(0.0, wait))
            wait = 0.0
        for key, _ in self.selector.select(wait):
            if key.data:
                key.data.resume()
            else:
                self.released = True
        while self.interval and self.idle and self.left and self.due <= time.monotonic():
            self.idle.popleft().resume(True)

    def progress(self) -> bytes:
        """Return how many requests have been answered, and how many failed, since it was last asked."""
        before, self.told = self.told, (len(self.tally.latencies), self.tally.failed)
        return b"%d %d\n" % (self.told[0] - before[0], self.told[1] - before[1])

    def close(self, now: float) -> Tally:
        """Return what came of all requests, those included that are not done."""
        tally, used = self.tally, resource.getrusage(resource.RUSAGE_SELF)
        tally.took_s, tally.cpu_s = tally.took_s or now - self.started, used.ru_utime + used.ru_stime
        if self.interval and now >= self.due:
            tally.cut = min(self.left, int((now - self.due) / self.interval) + 1)
        for connection in self.connections:
            tally.cut += len(connection.dues)
            tally.sent += connection.sent
            tally.received += connection.received
        return tally


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


def follow(telling: TextIO, asked: Namespace, started: float) -> Dict[str, Any]:
    """Draw what the processes tell until all are done; run --during's command, return what came of it."""
    done = failed = 0
    command, outlasted = None, False
    bar = sys.stderr.isatty()
    for line in telling:
        answered, errors = map(int, line.split())
        done, failed, took_s = done + answered + errors, failed + errors, time.monotonic() - started
        part = min(1.0, max(done / asked.requests, took_s / (asked.duration or NEVER)))
        if command:
            outlasted = outlasted or command.poll() is not None
        elif asked.during and part >= 1 / 3:
            command = subprocess.Popen(asked.during, shell=True, stdout=sys.stderr)
        if bar:
            shown = f"\r[{'#' * int(30 * part):30}] {done} done, {done / took_s:,.0f}/s, {failed} errors "
            print(shown, end="", file=sys.stderr, flush=True)
    if bar:
        print("\r\33[K", end="", file=sys.stderr, flush=True)
    return {"command": asked.during, "status": command.wait(), "outlasted": outlasted} if command else {}


def run(asked: Namespace) -> Tuple[Tally, Dict[str, Any], bool]:
    """Spawn the processes, let all go together when the last is done, wait for each; return what came of the
    requests and of --during, and whether Ctrl-C ended the run."""
    started = time.monotonic()
    lifeline, anchor_number = os.pipe()
    telling_number, told = os.pipe()
    anchor = open(anchor_number, "wb", buffering=0)  # a file, unlike a number, closes twice unharmed
    telling = open(telling_number, encoding="utf-8")
    reports = tempfile.TemporaryFile()
    heard = asked.during or sys.stderr.isatty()
    signal.signal(signal.SIGINT, lambda *_: anchor.close())  # all go then, and the telling ends

    def work() -> None:
        anchor.close()
        telling.close()
        load = Load(asked, len(pids), started)
        tally = load.run(lifeline, lambda line: heard and os.write(told, line))  # below PIPE_BUF: never torn
        os.write(reports.fileno(), pickle.dumps((len(pids), tally)))  # at once, at the offset that all share
        os.close(told)
        os.read(lifeline, 1)  # returns at its end

    pids: List[int] = []
    lost = "the process died"
    try:
        while len(pids) < asked.processes and not anchor.closed:
            pids.append(spawn(work))
    except OSError as error:
        lost = f"no process: {error.strerror}"
    os.close(told)
    during = follow(telling, asked, started)
    interrupted = anchor.closed
    anchor.close()
    for pid in pids:
        os.waitpid(pid, 0)
    return gather(reports, asked, "interrupted" if interrupted else lost), during, interrupted


def gather(reports: BinaryIO, asked: Namespace, lost: str) -> Tally:
    """Return what came of all requests; those of a process that reports nothing have failed."""
    tally, silent = Tally(), set(range(asked.processes))
    reports.seek(0)
    while reports.tell() < os.fstat(reports.fileno()).st_size:
        part, other = pickle.load(reports)
        silent.remove(part)
        tally.add(other)
    for load in (Load(asked, part, 0.0) for part in silent):
        tally.counts["failed", lost] += len(load.connections) if asked.duration else load.left
    if asked.held and tally.cut:
        tally.counts[("failed", lost) if lost == "interrupted" else ("timed out", "")] += tally.cut
        tally.cut = 0
    tally.failed = sum(n for (kind, _), n in tally.counts.items() if kind in KINDS[1:])
    return tally


# ---- summary: what came of it, for people and for scripts ------------------------------------


def summarize(tally: Tally, during: Dict[str, Any]) -> Dict[str, Any]:
    """Return all of it by name, as --json prints it; times are in seconds."""
    kinds = {kind: sum(n for outcome, n in tally.counts.items() if outcome[0] == kind) for kind in KINDS}
    summary: Dict[str, Any] = {
        "answered": kinds.pop("answered"),
        "errors": kinds,
        "seconds": tally.took_s,
        "bytes_sent": tally.sent,
        "bytes_received": tally.received,
        "cpu_seconds": tally.cpu_s,
        "aborted": tally.counts["aborted", "as asked"],
        "cut_by_deadline": tally.cut,
        "sent_late": tally.late,
        "statuses": {status: n for (kind, status), n in sorted(tally.counts.items()) if kind == "answered"},
        "examples": tally.examples,
        "during": {**during, "lost": tally.failed} if during else None,
        "latency": {},
        "histogram": {},
    }
    summary["per_second"] = summary["answered"] / (tally.took_s or NEVER)
    ordered = sorted(tally.latencies)
    if ordered:
        last = len(ordered) - 1
        parts = {"fastest": 0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "slowest": 1}
        summary["latency"] = {name: ordered[math.ceil(part * last)] for name, part in parts.items()}
        summary["latency"]["average"] = sum(ordered) / len(ordered)
        bounds = [n * 10.0**power for power in range(-6, 5) for n in (1, 2, 5)]
        places = [bisect_left(ordered, bound) for bound in bounds] + [len(ordered)]
        rows = zip(bounds, places, places[1:])
        summary["histogram"] = {f"{bound:g}": end - start for bound, start, end in rows if end > start}
    return summary


def print_summary(summary: Dict[str, Any], counts: Counter[Outcome], held: bool) -> None:
    """Print one line for all, then one for each status and reason, unless every status is 200."""
    kinds = {"answered": summary["answered"], **summary["errors"]}
    print(", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f" in {summary['seconds']:.2f} s")
    if not held:
        print_load(summary)
    if set(counts) != {("answered", "200")}:
        for (kind, detail), n in sorted(counts.items()):
            if n and detail:
                print(f"{n:6} {kind}: {detail}")
    for kind, example in summary["examples"].items() if not held else ():
        print(f"first {kind}: {example}")
    if during := summary["during"]:
        when = "" if during["outlasted"] else ", but the load ended first"
        what = f"exit status {during['status']}, {during['lost'] or 'no'} requests lost"
        print(f"during: {during['command']}: {what}{when}")


def print_load(summary: Dict[str, Any]) -> None:
    """Print rate, bytes, latencies with their histogram, and what has no outcome or a late one."""
    sizes = f"{summary['bytes_sent']:,} bytes sent, {summary['bytes_received']:,} received"
    print(f"{summary['per_second']:,.0f} a second, {sizes}, {summary['cpu_seconds']:.2f} s of own CPU time")
    if summary["latency"]:
        print("ms: " + ", ".join(f"{name} {took * 1000:.3g}" for name, took in summary["latency"].items()))
    for bound, n in summary["histogram"].items():
        bar = "#" * math.ceil(50 * n / max(summary["histogram"].values()))
        print(f"{float(bound) * 1000:9g} ms on {n:9} {bar}")
    for name in ("cut_by_deadline", "sent_late"):
        if summary[name]:
            print(f"{summary[name]:6} {name.replace('_', ' ')}")


# ---- command line: from arguments to a summary and an exit status ----------------------------

URL = re.compile(
    r"((?i:https?))://((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{1,5}))?)"
    r"(/[\x21\x22\x24-\x7e]*)?(?:#.*)?"
)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def matching(pattern: str, kind: Callable[[str], Any] = str) -> Callable[[str], Any]:
    """Return what reads an argument of this pattern, and raises ValueError for any other."""

    def argument(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return kind(text)

    return argument


COUNT = matching("[1-9][0-9]{0,8}", int)
AMOUNT = matching("(?=.*[1-9])[0-9]{1,6}([.][0-9]{1,6})?", float)  # which the system's clocks take as seconds
NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LINE = matching(NAME + r":[^\r\n\0]*")
STATUSES = matching("[1-5][0-9]{2}(,[1-5][0-9]{2})*")
SLOW = matching("((send|read):)?[1-9][0-9]{0,8}")
OPTIONS: Tuple[Tuple[str, Any, Any, str, str], ...] = (  # name, type, default, what stands for it, meaning
    ("requests", COUNT, Limits.requests, "N", "requests in all; without end where there is a duration"),
    ("duration", AMOUNT, "none", "S", "seconds for all of it"),
    ("connections", COUNT, Limits.connections, "C", "connections at once"),
    ("no-keepalive", None, "", "", "a connection for each request"),
    ("rate", AMOUNT, "none", "R", "requests a second in all; latency counts from when one is due"),
    ("processes", COUNT, "processors", "N", "processes, an event loop each"),
    ("method", matching(f"(?!CONNECT$){NAME}"), "GET", "METHOD", "method; POST where there is a body"),
    ("header", LINE, "none", "LINE", "field line, in place of its own of that name; may be repeated"),
    ("data", os.fsencode, "none", "TEXT", "body"),
    ("data-file", str, "none", "FILE", "body"),
    ("chunked", None, "", "", "send the body in chunks"),
    ("expect", STATUSES, "200", "STATUS", "what is a success, several with commas; any with --max-conns"),
    ("timeout", AMOUNT, Limits.timeout_s, "S", "seconds for a request; with --max-conns for all of it"),
    ("connect-timeout", AMOUNT, Limits.timeout_s, "S", "seconds for a connection"),
    ("unix", str, "none", "PATH", "socket to connect to"),
    ("insecure", None, "", "", "take any certificate"),
    ("slow", SLOW, "none", "BYTES_PER_S", "send and read no faster; send:N or read:N means one alone"),
    ("pipeline", COUNT, 1, "N", "requests sent at once on a connection"),
    ("half-close", None, "", "", "end the sending side after a request"),
    ("abort-after", COUNT, "none", "BYTES", "reset the connection after so much of a response"),
    ("hold", None, "", "", "ask once on each connection, hold it until the end"),
    ("during", str, "none", "COMMAND", "for the shell after a third of the load: does it lose a request?"),
    ("debug", None, "", "", "one request, every byte shown"),
    ("json", None, "", "", "the summary for scripts"),
    ("max-clients", COUNT, Limits.max_clients, "N", "processes whose connections are held"),
    ("max-conns", COUNT, Limits.max_conns, "N", "connections of each of them"),
)
LOAD = "requests duration connections no_keepalive rate processes pipeline half_close hold debug".split()


def parse_arguments(parser: Parser) -> Namespace:
    """Return what the command line says, by name, and what follows from it."""
    url = "http://localhost:8888/"
    parser.add_argument("url", nargs="?", default=url, metavar="URL", help=f"whom to ask ({url})")
    for name, kind, default, metavar, text in OPTIONS:
        if not kind:
            parser.add_argument("--" + name, action="store_true", help=text)
            continue
        text += f" ({default:g})" if isinstance(default, (int, float)) else f" ({default})"
        action = "append" if name == "header" else "store"
        parser.add_argument("--" + name, type=kind, metavar=metavar, help=text, action=action)
    asked = parser.parse_args()
    asked.held = bool(asked.max_clients or asked.max_conns)
    if asked.held and any(getattr(asked, name) for name in LOAD):
        parser.error("--max-clients and --max-conns go with none of " + ", ".join(LOAD).replace("_", "-"))
    asked.requests = asked.requests or (Limits.endless if asked.duration else None)
    asked.lasts = asked.hold and asked.duration  # the connections are held so long
    for name, _, default, _, _ in OPTIONS:
        name = name.replace("-", "_")
        if isinstance(default, (int, float)) and getattr(asked, name) is None:
            setattr(asked, name, default)
    if asked.held:
        asked.hold, asked.processes, asked.duration = True, asked.max_clients, asked.timeout
        asked.requests = asked.connections = asked.max_clients * asked.max_conns
        asked.timeout = asked.connect_timeout = NEVER
    asked.requests = 1 if asked.debug else asked.connections if asked.hold else asked.requests
    asked.connections = min(asked.connections, asked.requests)
    asked.processes = min(asked.processes or os.cpu_count() or 1, asked.connections)
    way, _, rate = (asked.slow or "0").rpartition(":")
    asked.slow = [0 if way == other else int(rate) for other in ("read", "send")]
    asked.expect = asked.expect.split(",") if asked.expect else [] if asked.held else ["200"]
    return asked


def aim(asked: Namespace) -> None:
    """Add whom the URL means, and the request for it. Raises OSError, ValueError."""
    match = URL.fullmatch(asked.url)
    if not match or not 0 < int(match[4] or 80) < 65536:
        raise ValueError(f"a URL is http[s]://HOST[:PORT][/PATH], not {asked.url!a}")
    scheme, authority, host, port, path = match.groups()
    asked.host = host.strip("[]")
    asked.tls = ssl.create_default_context() if scheme.lower() == "https" else None
    if asked.tls and asked.insecure:
        asked.tls.check_hostname, asked.tls.verify_mode = False, ssl.CERT_NONE
    if asked.tls and asked.half_close:
        raise ValueError("--half-close: not with https, for TLS ends both sides")
    asked.addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", asked.unix)]
    try:
        if not asked.unix:
            port = port or (443 if asked.tls else 80)
            asked.addresses = socket.getaddrinfo(asked.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{host} has no address: {error}") from None
    body = asked.data
    if asked.data_file:
        with open(asked.data_file, "rb") as file:
            body = file.read()
    asked.method = asked.method or ("GET" if body is None else "POST")
    fields = {"host": f"Host: {authority}"}
    if asked.no_keepalive:
        fields["connection"] = "Connection: close"
    if body is not None and asked.chunked:
        fields["transfer-encoding"] = "Transfer-Encoding: chunked"
        starts = range(0, len(body), Limits.block_bytes)
        chunks = [body[start : start + Limits.block_bytes] for start in starts] + [b""]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    elif body is not None:
        fields["content-length"] = f"Content-Length: {len(body)}"
    for line in asked.header or ():
        fields.pop(line.partition(":")[0].lower(), None)
    lines = [f"{asked.method} {path or '/'} HTTP/1.1", *fields.values(), *(asked.header or ()), "", ""]
    asked.request = os.fsencode("\r\n".join(lines)) + (body or b"")


def allow_descriptors(count: int) -> None:
    """Raise this process's soft limit where it is below `count`. Raises ValueError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        except (OSError, ValueError, OverflowError):
            raise ValueError(f"--max-conns: the system allows no {count} descriptors (ulimit -Hn)") from None


def main() -> int:
    """The program: return its exit status."""
    parser = Parser(prog="client.py", allow_abbrev=False, description=(__doc__ or "").split("\n")[0])
    asked = parse_arguments(parser)
    try:
        aim(asked)
        allow_descriptors(-(-asked.connections // asked.processes) + Limits.spare_descriptors)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    tally, during, interrupted = run(asked)
    summary = summarize(tally, during)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further has seen enough
    if asked.json:
        print(json.dumps(summary, indent=2))
    else:
        print_summary(summary, tally.counts, asked.held)
    if interrupted:
        return 130
    unexpected = asked.expect and set(summary["statuses"]) - set(asked.expect)
    nothing = not summary["answered"] and not summary["aborted"]
    return 1 if nothing or tally.failed or unexpected or during.get("status") else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there is anything to sum up
        sys.exit(130)
