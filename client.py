#!/usr/bin/env python3
"""Ask an HTTP server many times, or wrongly on purpose, and tell what happened.

    python client.py [URL]                                  200 requests, on 50 connections
    python client.py [URL] --max-clients N --max-conns N    one on each connection, held open

    parent ---- fork ----> process: one selector, a *conversation* a connection
      |  <----- link -----   each tick, a Tally of what came since; its end: done, or dead
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
import errno
import json
import math
import multiprocessing
import os
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
import time
from argparse import Namespace  # here: what the command line asks for, and what follows from that
from bisect import bisect_left
from collections import Counter, deque
from multiprocessing.connection import Connection as Link, wait
from typing import Any, Callable, Dict, Generator, Iterator, List, Match
from typing import NoReturn, Optional, Pattern, Tuple, TypeVar, Union

T = TypeVar("T")
Steps = Generator[int, Optional[bool], T]  # a part of a conversation, returning T
Outcome = Tuple[str, str]  # "answered", "aborted" or one of ERRORS; the status or the reason, in our words
ERRORS = ("refused", "reset", "timed out", "malformed", "cut short", "failed")
READ, WRITE, NEVER = selectors.EVENT_READ, selectors.EVENT_WRITE, float("inf")


# ---- limits: every number, its unit in its name, its reason beside it ------------------------


class Limits:
    """The defaults of the command line first."""

    requests, connections = 200, 50  # a first look, as by ten browsers
    max_clients, max_conns = 1, 1024  # processes, and connections of each: the article's figure
    timeout_s = 60  # five repeats of a lost SYN take 31 s
    endless = 10**12  # requests, with --duration
    process_descriptors = 3  # that the parent has for each: a link, and two of multiprocessing
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


class Failure(Exception):
    """What ends an exchange early; the arguments are its kind, the reason, and the bytes that show it."""


def show(mark: str, data: bytes) -> None:
    """Print every byte, by lines."""
    print("".join(f"{mark} {ascii(line)[2:-1]}\n" for line in data.splitlines(True)), end="", flush=True)


class Connection:
    """One socket after another; `ahead` are the bytes that came and were not yet used."""

    conversation: Steps[None]  # what is done with it

    def __init__(self, asked: Namespace, selector: selectors.BaseSelector) -> None:
        self.asked, self.selector = asked, selector
        self.sock: Any = None
        self.ahead = bytearray()
        self.dues: List[float] = []  # of the requests in hand
        self.events, self.wake = 0, NEVER  # what it waits for, and until when
        self.awaited, self.deadline = "", NEVER
        self.sent = self.received = self.room = 0  # bytes; room: until --abort-after

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
        """Wait for `events`, or `seconds`. Raises Failure at the deadline."""
        self.wake = self.deadline if seconds == NEVER else min(self.deadline, time.monotonic() + seconds)
        if (yield events) and time.monotonic() >= self.deadline:
            raise Failure("timed out", f"no {self.awaited} in time", b"")

    def attempt(self, act: Callable[[], T]) -> Steps[T]:
        """Return act() as soon as the socket lets it. Raises what it raises, and Failure."""
        while True:
            try:
                return act()
            except (BlockingIOError, ssl.SSLWantReadError):
                yield from self.wait(READ)
            except ssl.SSLWantWriteError:
                yield from self.wait(WRITE)

    def open(self) -> Steps[None]:
        """Connect to the first address that accepts. Raises the OSError of the last, or Failure."""
        self.awaited, self.deadline = "connection", time.monotonic() + self.asked.connect_timeout
        for family, kind, protocol, _, address in self.asked.addresses:
            self.sock = socket.socket(family, kind, protocol)
            self.sock.setblocking(False)
            if self.asked.slow_read:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, Limits.slow_buffer_bytes)
            while (error := self.sock.connect_ex(address)) == errno.EAGAIN:  # a UNIX socket's backlog is full
                yield from self.wait(0, Limits.tick_s)
            if error == errno.EINPROGRESS:
                yield from self.wait(WRITE)
                error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                break
            self.close()
        else:
            raise OSError(error, os.strerror(error))
        if self.asked.tls:
            self.watch(0)
            wrap, host = self.asked.tls.wrap_socket, self.asked.host
            self.sock = wrap(self.sock, server_hostname=host, do_handshake_on_connect=False)
            yield from self.attempt(self.sock.do_handshake)

    def close(self) -> None:
        """Close it where it is open, and forget what came."""
        if self.sock:
            self.watch(0)
            self.sock.close()
        self.sock = None
        self.ahead.clear()

    def collect(self, most: int) -> bytes:
        """Return what has come, nothing at the end, and add it to `ahead`. Raises OSError."""
        block: bytes = self.sock.recv(most)
        self.room -= len(block)
        self.received += len(block)
        self.ahead += block
        if self.asked.debug:
            show("<", block)
        return block

    def stirs(self) -> bool:
        """Return whether a byte or the end has come, without waiting. Raises OSError."""
        try:
            self.collect(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        return True

    def pace(self, rate: int, most: int) -> Steps[int]:
        """Return how many of `most` bytes may pass now."""
        if not rate:
            return most
        seconds = max(Limits.tick_s, 1 / rate)
        yield from self.wait(0, seconds)
        return min(most, int(rate * seconds))

    def send(self, data: bytes) -> Steps[bool]:
        """Send `data`; return False if something came before all was sent. Raises OSError, Failure."""
        rest = memoryview(data)
        while rest:
            most = yield from self.pace(self.asked.slow_send, len(rest))
            try:
                count = self.sock.send(rest[:most])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                count = 0
            self.sent += count
            if self.asked.debug:
                show(">", bytes(rest[:count]))
            rest = rest[count:]
            if rest and not self.asked.slow_send:
                yield from self.wait(READ | WRITE)
            if rest and self.stirs():
                return False
        return True

    def receive(self) -> Steps[bytes]:
        """Return what arrives, nothing at the end, and add it to `ahead`. Raises OSError, Failure."""
        if self.room <= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            raise Failure("aborted", "as asked", b"")
        most = yield from self.pace(self.asked.slow_read, min(self.room, Limits.block_bytes))
        if not self.asked.tls:  # there bytes may be decrypted already
            yield from self.wait(READ)
        return (yield from self.attempt(lambda: self.collect(most)))

    def read_through(self, mark: bytes, limit: int, part: str) -> Steps[bytes]:
        """Take the next bytes through `mark`, `limit` at most. Raises OSError, Failure naming the `part`."""
        while (end := self.ahead.find(mark, 0, limit)) < 0:
            if len(self.ahead) >= limit:
                raise Failure("malformed", f"no end of the {part} within {limit} bytes", self.ahead)
            if not (yield from self.receive()):
                raise Failure("cut short", f"{'in' if self.ahead else 'before'} the {part}", self.ahead)
        taken = bytes(self.ahead[: end + len(mark)])
        del self.ahead[: len(taken)]
        return taken

    def skip(self, count: float) -> Steps[None]:
        """Drop the next `count` bytes; without count, all until the end. Raises OSError, Failure."""
        while len(self.ahead) < count:
            count -= len(self.ahead)
            self.ahead.clear()
            if not (yield from self.receive()):
                if count == NEVER:
                    return
                raise Failure("cut short", "in the body", b"")
        del self.ahead[: int(count)]


# ---- response: read whole, by RFC 9112; knows no sockets -------------------------------------

TOKEN, VALUE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", rb"[\t\x20-\x7e\x80-\xff]*"
HEAD = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9]) %b\r\n((?:%b:%b\r\n)*)\r\n" % (VALUE, TOKEN, VALUE))
FIELD = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, VALUE))
COMMA = re.compile(rb"[ \t]*,[ \t]*")
LENGTH = re.compile(rb"([0-9]{1,18})(?:[ \t]*,[ \t]*\1)*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % VALUE)
TRAILER = re.compile(rb"(?:%b:%b)?\r\n" % (TOKEN, VALUE))
CHUNKED = -1  # in place of a length


def parse(rule: Pattern[bytes], data: bytes, reason: str) -> Match[bytes]:
    """Return `data` in the parts of `rule`. Raises Failure, malformed, where it breaks that."""
    match = rule.fullmatch(data)
    if not match:
        raise Failure("malformed", reason, data)
    return match


def skip_response(connection: Connection, bodiless: bool) -> Steps[Tuple[str, bool]]:
    """Read a response; return its status, and whether another may follow. Raises OSError, Failure."""
    status = "100"
    while status[0] == "1":  # interim: the response is still to come (RFC 9110 15.2)
        received = yield from connection.read_through(b"\r\n\r\n", Limits.head_bytes, "head")
        head = parse(HEAD, received, "the head is no status-line and field lines")
        status, old = head[2].decode(), head[1] == b"0"
        if status == "101":
            raise Failure("malformed", "another protocol, for which nobody asked (RFC 9110 15.2.2)", b"")
    fields: Dict[bytes, bytes] = {}
    for name, value in FIELD.findall(head[3]):
        name, value = name.lower(), value.strip(b" \t")
        fields[name] = fields[name] + b"," + value if name in fields else value  # RFC 9110 5.3
    options = COMMA.split(fields.get(b"connection", b"").lower())
    persistent = b"close" not in options and (not old or b"keep-alive" in options)  # RFC 9112 9.3
    length = find_length(fields, old, bodiless or status in ("204", "304"))
    yield from skip_chunks(connection) if length == CHUNKED else connection.skip(length)
    return status, persistent and length != NEVER


def find_length(fields: Dict[bytes, bytes], old: bool, bodiless: bool) -> float:
    """Return the bytes of the body, CHUNKED, or NEVER: until the end (RFC 9112 6.3). Raises Failure."""
    codings, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if codings is not None and length is not None:
        raise Failure("malformed", "both Transfer-Encoding and Content-Length: two ends", b"")
    if bodiless:
        return 0
    if length is not None:
        return int(parse(LENGTH, length, "Content-Length is not a number")[1])
    if codings is None:
        return NEVER
    *others, last = COMMA.split(codings.lower())
    if old or b"chunked" in others:  # RFC 9112 6.1, 7.1
        raise Failure("malformed", "Transfer-Encoding in HTTP/1.0, or chunked before the last", codings)
    return CHUNKED if last == b"chunked" else NEVER


def skip_chunks(connection: Connection) -> Steps[None]:
    """Read chunks through the last one, and the trailer section (RFC 9112 7.1). Raises OSError, Failure."""
    size, line = -1, b""
    while size != 0:
        line = yield from connection.read_through(b"\r\n", Limits.line_bytes, "chunk-size")
        size = int(parse(CHUNK_LINE, line, "a chunk-size is not hexadecimal")[1], 16)
        if size:
            yield from connection.skip(size)
            yield from connection.read_through(b"\r\n", 2, "chunk")
    while line != b"\r\n":
        line = yield from connection.read_through(b"\r\n", Limits.line_bytes, "trailer section")
        parse(TRAILER, line, "a trailer is no field line")


# ---- load: what one process asks, all its conversations on one selector ----------------------

SYSTEM = {  # what the system reports, in the words of ERRORS; ENOENT: there is no such UNIX socket
    **dict.fromkeys((errno.ECONNREFUSED, errno.ENOENT), "refused"),
    **dict.fromkeys((errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN), "reset"),
    errno.ETIMEDOUT: "timed out",
}
TOTALS = ("bytes_sent", "bytes_received", "cpu_seconds", "cut_by_deadline", "sent_late")


class Tally:
    """What came of requests: in one process since it last told, and in the parent of all."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.examples: Dict[str, str] = {}  # the first error of each kind
        self.latencies = array.array("f")  # seconds, in 4 bytes a request
        self.totals: Dict[str, float] = dict.fromkeys(TOTALS, 0)
        self.seconds = 0.0

    def add(self, other: Tally) -> None:
        """Add what came of others."""
        self.counts += other.counts
        self.examples = {**other.examples, **self.examples}
        self.latencies.extend(other.latencies)
        self.totals = {name: n + other.totals[name] for name, n in self.totals.items()}
        self.seconds = max(self.seconds, other.seconds)

    def count(self, *kinds: str) -> int:
        """Return how many requests came to these."""
        return sum(n for (kind, _), n in self.counts.items() if kind in kinds)


class Load:
    """One process: its connections, and its share of the requests."""

    def __init__(self, asked: Namespace, part: int, started: float) -> None:
        self.asked, self.started, self.deadline = asked, started, started + asked.until
        self.left, count = (len(range(part, n, asked.processes)) for n in (asked.requests, asked.connections))
        self.pending = self.left  # to be sent yet; without an outcome yet
        self.interval = asked.processes / asked.rate if asked.rate else 0.0
        self.due = started + part / asked.rate if asked.rate else 0.0  # the next request; 0: at any time
        self.selector = selectors.DefaultSelector()
        self.connections = [Connection(asked, self.selector) for _ in range(count)]
        self.idle: deque[Connection] = deque()  # that may take a request
        self.same, self.same_status = b"", ""  # the last whole response
        self.tally, self.took_s, self.released = Tally(), 0.0, False

    def take(self, most: int) -> List[float]:
        """Return when the next requests were due, `most` of them; none when there is nothing to do now."""
        now = time.monotonic()
        dues: List[float] = []
        while len(dues) < most and self.left and self.due <= now:
            dues.append(self.due or now)
            self.tally.totals["sent_late"] += now - dues[-1] > Limits.late_s
            self.due += self.interval
            self.left -= 1
        return dues

    def converse(self, connection: Connection) -> Steps[None]:
        """Ask and read for ever, on a new connection where the last has ended."""
        while True:
            held = bool(self.asked.hold and connection.sock)  # and its one request was sent
            if not held:  # what a server that closed left unanswered comes first (RFC 9112 9.6)
                connection.dues += self.take(self.asked.pipeline - len(connection.dues))
            if not connection.dues:
                yield from self.rest(connection, held)
                continue
            try:
                if not connection.sock:
                    yield from connection.open()
                yield from self.exchange(connection)
            except (OSError, Failure) as error:
                self.fail(connection, error)
                yield from connection.wait(0, Limits.moment_s)

    def rest(self, connection: Connection, held: bool) -> Steps[None]:
        """Wait until a request is due, and see that the server does nothing for which nobody asked."""
        if not held:
            self.idle.append(connection)
        connection.wake = NEVER
        while not (yield READ if connection.sock else 0):
            try:
                stirs = connection.stirs()
            except OSError:  # the server may end it, somehow
                stirs = True
            if connection.ahead and not held:
                reason = "a response that nobody asked for"
                self.fail(connection, Failure("malformed", reason, connection.ahead))
            elif stirs:
                connection.close()

    def exchange(self, connection: Connection) -> Steps[None]:
        """Send the requests in hand, and read a response to each. Raises OSError, Failure."""
        asked, dues = self.asked, connection.dues
        connection.awaited, connection.deadline = "whole response", time.monotonic() + asked.timeout
        connection.room = asked.abort_after or sys.maxsize
        whole = yield from connection.send(asked.request * len(dues))
        if asked.half_close:
            connection.sock.shutdown(socket.SHUT_WR)
        while dues:
            status, persistent = yield from self.read(connection)
            took, last = time.monotonic() - dues[0], len(dues) == 1
            ends = not persistent or (last and (not whole or asked.half_close or asked.no_keepalive))
            if ends and whole and not asked.hold and not connection.ahead:
                try:
                    yield from connection.receive()
                except ConnectionResetError:
                    pass  # an end as well, after a whole response
            if connection.ahead and (ends or last):
                raise Failure("malformed", "more than the response", connection.ahead)
            del dues[0]
            self.pending -= 1
            self.tally.latencies.append(took)
            self.tally.counts["answered", status] += 1
            if ends and not asked.hold:
                return connection.close()
        return None

    def read(self, connection: Connection) -> Steps[Tuple[str, bool]]:
        """Return a response's status, and whether another may follow. Raises OSError, Failure."""
        if not connection.ahead:
            yield from connection.receive()
        if self.same and connection.ahead.startswith(self.same):
            del connection.ahead[: len(self.same)]
            return self.same_status, True
        block, received = bytes(connection.ahead), connection.received
        status, persistent = yield from skip_response(connection, self.asked.method == "HEAD")
        if persistent and connection.received == received:  # all of it was in `block`
            self.same, self.same_status = block[: len(block) - len(connection.ahead)], status
        return status, persistent

    def fail(self, connection: Connection, error: Union[OSError, Failure]) -> None:
        """Count what went wrong with the requests in hand, and close."""
        if isinstance(error, Failure):
            kind, reason, part = error.args
        else:
            kind, part = SYSTEM.get(error.errno or 0, "failed"), b""
            reason = str(error.strerror or error) if kind == "failed" else ""
        self.tally.counts[kind, reason] += max(1, len(connection.dues))
        if kind in ERRORS:
            shown = ascii(bytes(part[: Limits.shown_bytes]))[1:] if part else ""
            after = f", after {time.monotonic() - self.started:.3f} s"
            self.tally.examples.setdefault(kind, f"{reason or kind} {shown}".rstrip() + after)
        self.pending -= len(connection.dues)
        connection.dues, connection.deadline = [], NEVER
        connection.close()

    def run(self, lifeline: int) -> Iterator[Tuple[int, Tally]]:
        """Converse until every request has its outcome, the deadline, or the lifeline's end; yield each tick
        and at the end what there is to tell."""
        for connection in self.connections:
            connection.conversation = self.converse(connection)
            connection.resume()
        now, tick, end = self.started, 0.0, self.deadline
        while now < end and not self.released:
            self.listen()
            now = time.monotonic()
            if now >= tick:
                tick, self.released = now + Limits.tick_s, bool(select.select([lifeline], [], [], 0)[0])
                for connection in self.connections:
                    if connection.wake <= now:
                        connection.resume(True)
                yield self.tell()
            if not self.pending and not self.took_s:
                self.took_s = now - self.started
                lasts = self.asked.hold and self.asked.duration  # the connections are held so long
                end = end if lasts else min(end, now + Limits.moment_s)
        self.close(min(now, self.deadline))
        yield self.tell()

    def listen(self) -> None:
        """Wait a tick at the most, and have the conversations go on for which something happens."""
        wait = Limits.tick_s
        if self.idle and self.left:  # until the next is due; a selector counts milliseconds: too coarse
            select.select([self.selector], [], [], max(0.0, min(wait, self.due - time.monotonic())))
            wait = 0.0
        for key, _ in self.selector.select(wait):
            key.data.resume()
        while self.idle and self.left and self.due <= time.monotonic():
            self.idle.popleft().resume(True)

    def tell(self) -> Tuple[int, Tally]:
        """Return what fails if nothing more is told, and what came of requests since this was last asked."""
        told, self.tally = self.tally, Tally()
        return min(self.pending, len(self.connections)) if self.asked.duration else self.pending, told

    def close(self, now: float) -> None:
        """Count what is not done, and what all of it took."""
        totals, used = self.tally.totals, resource.getrusage(resource.RUSAGE_SELF)
        overdue = int((now - self.due) / self.interval) + 1 if self.interval and now >= self.due else 0
        cut = self.pending - self.left + min(self.left, overdue)
        if self.asked.held:
            outcome = ("failed", "interrupted") if self.released else ("timed out", "")
            self.tally.counts[outcome] += cut
        else:
            totals["cut_by_deadline"] = cut
        self.pending = self.left = 0
        self.tally.seconds = self.took_s or now - self.started
        totals["cpu_seconds"] = used.ru_utime + used.ru_stime
        totals["bytes_sent"] = sum(connection.sent for connection in self.connections)
        totals["bytes_received"] = sum(connection.received for connection in self.connections)


# ---- parent: processes, and what they report -------------------------------------------------


def work(asked: Namespace, part: int, started: float, link: Link, lifeline: int, others: List[Any]) -> None:
    """One process: ask its share, tell what comes of it, and hold what is open until all are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    for other in others:
        other.close()
    load = Load(asked, part, started)
    try:
        for news in load.run(lifeline):
            link.send((part, *news))
        link.close()
        os.read(lifeline, 1)  # returns at its end
    except BrokenPipeError:
        pass  # the parent is no more


def run(asked: Namespace) -> Tuple[Tally, Dict[str, Any], bool]:
    """Fork the processes, let all go together when the last is done, wait for each; return what came of the
    requests and of --during, and whether Ctrl-C ended the run."""
    started, lost, fork = time.monotonic(), "the process died", multiprocessing.get_context("fork")
    lifeline, end = os.pipe()
    anchor = open(end, "wb", buffering=0)  # a file, unlike a number, closes twice unharmed
    signal.signal(signal.SIGINT, lambda *_: anchor.close())  # all go then, and their links end
    links: List[Link] = []
    try:
        for part in range(asked.processes):
            ours, theirs = fork.Pipe(duplex=False)
            links.append(ours)
            with theirs:
                args = (asked, part, started, theirs, lifeline, [anchor, *links])
                fork.Process(target=work, args=args).start()
    except OSError as error:
        lost = f"no process: {error.strerror}"
    tally, untold, during = follow(asked, started, links)
    if untold:
        tally.counts["failed", lost] += untold
    interrupted = anchor.closed
    anchor.close()
    for process in multiprocessing.active_children():
        process.join()
    return tally, during, interrupted


def follow(asked: Namespace, started: float, links: List[Link]) -> Tuple[Tally, int, Dict[str, Any]]:
    """Hear the processes until all are done, draw how far they are, and run --during's command; return what
    came of the requests, of how many nothing was told, and what came of the command."""
    tally, command, bar = Tally(), None, sys.stderr.isatty()
    total = asked.connections if asked.duration else asked.requests
    untold = {part: len(range(part, total, asked.processes)) for part in range(asked.processes)}
    while links:
        ready: List[Any] = wait(links)
        for link in ready:
            try:
                part, pending, news = link.recv()
            except (EOFError, OSError):  # done, or dead in the middle of a message
                links.remove(link)
            else:
                untold[part] = pending
                tally.add(news)
        took_s, errors = time.monotonic() - started, tally.count(*ERRORS)
        done = tally.count("answered") + errors
        covered = min(1.0, max(done / asked.requests, took_s / asked.until))  # of the load, or of its time
        if asked.during and not command and covered >= 1 / 3:
            command = subprocess.Popen(asked.during, shell=True, stdout=sys.stderr)
        if bar:
            line = f"\r[{'#' * int(30 * covered):30}] {done} done, {done / took_s:,.0f}/s, {errors} errors "
            print(line, end="" if links else "\r\33[K", file=sys.stderr, flush=True)
    outlasted = command and command.poll() is not None
    during = {"command": asked.during, "status": command.wait(), "outlasted": outlasted} if command else {}
    return tally, sum(untold.values()), during


# ---- summary: what came of it, for people and for scripts ------------------------------------


def summarize(tally: Tally, during: Dict[str, Any]) -> Dict[str, Any]:
    """Return all of it by name, as --json prints it; times are in seconds."""
    answered = tally.count("answered")
    summary: Dict[str, Any] = {
        "answered": answered,
        "errors": {kind: tally.count(kind) for kind in ERRORS},
        "aborted": tally.count("aborted"),
        "seconds": tally.seconds,
        "per_second": answered / (tally.seconds or NEVER),
        **tally.totals,
        "statuses": {status: n for (kind, status), n in sorted(tally.counts.items()) if kind == "answered"},
        "examples": tally.examples,
        "during": {**during, "lost": tally.count(*ERRORS)} if during else None,
        "latency": {},
        "histogram": {},
    }
    if ordered := sorted(tally.latencies):
        last = len(ordered) - 1
        parts = {"fastest": 0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "slowest": 1}
        summary["latency"] = {name: ordered[math.ceil(part * last)] for name, part in parts.items()}
        summary["latency"]["average"] = sum(ordered) / len(ordered)
        bounds = [n * 10.0**power for power in range(-6, 5) for n in (1, 2, 5)]
        places = [bisect_left(ordered, bound) for bound in bounds] + [len(ordered)]
        rows = zip(bounds, places, places[1:])
        summary["histogram"] = {f"{bound:g}": end - start for bound, start, end in rows if end > start}
    return summary


def print_summary(summary: Dict[str, Any], counts: Counter[Outcome]) -> None:
    """Print one line for all, one for each status and reason unless every status is 200, and --during's."""
    kinds = {"answered": summary["answered"], **summary["errors"]}
    print(", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f" in {summary['seconds']:.2f} s")
    for (kind, detail), n in sorted(counts.items()) if set(counts) != {("answered", "200")} else ():
        if detail:
            print(f"{n:6} {kind}: {detail}")
    if during := summary["during"]:
        when = "" if during["outlasted"] else ", but the load ended first"
        what = f"exit status {during['status']}, {during['lost'] or 'no'} requests lost"
        print(f"during: {during['command']}: {what}{when}")


def print_load(summary: Dict[str, Any]) -> None:
    """Print rate, bytes, latencies with their histogram, what was cut or late, and the first errors."""
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
    for kind, example in summary["examples"].items():
        print(f"first {kind}: {example}")


# ---- command line: from arguments to a summary and an exit status ----------------------------

URL = re.compile(
    r"((?i:https?))://((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{1,5}))?)"
    r"(/[\x21\x22\x24-\x7e]*)?(?:#.*)?"
)


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
STATUSES = matching("[1-5][0-9]{2}(,[1-5][0-9]{2})*", lambda text: text.split(","))
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


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"client.py: {message}\n")


def parse_arguments(parser: Parser) -> Namespace:
    """Return what the command line says, by name, and what follows from it."""
    url = "http://localhost:8888/"
    parser.add_argument("url", nargs="?", default=url, metavar="URL", help=f"whom to ask ({url})")
    asked = Namespace()
    for name, kind, default, metavar, text in OPTIONS:
        how: Dict[str, Any] = {"type": kind, "metavar": metavar} if kind else {}
        how["action"] = "append" if name == "header" else "store" if kind else "store_true"
        how["help"] = f"{text} ({default})" if kind else text
        parser.add_argument("--" + name, default=argparse.SUPPRESS, **how)
        setattr(asked, name.replace("-", "_"), default if isinstance(default, (int, float)) else None)
    given = vars(parser.parse_args())
    vars(asked).update(given)
    asked.held = "max_clients" in given or "max_conns" in given
    if asked.held and not given.keys().isdisjoint(LOAD):
        parser.error("--max-clients and --max-conns go with none of " + ", ".join(LOAD).replace("_", "-"))
    asked.until = asked.duration or NEVER  # seconds
    if asked.held:
        asked.hold, asked.processes, asked.until = True, asked.max_clients, asked.timeout
        asked.connections = asked.max_clients * asked.max_conns
        asked.timeout = asked.connect_timeout = NEVER
    if asked.debug or asked.hold:
        asked.requests = 1 if asked.debug else asked.connections
    elif asked.duration and "requests" not in given:
        asked.requests = Limits.endless
    asked.connections = min(asked.connections, asked.requests)
    asked.processes = min(asked.processes or os.cpu_count() or 1, asked.connections)
    way, _, rate = (asked.slow or "0").rpartition(":")
    asked.slow_send, asked.slow_read = (0 if way == other else int(rate) for other in ("read", "send"))
    asked.expect = asked.expect or ([] if asked.held else ["200"])
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
    asked.request = compose(asked, authority, path or "/")
    asked.addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", asked.unix)]
    if asked.unix:
        return
    try:
        port = port or (443 if asked.tls else 80)
        asked.addresses = socket.getaddrinfo(asked.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{host} has no address: {error}") from None


def compose(asked: Namespace, authority: str, target: str) -> bytes:
    """Return the request, and add its method. Raises OSError."""
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
        chunks = [body[at : at + Limits.block_bytes] for at in range(0, len(body), Limits.block_bytes)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    elif body is not None:
        fields["content-length"] = f"Content-Length: {len(body)}"
    for line in asked.header or ():
        fields.pop(line.partition(":")[0].lower(), None)
    lines = [f"{asked.method} {target} HTTP/1.1", *fields.values(), *(asked.header or ()), "", ""]
    return os.fsencode("\r\n".join(lines)) + (body or b"")


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
        of_each = -(-asked.connections // asked.processes)
        allow_descriptors(of_each + Limits.process_descriptors * asked.processes + Limits.spare_descriptors)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    tally, during, interrupted = run(asked)
    summary = summarize(tally, during)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further has seen enough
    if asked.json:
        print(json.dumps(summary, indent=2))
    else:
        print_summary(summary, tally.counts)
        if not asked.held:
            print_load(summary)
    if interrupted:
        return 130
    unexpected = asked.expect and set(summary["statuses"]) - set(asked.expect)
    nothing = not summary["answered"] and not summary["aborted"]
    return 1 if nothing or unexpected or tally.count(*ERRORS) or during.get("status") else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there is anything to sum up
        sys.exit(130)
